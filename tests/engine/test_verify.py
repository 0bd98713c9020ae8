"""A published image examined for real: good as it was pushed; and whatever somebody may do to it, found out.

One push of tiny into Debian's registry; each test gets a copy of the repository to spoil, by its disk or with the rights
of who may write there, and keys that are the publisher's or somebody else's.
"""

import base64
import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from build import attaching, cosign, published, pushing, referrers, registry, registryhttp, upload
from build.commands import push as push_command
from tests.engine import publishkit, registrykit
from tests.engine.publishkit import FACTS, TARGET

QUESTIONS = ["signature", "record", "provenance", "bill of materials", "smoke report", "content"]
OF = {"signature": "signature", "sbom": "bill of materials", "provenance": "provenance", "smoke": "smoke report"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return publishkit.bench(tmp_path_factory)


@pytest.fixture(scope="module")
def there(request, tmp_path_factory):
    return publishkit.there(request, tmp_path_factory)


@pytest.fixture
def branch(there, bench, request):
    """A copy of it in a repository of its own, and the clone's record of that."""
    there.proxy.clear()
    yield there.branch(f"branch/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}")
    there.proxy.faults.clear()
    bench.clean()


def documents(bench, image, *arguments, **more):
    return bench.verify(image, "--documents", *arguments, **more)


# -- good


def test_all_of_it_is_good(bench, branch):
    found = bench.verify(branch.image)
    assert found.status == 0, found.err
    assert found.answers == dict.fromkeys(QUESTIONS, "good")
    assert (found.told["good"], found.told["image"], found.told["machines"]) == (True, branch.image, [])
    assert bench.key.id[:12] in found.said("signature")
    assert "under the tag sha256-" in found.said("signature")
    assert "not for use" in found.said("record")
    assert "74 Debian packages" in found.said("bill of materials")
    assert "as in the lock" in found.said("bill of materials")
    assert "10 passed, 0 failed, 1 skipped" in found.said("smoke report")
    assert "76 of 76 packages' lists are those of the locked files" in found.said("content")
    assert {request.method for request in branch.proxy.requests} <= {"GET", "HEAD"}
    read = {request.reference for request in branch.proxy.asked("GET", "blob")}
    assert {layer.digest for layer in branch.record.layers} <= read


def test_as_a_table(bench, branch):
    done = bench.run("verify", branch.image, "--key", bench.key.public, "--documents")
    assert done.status == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert [row[-1] for row in rows if row[:1] == ["signature"]] != []
    assert "skipped" in done.out
    assert "nobody has attached a report yet" in done.out


def test_documents_alone_read_no_layer(bench, branch):
    found = documents(bench, branch.image)
    assert (found.status, found.bad) == (0, [])
    assert found.answers["content"] == "skipped"
    read = {request.reference for request in branch.proxy.asked("GET", "blob")}
    assert not {layer.digest for layer in branch.record.layers} & read


def test_by_the_record_s_key_in_this_clone(bench, branch):
    assert documents(bench, branch.image, key=False).status == 2, "no key in docs/keys"
    keys = bench.repo / "docs/keys"
    keys.mkdir(parents=True)
    shutil.copy(bench.other.public, keys / "a.pub")
    found = documents(bench, branch.image, key=False)
    assert (found.status, "not in this clone" in found.err) == (2, True)
    shutil.copy(bench.key.public, keys / "b.pub")
    assert documents(bench, branch.image, key=False).status == 0


def test_a_clone_without_a_record(bench, branch, there):
    bench.clean()
    found = documents(bench, branch.image)
    assert (found.status, found.answers["record"]) == (0, "skipped")
    nobody = documents(bench, branch.image, key=False)
    assert (nobody.status, "whose signature should count?" in nobody.err) == (2, True)


def test_a_clone_with_other_inputs(bench, branch):
    """What is attached says what must be in it."""
    (bench.repo / "dockerfiles/image/new.txt").write_text("enters the image")
    found = bench.verify(branch.image)
    assert (found.status, found.answers["content"]) == (0, "good"), found.err
    assert "76 of 76 packages' lists" in found.said("content")


def test_a_registry_that_lists_what_is_attached_itself(bench, there):
    """In pages of two."""
    with registrykit.faults(there.registry, referrers=True) as proxy:
        proxy.page = 2
        found = documents(bench, f"{proxy.place}/{there.name}@{bench.digest}")
        assert (found.status, found.bad) == (0, []), found.err
        assert len(proxy.asked("GET", "referrers")) >= 4


def test_a_tag_is_no_name_for_it(bench, branch):
    done = documents(bench, branch.image.replace(f"@{bench.digest}", f":{TARGET}"))
    assert (done.status, "can move" in done.err) == (2, True)


def test_another_digest_is_not_there(bench, branch):
    done = documents(bench, f"{branch.image[:-64]}{64 * '0'}")
    assert (done.status, "was never pushed there" in done.err) == (61, True), done.err


@pytest.mark.parametrize("words", [("--identity", "me"), ("--issuer", "it"), ("--identity", "me", "--issuer", "it")])
def test_whom_to_trust_is_said_whole(bench, branch, words):
    key = None if len(words) == 4 else False
    done = documents(bench, branch.image, *words, key=key)
    assert done.status == 2, done.err


def test_no_public_key(bench, branch):
    done = bench.run("verify", branch.image, "--key", bench.key.file)
    assert (done.status, "is no public key" in done.err) == (2, True)


def test_a_mirror(bench, there, branch):
    """A copy of image and documents, as oras makes it, in another registry's repository."""
    mirror = f"{there.proxy.place}/mirror/of-it"
    registrykit.oras("cp", "-r", "--from-plain-http", "--to-plain-http", branch.image, f"{mirror}:copy")
    found = documents(bench, f"{mirror}@{bench.digest}")
    assert (found.status, found.bad) == (0, []), found.err
    assert found.answers["record"] == "good", "the record is of the digest"
    bench.clean()
    assert documents(bench, f"{mirror}@{bench.digest}").status == 0
    bare = f"{there.proxy.place}/mirror/bare"
    tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
    registrykit.skopeo("copy", "--all", f"docker://{branch.image}", f"docker://{bare}:copy", *tls)
    found = documents(bench, f"{bare}@{bench.digest}")
    assert (found.status, found.bad) == (
        66,
        [*list(OF.values())[:1], "provenance", "bill of materials", "smoke report"],
    )
    assert "none is attached" in found.err


# -- spoiled


def forged(bundle, change):
    """The same bundle with another predicate: its signature is of the old one."""
    told = json.loads(bundle)
    statement = json.loads(base64.b64decode(told["dsseEnvelope"]["payload"]))
    change(statement)
    told["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(told).encode()


def good_but(found, *questions):
    """Exactly these are bad; what rests on them may be skipped."""
    assert found.status == 66, found.err
    assert found.bad == list(questions)
    assert found.told["good"] is False
    assert "is not what it should be" in found.err
    return "\n".join(found.said(question) for question in questions)


@pytest.mark.parametrize("kind", FACTS)
def test_a_statement_is_gone(bench, branch, kind):
    branch.remove(kind)
    said = good_but(documents(bench, branch.image), *sorted({OF[kind], "record"}, key=QUESTIONS.index))
    assert "none is attached" in said
    assert f"{kind} {branch.document(kind)} is gone" in said


@pytest.mark.parametrize("kind", ["debs", "lock", "signature"])
def test_a_document_is_lost_though_it_is_listed(bench, branch, kind):
    branch.lose(branch.document(kind))
    found = documents(bench, branch.image)
    assert (found.status, "record" in found.bad) == (66, True), found.answers
    assert f"{kind} {branch.document(kind)} is gone" in found.said("record")


def test_statements_that_were_changed(bench, branch):
    """By who may write there: the digests fit, the signatures do not."""
    for kind in FACTS:
        bundle = branch.bundle(kind)
        branch.remove(kind)
        branch.attach_bundle(kind, forged(bundle, lambda statement: statement["predicate"].update(more="lies")))
    found = documents(bench, branch.image)
    good_but(found, "signature", "record", "provenance", "bill of materials", "smoke report")
    for question in OF.values():
        assert "is signed by" in found.said(question)
        assert "none is attached" not in found.said(question)


def test_statements_by_another_key(bench, branch):
    """Beside the publisher's they count for nothing, and in their place for as much."""
    for kind in FACTS:
        branch.state(kind, branch.predicate(kind), key=bench.other)
    assert documents(bench, branch.image).status == 0
    for kind in FACTS:
        branch.remove(kind)
    found = documents(bench, branch.image)
    good_but(found, "signature", "record", "provenance", "bill of materials", "smoke report")


def test_nothing_is_by_who_was_named(bench, branch):
    found = documents(bench, branch.image, key=bench.other)
    good_but(found, "signature", "provenance", "bill of materials", "smoke report")


@pytest.mark.parametrize("kind", FACTS)
def test_a_byte_of_a_statement_on_the_disk(bench, branch, kind):
    with branch.spoiled(branch.content(kind)):
        found = documents(bench, branch.image)
        assert (found.status, "gave other bytes" in found.err) == (63, True), found.err


def test_the_manifest_on_the_disk(bench, branch):
    with branch.spoiled(bench.digest):
        found = documents(bench, branch.image)
        assert (found.status, "gave another manifest" in found.err) == (63, True), found.err


def test_the_config_on_the_disk(bench, branch):
    with branch.spoiled(branch.record.config):
        assert documents(bench, branch.image).status in (20, 63)


def test_statements_of_another_image(bench, branch):
    """Signed by the publisher, of something else, and attached here."""
    other = registry.Manifest(media_type=registry.MANIFEST, data=b"another image")
    claims = [
        attaching.Claim(kind=kind, predicate_type=name, predicate=json.dumps(branch.predicate(kind)).encode())
        for kind, name in FACTS.items()
    ]
    for made in bench.signed(claims, other):
        branch.remove(made.kind)
        branch.attach_bundle(made.kind, made.parts[0].blob.open().read())
    found = documents(bench, branch.image)
    good_but(found, "signature", "record", "provenance", "bill of materials", "smoke report")
    for question in OF.values():
        assert "none is attached" in found.said(question)


def test_a_statement_of_another_kind(bench, branch):
    """The smoke report's, under the name of the bill of materials."""
    bundle = branch.bundle("smoke")
    branch.remove("sbom")
    branch.attach_bundle("sbom", bundle)
    found = documents(bench, branch.image)
    assert found.bad == ["record", "bill of materials"]


def test_garbage_is_attached_besides(bench, branch):
    """Anyone who may write there may attach anything."""
    for bundle in (b"{}", b"no JSON", b"", b'{"dsseEnvelope":{"payload":"e30="}}', b"[" * 100_000):
        branch.attach_bundle("sbom", bundle)
    assert documents(bench, branch.image).status == 0


def test_an_unsigned_bill(bench, branch):
    """As others' tools attach them."""
    data = json.dumps(branch.predicate("sbom")).encode()
    part = referrers.Part(media_type="application/spdx+json", blob=referrers.bytes_blob(data))
    made = referrers.artifact("application/spdx+json", [part], subject=branch.subject, annotations={})
    branch.remove("sbom")
    branch.attach(attaching.Artifact(kind="sbom", manifest=made, parts=(part,)))
    assert documents(bench, branch.image).bad == ["record", "bill of materials"]


def test_the_old_signature(bench, branch, tmp_path):
    """Another key's; of something else; none at all: old clients would see it, so it counts."""
    tag = cosign.simple_tag(bench.digest)
    with bench.environment():
        tool = attaching.tool(bench.settings)
        by_other = attaching.old_signature(tool, str(bench.other.file), "a/b", bench.digest)
        of_other = attaching.old_signature(tool, str(bench.key.file), "a/b", "sha256:" + 64 * "0")
    for made, words in ((by_other, "a signature is not good"), (of_other, "is of something else")):
        with bench.opened(branch.name, branch.proxy.place) as repository:
            attaching.put_old(repository, made, bench.digest)
        assert words in good_but(documents(bench, branch.image), "signature")
    shutil.rmtree(branch.repository(branch.name) / "_manifests/tags" / tag)
    found = documents(bench, branch.image)
    assert (found.status, ".sig" in found.said("signature")) == (0, False)


# -- signed by the publisher, and wrong


def without(predicate, name):
    """A bill of materials that lacks a package, and nothing else."""
    (row,) = [row for row in predicate["packages"] if row["name"] == name]
    predicate["packages"].remove(row)
    predicate["relationships"] = [
        item for item in predicate["relationships"] if row["SPDXID"] not in item.values()
    ]  # fmt: skip
    return predicate


def with_more(predicate, name):
    """One that names a package that is not there."""
    (row,) = [row for row in predicate["packages"] if row["name"] == "libc6"]
    predicate["packages"].append({**row, "name": name, "SPDXID": f"SPDXRef-deb-{name}"})
    (relation,) = [item for item in predicate["relationships"] if item["relatedSpdxElement"] == row["SPDXID"]]
    predicate["relationships"].append({**relation, "relatedSpdxElement": f"SPDXRef-deb-{name}"})
    return predicate


def of_another_image(predicate):
    (row,) = [row for row in predicate["packages"] if row["SPDXID"].startswith("SPDXRef-image-")]
    return json.loads(json.dumps(predicate).replace(row["checksums"][0]["checksumValue"], 64 * "0"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda bill: without(without(bill, "zlib1g"), "jinja2"), ("not in the bill: deb zlib1g", "wheel jinja2")),
        (lambda bill: with_more(bill, "netcat"), ("in the bill and not in the lock: deb netcat",)),
        (lambda bill: {**bill, "spdxVersion": "SPDX-1.0"}, ("the bill of materials is no good",)),
        (of_another_image, ("it is of 000000000000",)),
    ],
)
def test_a_bill_that_is_signed_and_wrong(bench, branch, change, words):
    branch.instead("sbom", change(branch.predicate("sbom")))
    said = good_but(documents(bench, branch.image), "record", "bill of materials")
    assert [word for word in words if word not in said] == []


def changed(predicate, where, what):
    """A provenance that says something else."""
    definition = predicate["buildDefinition"]
    if where == "chain":
        definition["internalParameters"]["chain_id"] = what
    elif where == "target":
        definition["externalParameters"]["target"] = what
    elif where == "type":
        definition["buildType"] = what
    else:
        (row,) = [row for row in definition["resolvedDependencies"] if row["name"] == where]
        row["digest"] = what
    return predicate


def test_a_provenance_that_is_signed_and_wrong(bench, branch):
    made = changed(branch.predicate("provenance"), "chain", 64 * "0")
    made = changed(made, "target", "v0.32")
    made = changed(made, "lock/tiny.toml", {"sha256": 64 * "0"})
    branch.instead("provenance", changed(made, "spark-runtime", {"gitCommit": 40 * "0"}))
    found = documents(bench, branch.image)
    good_but(found, "record", "provenance")
    (row,) = [row for row in found.told["answers"] if row["question"] == "provenance"]
    said = [finding.partition(" says ") for finding in row["findings"]]
    assert [(start, end[:6]) for start, _, end in said] == [
        ("target: the provenance", "v0.32,"), ("chain id: the provenance", "000000"), ("commit: the provenance", "000000"),
        ("lock/tiny.toml: the provenance", "000000"),
    ]  # fmt: skip


def test_a_provenance_of_another_type(bench, branch):
    branch.instead("provenance", changed(branch.predicate("provenance"), "type", "urn:another"))
    assert "none of ours" in good_but(documents(bench, branch.image), "record", "provenance")


def test_a_red_report_that_is_signed(bench, branch):
    """Beside a green one, too: the publisher has seen it fail."""
    report = branch.predicate("smoke")["report"]
    report["checks"][1] |= {"status": "failed", "reason": "so it is"}
    predicate = json.loads(push_command.documents.test_result(json.dumps(report).encode()))
    branch.state("smoke", predicate)
    said = good_but(documents(bench, branch.image), "smoke report")
    assert "elf" in said


def test_a_report_that_contradicts_itself(bench, branch):
    """A failed check, in a result that says that it passed."""
    predicate = branch.predicate("smoke")
    predicate["report"]["checks"][1] |= {"status": "failed", "reason": "so it is"}
    branch.instead("smoke", predicate)
    assert "contradicts" in good_but(documents(bench, branch.image), "record", "smoke report")


def test_a_report_of_another_image(bench, branch):
    report = {**branch.predicate("smoke")["report"], "digest": "sha256:" + 64 * "0"}
    branch.instead("smoke", json.loads(push_command.documents.test_result(json.dumps(report).encode())))
    assert "of sha256:000000" in good_but(documents(bench, branch.image), "record", "smoke report")


@pytest.mark.parametrize("newest_first", [False, True])
def test_another_provenance_of_the_publisher(bench, branch, newest_first):
    """The same image published again from a clone without the record: in whatever order, the recorded one counts."""
    digest = branch.document("provenance")
    branch.state("provenance", changed(branch.predicate("provenance"), "spark-runtime", {"gitCommit": 40 * "0"}))
    with bench.opened(branch.name, branch.proxy.place) as repository:
        index = repository.manifest(branch.tag).content
        index["manifests"].sort(key=lambda row: (row["digest"] == digest) is newest_first)
        data = json.dumps(index).encode()
        repository.put_manifest(registry.Manifest(media_type=registry.INDEX, data=data), branch.tag)
    found = documents(bench, branch.image)
    assert (found.status, found.bad) == (0, []), found.err
    assert branch.record.places[0].commit[:12] in found.said("provenance")


# -- the lock that is attached


@pytest.mark.parametrize("kind", ["lock", "lists"])
def test_a_byte_of_the_lock_on_the_disk(bench, branch, kind):
    rows = json.loads(branch.blob(branch.document(kind)))["layers"]
    with branch.spoiled(rows[0]["digest"]):
        assert "gave other bytes" in good_but(documents(bench, branch.image), "provenance")


def test_another_lock_in_its_place(bench, branch):
    """Whole, with its own digests; the signed provenance names another one."""
    rows = json.loads(branch.blob(branch.document("lock")))["layers"]
    parts = [
        referrers.Part(
            media_type=row["mediaType"], title=row["annotations"][referrers.TITLE],
            blob=referrers.bytes_blob(branch.blob(row["digest"]) + b"\n# changed\n"),
        )
        for row in rows
    ]  # fmt: skip
    made = referrers.artifact(attaching.LOCK_TYPE, parts, subject=branch.subject, annotations={})
    branch.remove("lock")
    branch.attach(attaching.Artifact(kind="lock", manifest=made, parts=tuple(parts)))
    said = good_but(documents(bench, branch.image), "record", "provenance")
    assert f"the provenance names {branch.document('lock')}" in said


# -- what this clone's record says


def test_the_record_says_something_else(bench, branch):
    nothing = 64 * "0"
    wrong = replace(
        branch.record, config=f"sha256:{nothing}", canonical_config=nothing, chain_id=nothing, target="v0.32",
        layers=branch.record.layers[:-1],
    )  # fmt: skip
    published.write(bench.repo, wrong)
    found = documents(bench, branch.image)
    good_but(found, "record")
    (row,) = [row for row in found.told["answers"] if row["question"] == "record"]
    assert [finding.partition(":")[0] for finding in row["findings"]] == [
        "config", "canonical config", "target", "chain id", "layers"
    ]  # fmt: skip


# -- the layers


def test_a_byte_of_a_layer_on_the_disk(bench, branch):
    with branch.spoiled(branch.record.layers[1].digest):
        found = bench.verify(branch.image)
        assert "layer 2" in good_but(found, "content")


def test_a_layer_is_gone(bench, branch):
    layer = branch.repository(branch.name) / "_layers" / branch.record.layers[2].digest.replace(":", "/")
    shutil.rmtree(layer)
    assert branch.record.layers[2].digest in good_but(bench.verify(branch.image), "content")


def published_as_ours(bench, there, folder, name, layers):
    """An image made from tiny, published and signed as if it were what the locks give."""
    image = publishkit.image(publishkit.layout(bench, folder / "layout", layers))
    told = json.loads(bench.report.read_bytes()) | {"digest": image.manifest}
    place = replace(there.record.places[0], repository=f"{there.proxy.place}/{name}", documents=())
    record = replace(
        there.record, manifest=image.manifest, config=image.config_digest, places=(place,),
        layers=tuple(
            published.PublishedLayer(diff_id=layer.diff_id, digest=layer.digest, size=layer.size)
            for layer in image.layers
        ),
    )  # fmt: skip
    wanted = push_command.Wanted(
        job=bench.job(), image=image, manifest=pushing.manifest_of(image), record=record,
        smoked=json.dumps(told).encode(), immutable="forged", moving="forged",
    )  # fmt: skip
    shutil.copytree(there.repository(there.name) / "_layers", there.repository(name) / "_layers")
    with bench.opened(name, there.proxy.place) as repository, bench.environment():
        push_command.publish(repository, wanted, str(bench.key.file))
    return f"{there.proxy.place}/{name}@{image.manifest}"


def test_files_that_nobody_accounts_for(bench, there, tmp_path):
    """Everything is signed by the publisher; only reading the layers shows it. A name does nothing to a terminal."""

    def more(rows, layer):
        return [*rows, layer({"usr/local/bin/backdoor": b"#!/bin/sh\n", "usr/bin/\x1b[2Jclear\n": b""})]

    image = published_as_ours(bench, there, tmp_path, "forged/more", more)
    assert documents(bench, image).status == 0
    found = bench.verify(image)
    said = good_but(found, "content")
    assert "layer 6: usr/local/bin/backdoor: a file that nobody lists" in said
    assert "layer 6: usr/bin/\x1b[2Jclear\n: a file that nobody lists" in said
    assert "layer 6: usr/bin/?[2Jclear?: a file that nobody lists" in found.err
    assert "\x1b" not in found.err


def test_a_file_that_was_changed_with_its_list(bench, there, tmp_path):
    """RECORD fits the file; the locked wheel's does not."""
    site = "opt/venv/lib/python3.13/site-packages"

    def other(rows, layer):
        data = b"# changed\n"
        sha = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record = f"markupsafe/_native.py,sha256={sha},{len(data)}\n"
        return [
            *rows,
            layer(
                {f"{site}/markupsafe/_native.py": data, f"{site}/markupsafe-3.0.3.dist-info/RECORD": record.encode()}
            ),
        ]

    image = published_as_ours(bench, there, tmp_path, "forged/changed", other)
    said = good_but(bench.verify(image), "content")
    assert "markupsafe-3.0.3.dist-info/RECORD" in said


# -- trouble is no finding


@pytest.fixture
def _impatient(monkeypatch):
    for module in (registry, registryhttp, upload):
        monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.01)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_a_registry_that_goes_away(bench, branch, path):
    branch.proxy.cut_download(100, path=path, times=None, reset=True)
    found = bench.verify(branch.image)
    assert (found.status, found.answers) == (21, {}), found.err


@pytest.mark.usefixtures("_impatient")
def test_a_registry_that_goes_away_in_a_layer(bench, branch):
    branch.proxy.cut_download(1_000_000, path=branch.record.layers[0].digest, times=None)
    found = bench.verify(branch.image)
    assert (found.status, "could not be read to its end" in found.err) == (21, True), found.err
    branch.proxy.faults.clear()
    branch.proxy.cut_download(20_000_000, path=branch.record.layers[0].digest, times=1)
    assert bench.verify(branch.image).status == 0


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("skip", [0, 12])
def test_a_registry_in_trouble(bench, branch, skip):
    """It answers 503, from the first blob on or from some later one: nothing is said of the image."""
    fault = branch.proxy.answer(503, times=None, path="/blobs/", skip=skip)
    found = bench.verify(branch.image)
    assert fault.struck
    assert (found.status, "is in trouble" in found.err) == (63, True), found.err


def test_nobody_is_there(bench):
    done = bench.verify(f"127.0.0.1:1/name@sha256:{64 * '0'}")
    assert done.status == 21


def test_who_may_not_read_it(bench, there, tmp_path):
    users = {"me": "a secret"}
    with registrykit.registry(tmp_path, htpasswd=users) as closed:
        image = f"{closed.place}/name@{bench.digest}"
        done = bench.verify(image)
        assert (done.status, "we are nobody" in done.err) == (64, True), done.err


# -- built again


@pytest.mark.slow
def test_built_again(bench, branch):
    found = documents(bench, branch.image, "--rebuild")
    assert (found.status, found.answers["rebuilt"]) == (0, "good"), found.err
    assert "the same manifest" in found.said("rebuilt")


@pytest.mark.slow
def test_built_again_at_the_commit_that_it_is_from(bench, branch):
    (bench.repo / "dockerfiles/image/new.txt").write_text("enters the image")
    record = bench.repo / published.FOLDER
    publishkit.git(bench.repo, "add", "--all")
    publishkit.git(bench.repo, "commit", "--quiet", "--message", "other inputs")
    found = documents(bench, branch.image, "--rebuild")
    assert (found.status, found.answers["rebuilt"]) == (0, "good"), found.err
    assert record.exists()


def test_it_cannot_be_built_again_here(bench, branch):
    """Other inputs, and a commit that this clone has not."""
    (bench.repo / "dockerfiles/image/new.txt").write_text("enters the image")
    (place,) = branch.record.places
    published.write(bench.repo, replace(branch.record, places=(replace(place, commit=40 * "0"),)))
    predicate = changed(branch.predicate("provenance"), "spark-runtime", {"gitCommit": 40 * "0"})
    branch.instead("provenance", predicate)
    found = documents(bench, branch.image, "--rebuild")
    assert "git fetch" in found.err or "it cannot be built here" in found.said("rebuilt")
    assert found.bad == ["record", "rebuilt"]
