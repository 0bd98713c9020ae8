"""Reports by owners of machines, for real: signed by them, attached where the image is, shown with whose word it is.

tiny is in a registry with a token server, where everybody may read and its owner alone may write.
"""

import contextlib
import json
import shlex
from dataclasses import replace

import docker.errors
import pytest

from build import attaching, attesting, dockerapi, engine, published, reference, registry, testresult
from build.errors import DeniedError, ImageNotFoundError, PublishError
from tests.engine import publishkit, registrykit

USERS = {"me": "a secret word", "reader": "another word"}
OWNER = {"REGISTRY_USER": "me", "REGISTRY_TOKEN": USERS["me"]}
GB10 = "NVIDIA GB10"
WORDS = f"{GB10}, 2026-11-27: 11 passed, 0 failed, 0 skipped"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return publishkit.bench(tmp_path_factory)


@pytest.fixture(scope="module")
def there(bench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    with registrykit.registry(folder, htpasswd=USERS, token=True) as real, registrykit.faults(real) as proxy:
        real.tokens.rights = {"": ("pull",), "reader": ("pull",)}
        yield publishkit.publish(bench, real, proxy, "spark/tiny", **OWNER)


@pytest.fixture
def branch(there, bench, request):
    """tiny in a repository of the test's own, and the clone's record of that."""
    yield there.branch(f"branch/{request.node.name.replace('_', '-').replace('[', '-').replace(']', '')}")
    bench.clean()


def told(bench, device=GB10, **more):
    """What a report says of tiny on a machine with a GPU."""
    report = json.loads(bench.report.read_bytes())
    for check in report["checks"]:
        if check["name"] == "gpu-driver":
            check |= {"status": "passed", "reason": "", "evidence": {"device 0": device}}
    return {
        **report, "started": "2026-11-27T08:00:00+00:00", "summary": "11 passed, 0 failed, 0 skipped",
        "execution": "native", **more,
    }  # fmt: skip


def attest(bench, branch, folder, report, *, key=None, **environment):
    """Attach a report as the owner of a machine does, once it is written."""
    data = json.dumps(report, indent=1).encode()
    with bench.environment(**(environment or OWNER)):
        where = registry.parse(branch.image)
        return attesting.attest(bench.settings, str((key or bench.other).file), where, data, folder / "kept.json")


def verify(bench, branch, **environment):
    return bench.verify(branch.image, "--documents", **environment)


def test_attached_noted_and_shown(bench, branch, tmp_path):
    before = branch.record
    done = attest(bench, branch, tmp_path, told(bench))
    assert done.image == branch.image
    (row,) = json.loads(branch.blob(done.document))["layers"]
    assert branch.blob(row["digest"]) == (tmp_path / "kept.json").read_bytes()
    after = bench.record()
    assert done.record == published.path_of(bench.repo, bench.digest)
    assert replace(after, reports=before.reports) == before
    assert [(report.gpu, report.execution) for report in after.reports] == [("", "emulated"), (GB10, "native")]
    assert after.on_gpu == after.reports[1:]
    found = verify(bench, branch)
    assert (found.status, found.bad) == (0, []), found.err
    assert found.told["machines"] == [f"{WORDS} (another's word, not checked)"]
    shown = bench.run("verify", branch.image, "--key", bench.key.public, "--documents")
    assert f"on a machine: {WORDS}" in shown.out
    discovered = registrykit.oras(
        "discover", "--plain-http", "--format", "json", branch.image, "--username", "me", "--password", USERS["me"]
    )
    assert done.document in {item["digest"] for item in json.loads(discovered.stdout)["manifests"]}


def test_the_same_report_is_noted_once(bench, branch, tmp_path):
    attest(bench, branch, tmp_path, told(bench))
    first = published.text(bench.record())
    attest(bench, branch, tmp_path, told(bench))
    assert published.text(bench.record()) == first


def test_the_publisher_s_own_word(bench, branch, tmp_path):
    attest(bench, branch, tmp_path, told(bench), key=bench.key)
    found = verify(bench, branch)
    assert (found.status, found.told["machines"]) == (0, [f"{WORDS} (the publisher's word)"])
    assert "11 passed" in found.said("smoke report")


def test_a_clone_without_a_record(bench, branch, tmp_path):
    bench.clean()
    done = attest(bench, branch, tmp_path, told(bench))
    assert (done.record, bench.records()) == (None, [])


def test_what_is_not_shown(bench, branch, tmp_path):
    """No GPU; of another image; of no form that we know. None of it hurts."""
    attest(bench, branch, tmp_path, json.loads(bench.report.read_bytes()))
    claims = [
        predicate(told(bench, digest="sha256:" + 64 * "0")),
        {"result": "PASSED"},
        {**predicate(told(bench)), "report": {"schema": 99}},
        {**predicate(told(bench)), "passedTests": 7},
    ]
    for one in claims:
        attach(bench, branch, one)
    found = verify(bench, branch)
    assert (found.status, found.told["machines"]) == (0, []), found.err


def predicate(report):
    return testresult.predicate(json.dumps(report).encode())


def attach(bench, branch, one):
    """Attach what somebody else signed, whatever it says."""
    claim = attaching.Claim(
        kind="smoke", predicate_type=testresult.PREDICATE_TYPE, predicate=json.dumps(one).encode()
    )  # fmt: skip
    made = bench.signed([claim], branch.subject, key=bench.other)
    with bench.opened(branch.name, branch.proxy.place, **OWNER) as repository:
        attaching.attach(repository, made)


def test_words_of_others_do_nothing_to_a_terminal(bench, branch):
    report = told(bench, device="GB10\x1b[2J\non a machine: GB10 (the publisher's word)")
    del report["started"]
    attach(bench, branch, predicate(report))
    shown = bench.run("verify", branch.image, "--key", bench.key.public, "--documents")
    (line,) = [line for line in shown.out.splitlines() if line.startswith("on a machine: ")]
    assert "\x1b" not in shown.out
    assert line.endswith("(another's word, not checked)")


@pytest.mark.parametrize("who", [{}, {"REGISTRY_USER": "reader", "REGISTRY_TOKEN": USERS["reader"]}])
def test_who_may_not_write_sends_it_to_the_owner(bench, branch, tmp_path, who):
    """The signed report is kept, and the command that is printed is the one that attaches it."""
    with pytest.raises(DeniedError) as error:
        attest(bench, branch, tmp_path, told(bench), **(who or {"NOBODY": "1"}))
    assert bench.record() == branch.record
    assert str(tmp_path / "kept.json") in error.value.todo
    command = shlex.split(error.value.todo.partition("who can attach it: ")[2])
    assert command[:2] == ["oras", "attach"]
    login = ("--plain-http", "--username", "me", "--password", USERS["me"])
    registrykit.oras(*command[1:], *login, cwd=tmp_path)
    found = verify(bench, branch)
    assert (found.status, found.told["machines"]) == (0, [f"{WORDS} (another's word, not checked)"]), found.err


# -- which published digest an engine's image is


def held(digest):
    """An image as an engine calls it."""
    return reference.Image(
        name="any", digest=digest, platform="linux/arm64", target="tiny", chain_id="", series_id="", user=""
    )  # fmt: skip


def where(bench, name, digest):
    with bench.environment():
        return attesting.where(name, held(digest))


def test_either_image_store_s_name_is_the_published_digest(bench, branch):
    place = branch.image.partition("@")[0]
    published_as = registry.parse(branch.image)
    for name in (branch.image, f"{place}:{bench.immutable}", f"{place}:tiny"):
        for digest in (bench.digest, branch.record.config):
            assert where(bench, name, digest) == published_as


def test_an_image_that_is_another_one(bench, branch):
    with pytest.raises(PublishError, match="is not the registry's") as error:
        where(bench, branch.image, "sha256:" + 64 * "0")
    assert f"docker pull {branch.image}" in error.value.todo
    with pytest.raises(ImageNotFoundError):
        where(bench, f"{branch.image.partition('@')[0]}:no-such-tag", bench.digest)
    with pytest.raises(ImageNotFoundError):
        where(bench, f"{branch.image[:-64]}{64 * '0'}", bench.digest)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--attest",), 2, "needs a published image"),
        (("--attest", "--offline", "--image", "any:1"), 2, "--offline was asked for"),
        (("--key", "any"), 2, "--key signs what --attest attaches"),
        (("--attest", "--image", "any:1"), 67, "nothing to sign the report with"),
    ],
)
def test_refused_words(bench, words, status, said):
    done = bench.run("smoke", *words)
    assert (done.status, said in done.err) == (status, True), done.said


@pytest.mark.slow
def test_smoked_and_attested_by_who_has_a_machine(bench, branch, tmp_path):
    """All of it: pulled by digest into the engine, checked there, signed with one's own key, attached, noted."""
    image = f"{branch.registry.place}/{branch.name}@{bench.digest}"  # an engine asks Go's servers alone without TLS
    words = ("--output", tmp_path, "--attest", "--key", bench.other.file)
    before = {row["digest"] for row in branch.registry.referrers(branch.name, bench.digest)}
    try:
        with bench.program("smoke", "--image", image, *words, **OWNER) as process:
            done = publishkit.ended(process)
    finally:
        client = dockerapi.connect(engine.find(bench.settings).url)
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.remove(image, force=True)
        client.close()
    assert done.status == 0, done.said
    assert f"attached to {image}" in done.err
    assert "noted in lock/published/" in done.err
    (new,) = {row["digest"] for row in branch.registry.referrers(branch.name, bench.digest)} - before
    (kept,) = tmp_path.glob("*.sigstore.json")
    assert branch.blob(json.loads(branch.blob(new))["layers"][0]["digest"]) == kept.read_bytes()
    report = json.loads(kept.with_name(kept.name.replace(".sigstore", "")).read_text())
    assert (report["digest"], report["image"]) == (bench.digest, image)
    assert [one.time for one in bench.record().reports][1:] == [report["started"]]
    assert verify(bench, branch).status == 0
