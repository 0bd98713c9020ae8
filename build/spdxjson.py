"""SPDX 2.3 documents by the library spdx-tools: written from plain values, and validated.

The library's writer gives the fields, canonical JSON the bytes. Fields that would say nothing (``NOASSERTION`` of a
licence or a copyright, which an absent field means too) are left out; a download location is mandatory.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from build.canonical import canonical_json
from build.licencewords import OTHER, REFERENCE, Licence

if TYPE_CHECKING:
    from spdx_tools.spdx.model import Checksum, ExtractedLicensingInfo, File, Package

DOCUMENT = "SPDXRef-DOCUMENT"
DEBIAN = (
    "Licences that the package's Debian copyright file names in words that are no SPDX identifiers: its licence "
    "comment has these words, /usr/share/doc/PACKAGE/copyright in the image the texts."
)
WHEELS = "So it is called in the METADATA of the wheels that name it; the text is in their .dist-info folders."
UNKNOWN = Licence()


@dataclass(frozen=True, kw_only=True)
class Part:
    """A package of the document, or a file where there is a ``sha1`` (of whose licence only the comment is told).

    ``swhids``: of a git commit and its tree; ``purpose``: as SPDX has them, empty where that is plain.
    """

    kind: str
    id: str
    name: str
    version: str
    sha256: str = ""
    sha1: str = ""
    purl: str = ""
    swhids: tuple[str, ...] = ()
    purpose: str = ""
    licence: Licence = UNKNOWN


class Relation(NamedTuple):
    """Two identifiers and what the first is to the second (SPDX 2.3, clause 11)."""

    one: str
    kind: str
    other: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """All of a document. ``created``: seconds; ``creator``: the tool's name, "-", its version."""

    name: str
    namespace: str
    creator: str
    created: int
    comment: str
    parts: tuple[Part, ...]
    relations: tuple[Relation, ...]


def write(document: Document) -> bytes:
    """The document as canonical JSON. ``ValueError`` where two parts have one identifier."""
    from spdx_tools.spdx import model  # noqa: PLC0415 - a quarter of a second, for who publishes
    from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream  # noqa: PLC0415

    if len({part.id for part in document.parts}) != len(document.parts):
        raise ValueError("two parts of a document have one identifier")
    created = datetime.fromtimestamp(document.created, UTC)
    made = model.Document(
        model.CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id=DOCUMENT,
            name=document.name,
            document_namespace=document.namespace,
            creators=[model.Actor(model.ActorType.TOOL, document.creator)],
            created=created,
            document_comment=document.comment,
        ),
        packages=[_package(part) for part in document.parts if not part.sha1],
        files=[_file(part) for part in document.parts if part.sha1],
        relationships=[
            model.Relationship(one, model.RelationshipType[kind], other) for one, kind, other in document.relations
        ],
        extracted_licensing_info=_references(document.parts),
    )
    text = io.StringIO()
    # Its own check is left to faults(); looking for duplicates copies the whole document, in which there are none.
    write_document_to_stream(made, text, validate=False, drop_duplicates=False)
    return canonical_json(json.loads(text.getvalue()))


def faults(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What the library's validator finds wrong with a parsed document, or its parser; nothing where all is well."""
    from spdx_tools.spdx.parser.error import SPDXParsingError  # noqa: PLC0415
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser  # noqa: PLC0415
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document  # noqa: PLC0415

    try:
        parsed = JsonLikeDictParser().parse(dict(document))
    except SPDXParsingError as error:
        return tuple(error.get_messages())
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # where a value is of no type it thinks of
        return (f"{type(error).__name__}: {error}",)
    return tuple(item.validation_message for item in validate_full_spdx_document(parsed))


def _package(part: Part) -> Package:
    from spdx_tools.common.spdx_licensing import spdx_licensing  # noqa: PLC0415
    from spdx_tools.spdx import model  # noqa: PLC0415

    category = model.ExternalPackageRefCategory
    references = [model.ExternalPackageRef(category.PACKAGE_MANAGER, "purl", part.purl)] if part.purl else []
    references += [model.ExternalPackageRef(category.PERSISTENT_ID, "swh", swhid) for swhid in part.swhids]
    return model.Package(
        spdx_id=part.id,
        name=part.name,
        download_location=model.SpdxNoAssertion(),
        version=part.version or None,
        files_analyzed=False,
        checksums=_checksums(part),
        license_declared=spdx_licensing.parse(part.licence.expression) if part.licence.expression else None,
        license_comment=part.licence.comment or None,
        external_references=references,
        primary_package_purpose=model.PackagePurpose[part.purpose] if part.purpose else None,
    )


def _file(part: Part) -> File:
    from spdx_tools.spdx import model  # noqa: PLC0415

    comment = part.licence.comment or None
    return model.File(name=f"./{part.name}", spdx_id=part.id, checksums=_checksums(part), license_comment=comment)


def _checksums(part: Part) -> list[Checksum]:
    from spdx_tools.spdx import model  # noqa: PLC0415

    known = ((model.ChecksumAlgorithm.SHA1, part.sha1), (model.ChecksumAlgorithm.SHA256, part.sha256))
    return [model.Checksum(algorithm, value) for algorithm, value in known if value]


def _references(parts: Sequence[Part]) -> list[ExtractedLicensingInfo]:
    """What SPDX asks to be said of each licence that is none of its list: where its text is."""
    from spdx_tools.spdx import model  # noqa: PLC0415

    names = sorted({name for part in parts for name in REFERENCE.findall(part.licence.expression)})
    return [
        model.ExtractedLicensingInfo(license_id=name, extracted_text=DEBIAN if name == OTHER else WHEELS)
        for name in names
    ]
