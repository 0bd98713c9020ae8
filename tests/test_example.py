"""docs/example: what is shown there fits together, and what its page says to type is what holds."""

import hashlib
import re

import pytest

from build import attaching, cosign, documents, published
from build.registry import Manifest
from build.settings import REPO

EXAMPLE = REPO / "docs" / "example"
TYPES = {
    "signature": cosign.SIGNATURE,
    "provenance": documents.PROVENANCE,
    "sbom": documents.SPDX,
    "smoke": documents.TEST_RESULT,
}


@pytest.fixture(scope="module")
def record():
    return published.read_file(EXAMPLE / "record.toml")


@pytest.fixture(scope="module")
def manifest():
    data = (EXAMPLE / "manifest.json").read_bytes()
    return Manifest(media_type="application/vnd.oci.image.manifest.v1+json", data=data)


def test_the_record_is_of_the_manifest(record, manifest):
    assert record.manifest == manifest.digest == f"sha256:{hashlib.sha256(manifest.data).hexdigest()}"
    layers = [(row["digest"], row["size"]) for row in manifest.content["layers"]]
    assert [(layer.digest, layer.size) for layer in record.layers] == layers
    assert manifest.content["config"]["digest"] == record.config
    (place,) = record.places
    assert not place.remarks
    assert place.signer.identity == cosign.key_id((EXAMPLE / "cosign.pub").read_text())


@pytest.mark.parametrize("kind", TYPES)
def test_each_statement_is_the_one_that_is_recorded(record, manifest, kind):
    bundle = (EXAMPLE / f"{kind}.sigstore.json").read_bytes()
    told = cosign.statement(bundle)
    assert (told.predicate_type, told.subject) == (TYPES[kind], manifest.digest)
    (place,) = record.places
    made = attaching.bundled(kind, bundle, TYPES[kind], manifest, place.time)
    assert made.manifest.digest in [item.digest for item in place.documents if item.kind == kind]


def test_the_provenance_and_the_report_are_of_the_record(record):
    told = documents.built(cosign.statement((EXAMPLE / "provenance.sigstore.json").read_bytes()).predicate)
    (place,) = record.places
    assert (told.target, told.chain_id, told.commit) == (record.target, record.chain_id, place.commit)
    report = documents.report_of(cosign.statement((EXAMPLE / "smoke.sigstore.json").read_bytes()).predicate)
    assert report["digest"] == record.manifest
    bill = cosign.statement((EXAMPLE / "sbom.sigstore.json").read_bytes()).predicate
    assert documents.bill_faults(bill, record.manifest) == ()


def test_nothing_there_is_secret_or_of_one_machine():
    for path in EXAMPLE.iterdir():
        text = path.read_text()
        assert "PRIVATE" not in text, path
        assert not re.search(r"/(root|home|work|tmp)/", text.replace("/tmp tmpfs", "")), path


def commands():
    page = (EXAMPLE / "README.md").read_text()
    return [line for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]


def test_the_page_names_every_file():
    page = (EXAMPLE / "README.md").read_text()
    assert all(f"`{path.name}`" in page for path in EXAMPLE.iterdir() if path.name != "README.md")
    assert len([line for line in commands() if line.startswith("cosign ")]) == len(TYPES)
