"""Whose signature counts, and which of what is attached to a digest on a real registry is looked at."""

import base64
import json
import sys

import pytest

from build import cosign, published, referrers, registry, trusting
from build.cosign import Cosign, Trust
from build.errors import BuildError, UsageError, VerifyError
from build.published import Place, Record, Signer
from build.referrers import Part
from build.registry import INDEX, MANIFEST, Manifest
from tests import registryserver
from tests.registryserver import blob, repository, sha

NAME = "team/app"
SUBJECT = Manifest(media_type=MANIFEST, data=b'{"schemaVersion":2}')
DIGEST = SUBJECT.digest
KIND = "https://t"


def pem(name):
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(name.encode()).decode()}\n-----END PUBLIC KEY-----\n"


ANNA, OTTO = pem("anna's key"), pem("otto's key")
# Takes a bundle for good that names the key it is checked with.
PROGRAM = """
import json, sys
argv = sys.argv
key = open(argv[argv.index("--key") + 1]).read() if "--key" in argv else argv[argv.index("--certificate-identity") + 1]
what = open(argv[argv.index("--bundle") + 1]).read() if "--bundle" in argv else open(argv[argv.index("--signature") + 1]).read()
if key.strip() not in (json.loads(what)["by"] if "--bundle" in argv else what):
    sys.exit("Error: invalid signature")
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    registryserver.quick(monkeypatch)


@pytest.fixture
def server():
    with registryserver.serve() as made:
        made.repo(NAME).manifests[DIGEST] = (MANIFEST, SUBJECT.data)
        yield made


@pytest.fixture
def tool(tmp_path):
    (tmp_path / "cosign.py").write_text(PROGRAM)
    return Cosign([sys.executable, tmp_path / "cosign.py"])


def place(**signer):
    return Place(
        repository="ghcr.io/o/n", time="t", tag="t", commit="c", remarks=(), signer=Signer(**signer), documents=()
    )


def chosen(repo, where=None, *, key=None, identity="", issuer="", root=None):
    return trusting.chosen(repo, where, key=key, identity=identity, issuer=issuer, root=root)


# whom


def test_who_is_named_counts(tmp_path):
    (tmp_path / "anna.pub").write_text(ANNA)
    recorded = place(kind="key", identity=cosign.key_id(OTTO))
    assert chosen(tmp_path, recorded, key=tmp_path / "anna.pub") == Trust(key=ANNA)
    assert chosen(tmp_path, recorded, identity="https://w", issuer="https://i", root=tmp_path) == Trust(
        identity="https://w", issuer="https://i", root=tmp_path
    )


def test_else_whom_the_record_names(tmp_path):
    keys = tmp_path / trusting.KEYS
    keys.mkdir(parents=True)
    (keys / "anna.pub").write_text(ANNA)
    (keys / "otto.pub").write_bytes(OTTO.replace("\n", "\r\n").encode())
    (keys / "README.md").write_text("no key")
    for key in (ANNA, OTTO):
        assert cosign.key_id(chosen(tmp_path, place(kind="key", identity=cosign.key_id(key))).key) == cosign.key_id(key)
    found = chosen(tmp_path, place(kind="keyless", identity="https://w", issuer="https://i"), root=tmp_path)
    assert found == Trust(identity="https://w", issuer="https://i", root=tmp_path)


@pytest.mark.parametrize(
    ("where", "named", "said"),
    [
        (None, {}, "no record of the image"),
        (place(), {}, "published unsigned"),
        (place(kind="key", identity="f" * 64), {}, "has no key with the sha256 ffff"),
        (None, {"identity": "https://w"}, "go together"),
        (None, {"issuer": "https://i"}, "go together"),
        (None, {"key": "a.pub", "identity": "https://w", "issuer": "https://i"}, "exclude each other"),
    ],
)
def test_nobody_is_trusted_by_default(tmp_path, where, named, said):
    (tmp_path / "a.pub").write_text(ANNA)
    if "key" in named:
        named = {**named, "key": tmp_path / named["key"]}
    with pytest.raises(UsageError) as caught:
        chosen(tmp_path, where, **named)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\xff\xfe", ANNA.replace("PUBLIC", "PRIVATE").encode(), (ANNA + OTTO).encode(), None]
)
def test_what_is_no_public_key_is_refused(tmp_path, data):
    path = tmp_path / trusting.KEYS / "bad.pub"
    path.parent.mkdir(parents=True)
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    for ask in (
        lambda: chosen(tmp_path, key=path),
        lambda: chosen(tmp_path, place(kind="key", identity=cosign.key_id(ANNA))),
    ):
        with pytest.raises(UsageError, match=r"bad\.pub is no public key"):
            ask()
    with pytest.raises(UsageError, match=r"none\.pub is no public key"):
        chosen(tmp_path, key=tmp_path / "none.pub")


def test_who_it_is_in_words():
    assert trusting.who(Trust(key=ANNA)) == f"the key {cosign.key_id(ANNA)[:12]}"
    assert trusting.who(Trust(identity="https://w", issuer="https://i")) == "https://w (by https://i)"


# which statements


def bundle(by=ANNA, *, subject=DIGEST, kind=KIND, **predicate):
    payload = {
        "predicateType": kind, "subject": [{"digest": {"sha256": subject.removeprefix("sha256:")}}], "predicate": predicate,
    }  # fmt: skip
    made = {"by": by, "dsseEnvelope": {"payload": base64.b64encode(json.dumps(payload).encode()).decode()}}
    return json.dumps(made).encode()


def attach(server, *data, kind=cosign.BUNDLE_TYPE, layers=None):
    """Attach bytes as an artifact; its digest."""
    parts = [Part(media_type=kind, blob=blob(item)) for item in data]
    made = referrers.artifact(kind, parts, subject=SUBJECT, annotations={})
    if layers is not None:
        made = Manifest(media_type=MANIFEST, data=json.dumps({**made.content, "layers": layers}).encode())
        server.repo(NAME).manifests[made.digest] = (MANIFEST, made.data)
        return made.digest
    referrers.attach(repository(server), made, parts)
    return made.digest


def found(server):
    return [item.digest for item in trusting.statements(repository(server), DIGEST)]


def test_statements_of_the_digest_are_found(server):
    one, two = attach(server, bundle(n=1)), attach(server, bundle(n=2, kind="https://u"))
    told = {item.digest: item for item in trusting.statements(repository(server), DIGEST)}
    assert told.keys() == {one, two}
    assert told[one].statement.predicate == {"n": 1}
    assert told[one].bundle == bundle(n=1)


def test_statements_of_other_subjects_and_what_is_none_are_passed_over(server):
    good = attach(server, bundle())
    attach(server, bundle(subject=f"sha256:{'0' * 64}"))
    attach(server, bundle(subject=DIGEST.upper()))
    attach(server, b"no bundle")
    attach(server, b"[" * 50_000)
    attach(server, bundle(), kind="application/other")
    attach(server, bundle(n=1), bundle(n=2))
    attach(server)
    assert found(server) == [good]


@pytest.mark.parametrize(
    "layers",
    [5, None, "x", [5], [{}], [{"digest": "x", "size": 1}], [{"digest": DIGEST}], [{"digest": DIGEST, "size": "many"}],
     [{"digest": DIGEST, "size": -1}], [{"digest": DIGEST, "size": -2}], [{"digest": DIGEST, "size": 0}],
     [{"digest": DIGEST, "size": 1 << 40}], [{"digest": DIGEST, "size": None}], [{"digest": "sha256:../x", "size": 5}]],
)  # fmt: skip
def test_artifacts_that_make_no_sense_are_passed_over(server, layers):
    attach(server, layers=layers)
    good = attach(server, bundle())
    assert found(server) == [good]


def test_a_row_whose_manifest_is_gone_is_passed_over(server):
    server.referrers = False
    good, gone = attach(server, bundle()), attach(server, bundle(n=1))
    del server.repos[NAME].manifests[gone]
    assert found(server) == [good]


def test_bytes_that_are_not_those_of_the_digest_are_said(server):
    attach(server, bundle())
    digest = sha(bundle())
    server.repos[NAME].blobs[digest] = bundle()[:-1] + b" "
    with pytest.raises(BuildError, match="other bytes for a blob"):
        found(server)


def test_no_more_are_looked_at_than_anyone_needs(server, monkeypatch):
    monkeypatch.setattr(trusting, "ATTACHED_LIMIT", 3)
    for number in range(5):
        attach(server, bundle(n=number))
    assert len(found(server)) == 3


def test_only_the_statements_of_whom_we_trust_count(server, tool):
    ours, theirs = attach(server, bundle(ANNA, n=1)), attach(server, bundle(OTTO, n=2))
    attach(server, bundle(ANNA, kind="https://u"))
    attached = trusting.statements(repository(server), DIGEST)
    for key, digest in ((ANNA, ours), (OTTO, theirs)):
        (good,) = trusting.trusted(tool, Trust(key=key), SUBJECT, attached, KIND)
        assert good.digest == digest


def test_none_that_counts_is_an_error_that_says_why(server, tool):
    one = attach(server, bundle(OTTO))
    attached = trusting.statements(repository(server), DIGEST)
    with pytest.raises(VerifyError, match="is signed by the key") as caught:
        trusting.trusted(tool, Trust(key=ANNA), SUBJECT, attached, KIND)
    assert caught.value.why == f"{one[:19]}: invalid signature"
    with pytest.raises(VerifyError) as caught:
        trusting.trusted(tool, Trust(identity="https://w", issuer="https://i"), SUBJECT, attached, "https://none")
    assert caught.value.why == "none is attached"


# the old form


def put_old(server, payload, annotations=None, *, layers=None):
    row = {"digest": sha(payload), "size": len(payload), "annotations": annotations}
    data = json.dumps({"layers": [row] if layers is None else layers}).encode()
    repo = server.repo(NAME)
    repo.blobs[sha(payload)] = payload
    repo.manifests[sha(data)] = (MANIFEST, data)
    repo.tags[cosign.simple_tag(DIGEST)] = sha(data)


def old(server, tool, trust=None):
    return trusting.old_signature(tool, trust or Trust(key=ANNA), repository(server), DIGEST)


def test_a_signature_for_old_clients(server, tool):
    assert old(server, tool) == ""
    payload = cosign.simple_payload("mirror.example/o/n", DIGEST)
    put_old(server, payload, {cosign.SIMPLE_SIGNATURE: ANNA})
    assert old(server, tool).startswith("also under the tag sha256-")
    with pytest.raises(VerifyError, match="not good"):
        old(server, tool, Trust(key=OTTO))
    put_old(server, cosign.simple_payload("ghcr.io/o/n", f"sha256:{'0' * 64}"), {cosign.SIMPLE_SIGNATURE: ANNA})
    with pytest.raises(VerifyError, match="of something else"):
        old(server, tool)


@pytest.mark.parametrize("annotations", [None, {}, [], 5, {"other": "x"}])
@pytest.mark.parametrize("payload", [b"{}", b"[]", b"x", b"[" * 50_000, b'{"critical": 5}'])
def test_what_is_no_signature_is_said(server, tool, payload, annotations):
    put_old(server, payload, annotations)
    with pytest.raises(VerifyError, match="is none"):
        old(server, tool)
    put_old(server, payload, {cosign.SIMPLE_SIGNATURE: ANNA})
    with pytest.raises(VerifyError, match="is none"):
        old(server, tool)


# the record


def test_what_this_clone_knows_of_it(tmp_path):
    reference = registry.parse(f"ghcr.io/o/n@{DIGEST}")
    assert trusting.place_of(tmp_path, reference) == (None, None)
    here = place(kind="key", identity="1" * 64)
    record = Record(
        target="v0", chain_id="c", manifest=DIGEST, config="c", canonical_config="c", rootfs="r", engine="e", buildkit="b",
        places=(here,), reports=(), layers=(),
    )  # fmt: skip
    published.write(tmp_path, record)
    assert trusting.place_of(tmp_path, reference) == (record, here)
    assert trusting.place_of(tmp_path, registry.parse(f"mirror.example/n@{DIGEST}")) == (record, here)


def test_an_index_is_no_statement(server):
    data = json.dumps({"manifests": []}).encode()
    server.repo(NAME).manifests[sha(data)] = (INDEX, data)
    assert trusting.part(repository(server), Manifest(media_type=INDEX, data=data)) == b""
