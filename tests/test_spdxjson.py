"""SPDX documents by the library: what is written, that it is valid, and that its validator finds what is not."""

import copy
import json
from dataclasses import replace

import pytest

from build.canonical import canonical_json
from build.licencewords import OTHER, Licence
from build.spdxjson import DOCUMENT, Document, Part, Relation, faults, write

HASH = "ab" * 32
PART = Part(
    kind="wheel", id="SPDXRef-wheel-a", name="a", version="1.0", sha256=HASH, purl="pkg:pypi/a@1.0",
    licence=Licence(expression="MIT"),
)  # fmt: skip
PATCH = Part(kind="patch", id="SPDXRef-patch-p", name="p.patch", version="", sha256=HASH, sha1="cd" * 20)
TREE = Part(kind="git", id="SPDXRef-git-g", name="g", version="ef" * 20, swhids=(f"swh:1:rev:{'ef' * 20}",))
WHOLE = Document(
    name="a bill",
    namespace="urn:spark-runtime:sbom:x",
    creator="spark-runtime-0",
    created=1_780_050_939,
    comment="for this test",
    parts=(PART, PATCH, TREE),
    relations=(Relation(DOCUMENT, "DESCRIBES", PART.id), Relation(PATCH.id, "PATCH_APPLIED", PART.id)),
)


def written(**changes):
    return json.loads(write(replace(WHOLE, **changes)))


def test_a_document_is_valid_and_compact():
    data = write(WHOLE)
    assert faults(json.loads(data)) == ()
    assert data == canonical_json(json.loads(data))
    assert data == write(WHOLE)


def test_a_package_says_no_more_than_it_must():
    (row,) = [row for row in written()["packages"] if row["SPDXID"] == PART.id]
    assert row == {
        "SPDXID": PART.id,
        "checksums": [{"algorithm": "SHA256", "checksumValue": HASH}],
        "downloadLocation": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE_MANAGER",
                "referenceLocator": "pkg:pypi/a@1.0",
                "referenceType": "purl",
            }
        ],
        "filesAnalyzed": False,
        "licenseDeclared": "MIT",
        "name": "a",
        "versionInfo": "1.0",
    }


def test_a_patch_is_a_file_and_a_tree_has_its_commit():
    found = written()
    (file,) = found["files"]
    assert (file["fileName"], {item["algorithm"] for item in file["checksums"]}) == ("./p.patch", {"SHA1", "SHA256"})
    (tree,) = [row for row in found["packages"] if row["SPDXID"] == TREE.id]
    assert tree["externalRefs"][0]["referenceLocator"] == f"swh:1:rev:{'ef' * 20}"


def test_the_time_is_the_one_given():
    assert written()["creationInfo"] == {"created": "2026-05-29T10:35:39Z", "creators": ["Tool: spark-runtime-0"]}


def test_own_licences_are_explained_once():
    licence = Licence(expression=f"MIT AND {OTHER} AND LicenseRef-NVIDIA", comment="public-domain")
    found = written(parts=(replace(PART, licence=licence), replace(TREE, licence=licence), PATCH))
    infos = {info["licenseId"]: info["extractedText"] for info in found["hasExtractedLicensingInfos"]}
    assert set(infos) == {OTHER, "LicenseRef-NVIDIA"}
    assert "METADATA" in infos["LicenseRef-NVIDIA"]
    assert "copyright" in infos[OTHER]
    assert found["packages"][0]["licenseComments"] == "public-domain"
    assert faults(found) == ()


def test_two_parts_of_one_name_are_an_error():
    with pytest.raises(ValueError, match="one identifier"):
        write(replace(WHOLE, parts=(PART, PART)))


def spoilt(change):
    found = copy.deepcopy(written(parts=(replace(PART, licence=Licence(expression="LicenseRef-Own")), PATCH, TREE)))
    change(found)
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda doc: doc.pop("spdxVersion"),
        lambda doc: doc.update(spdxVersion="SPDX-9"),
        lambda doc: doc.pop("documentNamespace"),
        lambda doc: doc.update(documentNamespace="no uri # at all"),
        lambda doc: doc.update(dataLicense="MIT"),
        lambda doc: doc["creationInfo"].update(created="today"),
        lambda doc: doc["packages"].append(doc["packages"][0]),
        lambda doc: doc["packages"][0].update(SPDXID="a"),
        lambda doc: doc["packages"][0].update(licenseDeclared="My own"),
        lambda doc: doc["packages"][0]["checksums"][0].update(checksumValue="ab"),
        lambda doc: doc["packages"][0]["externalRefs"][0].update(referenceLocator="a@1.0"),
        lambda doc: doc["files"][0]["checksums"].pop(0),
        lambda doc: doc.pop("hasExtractedLicensingInfos"),
        lambda doc: doc["relationships"].pop(0),
        lambda doc: doc["relationships"][1].update(relatedSpdxElement="SPDXRef-nowhere"),
        lambda doc: doc["relationships"][1].update(relationshipType="PATCHES"),
        lambda doc: doc.update(packages=5),
        lambda doc: doc.update(packages=["a"]),
        lambda doc: doc.clear(),
    ],
)
def test_faults_are_seen(change):
    assert faults(spoilt(lambda doc: None)) == ()
    assert faults(spoilt(change))
