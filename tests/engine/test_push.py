"""Publishing for real: tiny into Debian's registry, with all that goes with it; every refusal; everything that goes wrong.

What a push leaves behind is looked for on the registry's own disk and with others' clients.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from build import (
    host,
    published,
    publisheddebs,
    publishing,
    pushing,
    referrers,
    registry,
    registryhttp,
    results,
    steps,
    upload,
)
from build.errors import HashMismatchError, NetworkError, OfflineError
from build.pushing import Sent
from tests.engine import publishkit, registrykit
from tests.engine.publishkit import FACTS, KINDS, TARGET

USERS = {"me": "a secret word", "reader": "another word"}
PLAIN = ("--dest-tls-verify=false",)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return publishkit.bench(tmp_path_factory)


@pytest.fixture(scope="module")
def there(request, tmp_path_factory):
    return publishkit.there(request, tmp_path_factory)


@pytest.fixture(scope="module")
def real(there):
    """The registry where it is."""
    return there.registry


@pytest.fixture
def proxy(real):
    with registrykit.faults(real) as found:
        yield found


@pytest.fixture(autouse=True)
def _clean(bench):
    yield
    bench.clean()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Where a registry is in trouble we wait less between tries."""
    for module in (registry, registryhttp, upload):
        monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.01)


@pytest.fixture
def warm(bench, real, there, proxy, request):
    """A repository with every blob and no manifest but another image under the moving tag: its name."""
    name = f"warm/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    shutil.copytree(there.repository(there.name) / "_layers", there.repository(name) / "_layers")
    return older(proxy, name, request.getfixturevalue("tmp_path"))


def older(proxy, name, folder):
    """Let the moving tag stand for an older image; its repository."""
    image = registrykit.layout(folder / "older", [b"an older one"])
    registrykit.skopeo("copy", image.oci, f"docker://{proxy.place}/{name}:{TARGET}", *PLAIN)
    proxy.clear()
    return name


def nothing_is_public(bench, real, name):
    """No tag was made or moved, and there is no record."""
    tags = {tag for tag in real.tags(name) if not tag.startswith(("sha256-", "debs-"))}
    assert tags <= {TARGET}
    assert real.tags(name).get(TARGET) != bench.digest
    assert bench.records() == []


# -- the whole of it


def test_the_tags(there, bench, real):
    tags = real.tags(there.name)
    assert tags.pop(bench.immutable) == tags.pop(TARGET) == bench.digest
    rest = sorted(tags)
    assert [name for name in rest if not name.startswith("debs-tiny-")] == [there.tag, f"{there.tag}.sig"]
    assert len(rest) == 3


def test_the_record_tells_what_is_on_the_disk(there, bench, real):
    record = there.record
    (place,) = record.places
    manifest = json.loads(there.blob(record.manifest))
    config = json.loads(there.blob(record.config))
    assert (record.target, record.chain_id, record.manifest) == (TARGET, bench.chain, bench.digest)
    assert record.config == manifest["config"]["digest"]
    assert config["config"]["Labels"]["spark-runtime.chain-id"] == record.chain_id
    rows = zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    assert [(row["digest"], row["size"], diff_id) for row, diff_id in rows] == [
        (layer.digest, layer.size, layer.diff_id) for layer in record.layers
    ]
    for layer in record.layers:
        data = there.blob(layer.digest)
        assert (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) == (layer.digest, layer.size)
    result = results.read(bench.repo, TARGET)
    for name in ("rootfs", "engine", "buildkit", "canonical_config", "manifest"):
        assert getattr(record, name) == getattr(result, name)
    assert place.repository == f"{there.proxy.place}/{there.name}"
    assert (place.tag, place.commit) == (bench.immutable, publishkit.git(bench.repo, "rev-parse", "start").strip())
    assert place.remarks == ("not for use",)
    assert (place.signer.kind, place.signer.identity) == ("key", bench.key.id)
    (report,) = record.reports
    assert report.sha256 == hashlib.sha256(bench.report.read_bytes()).hexdigest()
    assert (report.gpu, report.skipped) == ("", ("gpu-driver",))
    attached = {row["digest"] for row in real.referrers(there.name, bench.digest)}
    assert {item.digest for item in place.documents} == attached
    assert sorted(item.kind for item in place.documents) == sorted(KINDS)


def test_every_statement_is_of_this_image_and_says_what_it_is(there, bench):
    for kind, predicate_type in FACTS.items():
        bundle = json.loads(there.bundle(kind))
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        assert statement["predicateType"] == predicate_type
        assert [f"sha256:{item['digest']['sha256']}" for item in statement["subject"]] == [bench.digest]
        row = json.loads(there.blob(there.document(kind)))
        assert row["annotations"]["dev.sigstore.bundle.predicateType"] == predicate_type
    report = there.predicate("smoke")["report"]
    assert report == json.loads(bench.report.read_bytes())
    provenance = there.predicate("provenance")
    assert provenance["buildDefinition"]["internalParameters"]["chain_id"] == bench.chain
    byproducts = {row["name"]: f"sha256:{row['digest']['sha256']}" for row in provenance["runDetails"]["byproducts"]}
    assert byproducts == {kind: there.document(kind) for kind in ("lock", "lists")}


def test_oras_discovers_it(there, bench):
    told = json.loads(registrykit.oras("discover", "--plain-http", "--format", "json", there.image).stdout)
    found = {item["digest"] for item in told["manifests"]}
    assert found == {item.digest for item in there.record.places[0].documents}


def test_cosign_verifies_it(there, bench, tmp_path):
    """As docs/publish.md says: the old signature, and each statement in its bundle."""
    by = ("--insecure-ignore-tlog", "--key", bench.key.public)
    assert bench.digest in registrykit.cosign("verify", *by, there.image).stdout
    root = tmp_path / "no-authority.json"
    root.write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    new = ("verify-attestation", "--new-bundle-format", "--trusted-root", root)
    for kind in ("sbom", "provenance", "smoke"):
        done = registrykit.cosign(*new, *by, "--type", FACTS[kind], there.image)
        assert json.loads(base64.b64decode(json.loads(done.stdout)["payload"]))["predicate"] == there.predicate(kind)
    other = ("--insecure-ignore-tlog", "--key", bench.other.public)
    assert registrykit.cosign("verify", *other, there.image, check=False).returncode != 0
    done = registrykit.cosign(*new, *other, "--type", FACTS["sbom"], there.image, check=False)
    assert done.returncode != 0


def test_it_comes_back_as_it_was(there, bench, tmp_path):
    registrykit.skopeo("copy", f"docker://{there.image}", f"dir:{tmp_path}/back", "--src-tls-verify=false")
    assert (tmp_path / "back/manifest.json").read_bytes() == there.blob(bench.digest)
    for layer in there.record.layers:
        assert (tmp_path / "back" / layer.digest[7:]).stat().st_size == layer.size


def test_the_lock_and_the_packages_are_there(there, bench, tmp_path, real):
    lock = f"{there.proxy.place}/{there.name}@{there.document('lock')}"
    registrykit.oras("pull", "--plain-http", "--output", tmp_path, lock)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert Path("lock/targets.toml") in files
    assert all((tmp_path / name).read_bytes() == (bench.repo / name).read_bytes() for name in files)
    debs = bench.job().rootfs.debs
    for owner in (there.document("debs"), next(d for tag, d in real.tags(there.name).items() if tag[:5] == "debs-")):
        rows = json.loads(there.blob(owner))["layers"]
        assert [(row["digest"][7:], row["size"]) for row in rows] == [(deb.sha256, deb.size) for deb in debs]
        assert [row["annotations"]["org.opencontainers.image.title"] for row in rows] == [deb.file for deb in debs]
    assert {f"sha256:{deb.sha256}" for deb in debs} <= real.blobs(there.name)


def test_it_says_what_it_did(there, bench):
    assert there.said.out.splitlines()[0] == there.image
    assert "not for use: not for others" in there.said.out
    assert f"nox -s verify -- {there.image}" in there.said.out
    assert "commit it" in there.said.err


def test_nothing_is_sent_twice_while_it_is_sent(there):
    """Of each blob one upload, one PATCH and one PUT; each body once."""
    asked = there.asked
    assert asked["POST", "upload"].requests == asked["PATCH", "upload"].requests == asked["PUT", "upload"].requests
    debs = sum(deb.size for deb in there.bench.job().rootfs.debs)
    least = there.record.size + debs
    assert least < asked["PATCH", "upload"].received < least + 400_000, "what else is attached"


# -- once more, elsewhere


def test_a_second_push_sends_nothing(there, bench):
    published.write(bench.repo, there.record)
    before = published.text(there.record)
    there.proxy.clear()
    done = bench.push(f"{there.proxy.place}/{there.name}", "--json")
    assert done.status == 0, done.said
    assert {request.method for request in there.proxy.requests} <= {"GET", "HEAD"}
    told = done.json
    assert (told["fresh"], told["sent"], told["image"]) == (False, 0, there.image)
    assert (told["tags"], told["signed"]) == ([bench.immutable, TARGET], "key")
    assert published.text(bench.record()) == before


def test_a_second_repository_is_a_second_place(there, bench, real, warm):
    """In one whose registry lists what is attached itself: no list under a tag is made."""
    published.write(bench.repo, there.record)
    with registrykit.faults(real, referrers=True) as proxy:
        there.proxy.clear()
        done = bench.push(f"{proxy.place}/{warm}")
        assert done.status == 0, done.said
        first, second = bench.record().places
        assert first == there.record.places[0]
        assert second.repository == f"{proxy.place}/{warm}"
        assert bench.record().reports == there.record.reports
        assert there.proxy.requests == [], "the first one is nobody's business"
        assert there.tag not in real.tags(warm)
        image = f"{proxy.place}/{warm}@{bench.digest}"
        told = json.loads(registrykit.oras("discover", "--plain-http", "--format", "json", image).stdout)
        assert {item["digest"] for item in told["manifests"]} == {item.digest for item in second.documents}
        assert {item.artifact_type for item in referrers_of(bench, proxy, warm)} == {
            "application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.spark-runtime.debs.v1",
            "application/vnd.spark-runtime.lists.v1+json", "application/vnd.spark-runtime.lock.v1",
        }  # fmt: skip
        again = bench.push(f"{there.proxy.place}/{there.name}")
        assert again.out.splitlines()[0] == there.image, "it speaks of the place that was asked for"


def referrers_of(bench, proxy, name):
    with bench.opened(name, proxy.place) as repository:
        return referrers.of(repository, bench.digest)


def test_who_signs_is_part_of_what_is_there(there, bench, real):
    """A push with another key is no second push of the same; one that is unsigned changes nothing."""
    published.write(bench.repo, there.record)
    place = f"{there.proxy.place}/{there.name}"
    done = bench.push(place, key=False)
    assert (done.status, "there already" in done.err) == (0, True), done.said
    assert bench.record() == there.record
    mine = there.branch("spark/others")
    place = f"{there.proxy.place}/{mine.name}"
    done = bench.push(place, key=bench.other)
    assert done.status == 0, done.said
    assert bench.record().places[0].signer.identity == bench.other.id
    assert len(real.referrers(mine.name, bench.digest)) == len(KINDS) + len(FACTS)


@pytest.mark.parametrize("how", ["remove", "lose"])
def test_what_was_lost_is_attached_again(there, bench, how):
    """A document that is listed no more, and one that is only listed, as after a cleaning of what has no tag."""
    mine = there.branch(f"spark/{how}")
    if how == "remove":
        mine.remove("sbom")
    else:
        mine.lose(mine.document("sbom"))
    place = f"{mine.proxy.place}/{mine.name}"
    assert bench.verify(mine.image, "--documents").bad == ["record", "bill of materials"]
    done = bench.push(place, "--json")
    assert done.status == 0, done.said
    assert done.json["fresh"] is True
    assert done.json["sent"] < 1_000_000
    assert bench.verify(mine.image, "--documents").bad == []
    assert bench.push(place, "--json").json["fresh"] is False


# -- the user's options


def test_marked_as_what_it_is(there, bench, warm, proxy):
    """Unsigned, dirty, unfit: the record says so, and a push without a remark is one that is wanted."""
    (bench.repo / "stray.txt").write_text("not committed")
    place = f"{proxy.place}/{warm}"
    done = bench.push(place, "--allow-dirty", "--json", key=False)
    assert done.status == 0, done.said
    remarks = ("not for use", "dirty checkout", "unsigned")
    assert (tuple(done.json["remarks"]), done.json["signed"]) == (remarks, None)
    (told,) = bench.record().places
    assert (told.remarks, told.signer.kind) == (remarks, "")
    assert {item.kind for item in told.documents} == set(KINDS) - set(FACTS)
    (bench.repo / "stray.txt").unlink()
    better = bench.push(place, "--json", key=False)
    assert (better.status, better.json["fresh"]) == (0, True), better.said
    assert bench.record().remarks == ("not for use", "unsigned")
    assert bench.push(place, "--json", key=False).json["fresh"] is False


@pytest.mark.parametrize("free", ["README.md", "lock/published/other.toml", "lock/results/canary.toml", "out/any"])
def test_what_a_push_itself_writes_is_no_dirt(bench, free):
    path = bench.repo / free
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed")
    assert publishing.require_clean(bench.settings, allowed=False) == ()


# -- what is refused before anything is sent


def doctored(bench, folder, **changes):
    """A smoke report that says something else."""
    told = json.loads(bench.report.read_bytes())
    path = folder / "report.json"
    path.write_text(json.dumps({**told, **changes}))
    return path


def red(bench, folder):
    checks = json.loads(bench.report.read_bytes())["checks"]
    checks[1] |= {"status": "failed", "reason": "so it is"}
    return ("--report", doctored(bench, folder, checks=checks))


def skipped(bench, folder):
    checks = json.loads(bench.report.read_bytes())["checks"]
    return ("--report", doctored(bench, folder, checks=[{**row, "status": "skipped"} for row in checks]))


def of_another(bench, folder):
    return ("--report", doctored(bench, folder, digest="sha256:" + "0" * 64))


def of_other_inputs(bench, folder):
    return ("--report", doctored(bench, folder, chain_id="0" * 64))


def no_report(bench, folder):
    return ("--report", folder / "none.json")


def no_json(bench, folder):
    (folder / "report.json").write_text("[]")
    return ("--report", folder / "report.json")


def changed_file(bench, folder):
    (bench.repo / "noxfile.py").write_text("# changed")
    return ()


def unknown_file(bench, folder):
    (bench.repo / "build/new.py").write_text("# new")
    return ()


def other_inputs(bench, folder):
    (bench.repo / "dockerfiles/image/new.txt").write_text("enters the image")
    publishkit.git(bench.repo, "add", "--all")
    publishkit.git(bench.repo, "commit", "--quiet", "--message", "other inputs")
    return ()


def no_result(bench, folder):
    publishkit.git(bench.repo, "rm", "--quiet", "lock/results/tiny.toml")
    publishkit.git(bench.repo, "commit", "--quiet", "--message", "no result")
    return ()


def other_result(bench, folder):
    """A recorded result of these inputs that the image is not."""
    known = results.read(bench.repo, TARGET)
    top = replace(known.layers[-1], diff_id="sha256:" + "0" * 64)
    results.write(bench.repo, replace(known, layers=(*known.layers[:-1], top)))
    return ()


def no_lock(bench, folder):
    publishkit.git(bench.repo, "rm", "--quiet", "lock/tiny.toml")
    publishkit.git(bench.repo, "commit", "--quiet", "--message", "no lock")
    return ()


@pytest.mark.parametrize(
    ("prepare", "status", "words"),
    [
        (no_report, 62, ("tiny was not smoked", "nox -s smoke -- --target tiny")),
        (red, 62, ("the smoke report of tiny is not green", "elf: so it is")),
        (skipped, 62, ("the smoke report of tiny is not green", "no check passed")),
        (of_another, 62, ("is of another image", "sha256:0000")),
        (of_other_inputs, 62, ("is of another image",)),
        (no_json, 62, ("report.json is no smoke report",)),
        (changed_file, 62, ("the checkout is dirty", "noxfile.py", "--allow-dirty")),
        (unknown_file, 62, ("the checkout is dirty", "build/new.py")),
        (other_inputs, 62, ("the image is not of this clone's inputs", "nox -s build -- --target tiny")),
        (no_result, 62, ("lock/results/ does not say what tiny should be", "--record")),
        (other_result, 62, ("the image is not what lock/results/ says",)),
        (no_lock, 13, ("lock/tiny.toml",)),
    ],
)
def test_refused(bench, there, real, proxy, tmp_path, prepare, status, words):
    done = bench.push(f"{proxy.place}/refused", *prepare(bench, tmp_path), key=False)
    assert done.status == status, done.said
    for word in words:
        assert word in done.err
    assert proxy.requests == []
    nothing_is_public(bench, real, "refused")


def test_no_report_where_they_are_looked_for(bench, proxy):
    kept = bench.report.rename(bench.report.with_suffix(".kept"))
    try:
        done = bench.push(f"{proxy.place}/refused", key=False)
    finally:
        kept.rename(bench.report)
    assert (done.status, bench.report.name in done.err, proxy.requests) == (62, True, [])


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 67, "there is nothing to sign with"),
        (("--key", "no-such.key"), 67, "cosign could not sign"),
        (("--key", "env://NO_SUCH_KEY"), 67, "there is no key in NO_SUCH_KEY"),
        (("--unsigned", "--key", "any"), 2, "exclude each other"),
        (("--unsigned", "--offline"), 2, "needs a network"),
    ],
)
def test_refused_words(bench, real, proxy, words, status, said):
    done = bench.run(
        "push", "--target", TARGET, "--repo", f"{proxy.place}/refused", "--allow-unfit", *words, COSIGN_PASSWORD=""
    )  # fmt: skip
    assert (done.status, said in done.err) == (status, True), done.said
    assert {request.method for request in proxy.requests} <= {"GET", "HEAD"}
    nothing_is_public(bench, real, "refused")


def test_a_target_that_is_not_for_use(bench, proxy):
    done = bench.run("push", "--target", TARGET, "--repo", f"{proxy.place}/refused", "--unsigned")
    assert (done.status, "tiny is not for use" in done.err) == (62, True), done.said
    assert proxy.requests == []


@pytest.mark.parametrize("repository", ["{}/name:tag", f"{{}}/name@sha256:{64 * 'a'}", "{}/Name", "{}", "name"])
def test_repo_names_a_repository(bench, proxy, repository):
    done = bench.push(repository.format(proxy.place), key=False)
    assert (done.status, proxy.requests) == (2, []), done.said


def test_a_wrong_password_of_the_key_is_found_before_anything_is_sent(bench, real, proxy):
    done = bench.push(f"{proxy.place}/refused", COSIGN_PASSWORD="a wrong one")
    assert (done.status, "COSIGN_PASSWORD" in done.err) == (67, True), done.said
    assert {request.method for request in proxy.requests} <= {"GET", "HEAD"}
    nothing_is_public(bench, real, "refused")
    assert not real.blobs("refused")


# -- who we are


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A registry with TLS by its own authority, users and passwords."""
    with registrykit.registry(tmp_path_factory.mktemp("closed"), htpasswd=USERS, tls=True) as found:
        yield found


def helper(folder, told):
    """A credential helper on PATH, for any host, which notes for whom it was asked; the environment for it."""
    program = folder / "bin/docker-credential-tests"
    program.parent.mkdir()
    words = f"#!{sys.executable}\nimport sys\nopen({str(folder / 'asked')!r}, 'a').write(sys.stdin.read())\n"
    program.write_text(f"{words}print({json.dumps(json.dumps(told))})\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "DOCKER_CONFIG": str(folder)}


def test_tls_password_and_helper(bench, closed, tmp_path):
    """By the variables at first; found there again by who logs in with Docker, or with its helper."""
    place, trust = f"{closed.place}/name", {"SSL_CERT_FILE": str(closed.ca)}
    done = bench.push(place, key=False, REGISTRY_USER="me", REGISTRY_TOKEN=USERS["me"])
    assert (done.status, "certificate" in done.err.lower()) == (21, True), done.said
    first = bench.push(place, key=False, REGISTRY_USER="me", REGISTRY_TOKEN=USERS["me"], **trust)
    assert (first.status, closed.tags("name")[TARGET]) == (0, bench.digest), first.said
    config = tmp_path / "config.json"
    told = base64.b64encode(f"me:{USERS['me']}".encode()).decode()
    config.write_text(json.dumps({"auths": {closed.place: {"auth": told}}}))
    again = bench.push(place, "--json", key=False, DOCKER_CONFIG=str(tmp_path), **trust)
    assert again.json["fresh"] is False
    config.write_text(json.dumps({"credHelpers": {closed.place: "tests"}}))
    own = helper(tmp_path, {"Username": "me", "Secret": USERS["me"]})
    again = bench.push(place, "--json", key=False, REGISTRY_TOKEN="no good", **own, **trust)
    assert again.json["fresh"] is False, "Docker's own come first"
    assert (tmp_path / "asked").read_text().split() == [closed.place]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "we are nobody"),
        ({"REGISTRY_USER": "me", "REGISTRY_TOKEN": "wrong"}, "we are me, as REGISTRY_TOKEN says"),
        ({"GITHUB_TOKEN": "ghs_none_of_its_business", "GITHUB_ACTOR": "me"}, "we are nobody"),
        ({"REGISTRY_TOKEN": "wrong", "GITHUB_TOKEN": "ghs_none_of_its_business"}, "as REGISTRY_TOKEN says"),
    ],
)
def test_not_let_in(bench, closed, environment, words):
    """And a token of GitHub's is shown to nobody else."""
    with registrykit.faults(closed) as proxy:
        done = bench.push(f"{proxy.place}/denied", key=False, SSL_CERT_FILE=str(closed.ca), **environment)
        assert (done.status, words in done.err) == (64, True), done.said
        secrets = [environment.get("GITHUB_TOKEN", ""), environment.get("REGISTRY_TOKEN", "")]
        told = " ".join(base64.b64decode(header[6:]).decode() for header in authorizations(proxy))
        assert not secrets[0] or secrets[0] not in told
        assert not any(secret in done.said for secret in secrets if secret)
    nothing_is_public(bench, closed, "denied")


def authorizations(proxy):
    """What it was told of who we are, each once."""
    return {text for asked in proxy.requests for name, text in asked.headers.items() if name.lower() == "authorization"}


def test_a_helper_that_is_not_there(bench, closed, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {closed.place: "not-installed"}}))
    own = {"DOCKER_CONFIG": str(tmp_path), "SSL_CERT_FILE": str(closed.ca)}
    done = bench.push(f"{closed.place}/denied", key=False, **own)
    assert (done.status, "cannot be read" in done.err) == (64, True), done.said


def test_tokens_expire_and_no_secret_is_told(bench, tmp_path):
    """A token is good for a second, the push takes longer. What it said and left is searched for every secret."""
    secrets = {
        "REGISTRY_TOKEN": USERS["me"],
        "GITHUB_TOKEN": "ghs_none_of_its_business",
        "COSIGN_PASSWORD": publishkit.PASSWORD,
    }
    with registrykit.registry(tmp_path, htpasswd=USERS, token=True) as real, registrykit.faults(real) as proxy:
        real.tokens.lifetime = 1
        proxy.forget_login(times=2, path="/blobs/uploads/", methods=("PATCH",), skip=3)
        words = ("push", "--target", TARGET, "--repo", f"{proxy.place}/name", "--allow-unfit", "--verbose")
        with bench.program(*words, "--key", bench.key.file, **secrets, REGISTRY_USER="me") as process:
            seen = command_lines(process)
            done = publishkit.ended(process)
        assert done.status == 0, done.said
        assert real.tags("name")[TARGET] == bench.digest
        assert len(real.tokens.asked) > 3
        assert {user for user, _, _ in real.tokens.asked} == {"me"}
        assert any("cosign" in line for line in seen), "or nothing was seen"
        shown = [text.partition(" ")[2] for text in authorizations(proxy)]
        assert len(shown) > 2
        hidden = [*secrets.values(), *shown, base64.b64encode(f"me:{USERS['me']}".encode()).decode()]
        hidden += bench.key.file.read_text().splitlines()[1:-1]
        said = [f"{done.said}\n{''.join(seen)}\n{published.text(bench.record())}".encode()]
        said += [path.read_bytes() + opened(path) for path in real.storage.rglob("data")]
        assert [text for text in hidden if any(text.encode() in one for one in said)] == []
        assert USERS["me"].encode() not in real.log.read_bytes()


def command_lines(process):
    """The command lines of all programs that ran until this one ended, as `ps` would have shown them."""
    seen = set()
    while process.poll() is None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        time.sleep(0.05)
    return seen


def opened(path):
    """The statement in a bundle; nothing of other files."""
    if path.stat().st_size > 1_000_000:
        return b""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return base64.b64decode(json.loads(path.read_bytes())["dsseEnvelope"]["payload"])
    return b""


def test_who_may_only_read(bench, tmp_path):
    with registrykit.registry(tmp_path, htpasswd=USERS, token=True) as real:
        real.tokens.rights["reader"] = ("pull",)
        own = {"REGISTRY_USER": "reader", "REGISTRY_TOKEN": USERS["reader"]}
        done = bench.push(f"{real.place}/name", key=False, **own)
        assert (done.status, "does not allow us to write to name" in done.err) == (64, True), done.said
        assert "we are reader, as REGISTRY_TOKEN says" in done.err
        nothing_is_public(bench, real, "name")
        done = bench.push(f"{real.place}/name", key=False, REGISTRY_USER="me", REGISTRY_TOKEN="wrong")
        assert (done.status, "its token server does not know us" in done.err) == (64, True), done.said
        real.tokens.fault = 503
        done = bench.push(f"{real.place}/name", key=False, **own)
        assert (done.status, "gave no token" in done.err) == (63, True), done.said


# -- what goes wrong


def test_trouble_that_passes(bench, real, proxy, tmp_path):
    """A registry that is busy and says for how long; one that hangs up in a layer."""
    name = older(proxy, "passes/by", tmp_path)
    busy = [
        proxy.answer(429, methods=(method,), headers={"Retry-After": "1"}, skip=2)
        for method in ("POST", "PATCH", "PUT")
    ]
    cut = proxy.cut_upload(10_000_000)
    start = time.monotonic()
    done = bench.push(f"{proxy.place}/{name}", key=False)
    assert done.status == 0, done.said
    assert [fault.struck for fault in (*busy, cut)] == [1, 1, 1, 1]
    assert time.monotonic() - start > 1
    assert real.tags(name)[TARGET] == bench.digest


def denied(proxy):
    proxy.deny_push()


def unavailable(proxy):
    proxy.answer(503, times=None, methods=("POST", "PUT", "PATCH"))


def unavailable_to_documents(proxy):
    """The image came through; what is attached to it does not."""
    proxy.answer(503, times=None, methods=("PUT",), path="/manifests/", skip=1)


def unavailable_to_the_last_document(proxy):
    proxy.answer(503, times=None, methods=("PUT",), path="/manifests/", skip=5)


def other_digest(proxy):
    proxy.other_manifest(digest="sha256:" + "0" * 64, methods=("PUT",))


def spoiled_manifest(proxy):
    proxy.corrupt(at=10, path="/manifests/")


def other_manifest_is_read(proxy):
    """Whole and with its own digest; but not what was pushed."""
    body = b'{"schemaVersion":2}'
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    proxy.other_manifest(body=body, digest=digest, methods=("GET",), path=f"/manifests/{TARGET}-")


def always_cut(proxy):
    proxy.cut_upload(100, times=None, path="/manifests/", methods=("PUT",))


def no_more_of_it(proxy):
    """A list of what is attached that does not keep what is put into it."""
    index = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    digest = f"sha256:{hashlib.sha256(index).hexdigest()}"
    proxy.other_manifest(body=index, digest=digest, methods=("GET",), path="/manifests/sha256-")


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        (denied, 64, "does not allow us to write to"),
        (unavailable, 63, "is in trouble"),
        (unavailable_to_documents, 63, "is in trouble"),
        (unavailable_to_the_last_document, 63, "is in trouble"),
        (other_digest, 63, "took a manifest for another one"),
        (spoiled_manifest, 63, "gave another manifest than was asked for"),
        (always_cut, 21, "cannot be reached, or hung up"),
        (no_more_of_it, 63, "does not keep the list"),
    ],
)
def test_trouble_that_stays(bench, real, proxy, warm, trouble, status, words):
    trouble(proxy)
    done = bench.push(f"{proxy.place}/{warm}", key=False)
    assert (done.status, words in done.err) == (status, True), done.said
    nothing_is_public(bench, real, warm)


def test_after_trouble_it_goes_on(bench, real, proxy, warm):
    unavailable_to_the_last_document(proxy)
    assert bench.push(f"{proxy.place}/{warm}", key=False).status == 63
    proxy.clear()
    assert bench.push(f"{proxy.place}/{warm}", key=False).status == 0
    assert real.tags(warm)[TARGET] == bench.digest
    assert [request.query for request in proxy.asked("PUT", "upload")] == []


def test_trouble_with_the_first_tag(bench, real, proxy, warm):
    """Something else is read back under it: the moving tag is left alone, and there is no record."""
    other_manifest_is_read(proxy)
    done = bench.push(f"{proxy.place}/{warm}", key=False)
    assert (done.status, "does not give back what was pushed" in done.err) == (63, True), done.said
    assert real.tags(warm)[TARGET] != bench.digest
    assert bench.records() == []


def test_a_tag_that_is_taken_is_left_alone(bench, real, proxy, warm, tmp_path):
    taken = registrykit.layout(tmp_path / "taken", [b"other"])
    registrykit.skopeo("copy", taken.oci, f"docker://{proxy.place}/{warm}:{bench.immutable}", *PLAIN)
    before = real.tags(warm)
    proxy.clear()
    done = bench.push(f"{proxy.place}/{warm}", key=False)
    assert done.status == 65, done.said
    assert f"{bench.immutable} stands for another image" in done.err
    assert taken.digest in done.err
    assert real.tags(warm) == before
    assert {request.method for request in proxy.requests} == {"HEAD"}
    assert bench.records() == []


def test_a_tag_that_is_taken_in_the_meantime(bench, real, proxy, warm, tmp_path):
    """Another job of the same inputs was quicker, with another image."""
    taken = registrykit.layout(tmp_path / "taken", [b"other"])
    early = proxy.answer(404, times=1, methods=("HEAD",), path=f"/manifests/{bench.immutable}")
    registrykit.skopeo("copy", taken.oci, f"docker://{real.place}/{warm}:{bench.immutable}", *PLAIN)
    done = bench.push(f"{proxy.place}/{warm}", key=False)
    assert (done.status, early.struck) == (65, 1), done.said
    assert real.tags(warm)[bench.immutable] == taken.digest
    assert real.tags(warm)[TARGET] != bench.digest
    assert bench.records() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_interrupted_and_gone_on_with(bench, real, proxy, tmp_path, number):
    name = older(proxy, f"interrupted/{number}", tmp_path)
    large = max(bench_layers(bench), key=lambda row: row["size"])
    slow = proxy.slow(8_000_000, path="/blobs/uploads/", methods=("PATCH",))
    words = ("push", "--target", TARGET, "--repo", f"{proxy.place}/{name}", "--allow-unfit", "--unsigned")
    with bench.program(*words) as process:
        wait(process, lambda: proxy.uploaded > 6_000_000)
        process.send_signal(number)
        start = time.monotonic()
        done = publishkit.ended(process)
    assert (done.status, "interrupted" in done.err) == (130, True), done.said
    assert time.monotonic() - start < 5
    nothing_is_public(bench, real, name)
    assert large["digest"] not in real.blobs(name)
    arrived = real.blobs(name)
    assert arrived, "the small ones had come"
    slow.off()
    proxy.requests.clear()
    again = bench.push(f"{proxy.place}/{name}", key=False)
    assert (again.status, real.tags(name)[TARGET]) == (0, bench.digest), again.said
    sent = {request.query.get("digest") for request in proxy.asked("PUT", "upload")}
    assert large["digest"] in sent
    assert not arrived & sent


def bench_layers(bench):
    with publishkit.compared.opened(bench.settings, TARGET) as image:
        return [{"digest": layer.digest, "size": layer.size} for layer in image.layers]


def wait(process, until, seconds=30):
    """For something that a program brings about."""
    end = time.monotonic() + seconds
    while not until():
        assert process.poll() is None, publishkit.ended(process).said
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_while_the_registry_hangs(bench, real, proxy):
    """Nobody waits for an answer that does not come."""
    hung = proxy.hang(times=None, path="/blobs/uploads/", methods=("PUT",))
    words = ("push", "--target", TARGET, "--repo", f"{proxy.place}/hung", "--allow-unfit", "--unsigned")
    with bench.program(*words) as process:
        wait(process, lambda: hung.struck > 0)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        done = publishkit.ended(process)
    assert (done.status, time.monotonic() - start < 10) == (130, True), done.said


def test_a_registry_whose_disk_is_full(bench, tmp_path):
    (tmp_path / "storage").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tests", tmp_path / "storage"], check=True)
    try:
        with registrykit.registry(tmp_path) as real:
            done = bench.push(f"{real.place}/name", key=False)
            assert (done.status, "is in trouble" in done.err) == (63, True), done.said
            nothing_is_public(bench, real, "name")
    finally:
        subprocess.run(["umount", tmp_path / "storage"], check=True)


# -- the bytes of layers, without all that goes with them


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An image of one layer of 300 MB and three small ones."""
    return registrykit.layout(tmp_path_factory.mktemp("large") / "layout", [300_000_000, 50_000, b"a", b"b"])


def send(layout, proxy, name):
    image = publishkit.image(layout.folder)
    with registry.Repository(proxy.place, name, None, write=True) as repository:
        return pushing.push(repository, image, pushing.manifest_of(image))


def test_cut_in_a_large_layer_it_goes_on(real, large):
    """Where the registry tells what came: 1.3 times the bytes at most, for two cuts."""
    with registrykit.faults(real, resumes=True) as proxy:
        cut = proxy.cut_upload(120_000_000, times=2)
        send(large, proxy, "resumed")
        assert cut.struck == 2
        assert large.bytes <= proxy.uploaded < 1.3 * large.bytes
        assert real.manifests("resumed") == {large.digest}
        assert pieces(proxy, large) == {layer["digest"]: 1 for layer in large.layers}


def pieces(proxy, layout):
    """How often each of the layers was ended as an upload."""
    ended = [request.query["digest"] for request in proxy.asked("PUT", "upload") if request.status == 201]
    return {layer["digest"]: ended.count(layer["digest"]) for layer in layout.layers}


def test_cut_in_a_large_layer_the_others_are_not_sent_again(real, large):
    """Where it cannot tell, as CNCF Distribution 2.8: the layer begins anew, and no other."""
    with registrykit.faults(real) as proxy:
        proxy.cut_upload(120_000_000, path="/blobs/uploads/")
        send(large, proxy, "anew")
        assert large.bytes + 120_000_000 <= proxy.uploaded < large.bytes + 121_000_000
        assert pieces(proxy, large) == {layer["digest"]: 1 for layer in large.layers}
        assert real.manifests("anew") == {large.digest}


def test_cut_again_and_again_it_gives_up(real, large):
    with registrykit.faults(real) as proxy:
        cut = proxy.cut_upload(5_000_000, times=None)
        with pytest.raises(NetworkError, match="a layer could not be sent") as error:
            send(large, proxy, "given-up")
        assert cut.struck == upload.TRIES
        assert large.layers[0]["digest"] in str(error.value)
        assert real.manifests("given-up") == set()
        cut.off()
        proxy.requests.clear()
        sent = send(large, proxy, "given-up")
        assert sent.there == 4, "three layers and the config came the first time"
        assert proxy.uploaded == large.layers[0]["size"] + large.size == sent.bytes


def test_one_patch_costs_its_layers(bench, there, real, proxy, tmp_path):
    """The last two layers are other ones: nothing else goes out, and with its documents it is less than a megabyte."""

    def patched(rows, layer):
        return [*rows[:-2], layer({"opt/patched.py": os.urandom(4000)}), layer({"opt/spark/manifest.json": b"{}"})]

    folder = publishkit.layout(bench, tmp_path / "patched", patched)
    image = publishkit.image(folder)
    manifest = pushing.manifest_of(image)
    with registry.Repository(proxy.place, there.name, None, write=True) as repository:
        sent = pushing.push(repository, image, manifest)
    config = (folder / "blobs" / image.config_digest.replace(":", "/")).stat().st_size
    new = sum(layer.size for layer in image.layers[-2:])
    assert proxy.uploaded == new + config + len(manifest.data) == sent.bytes
    assert (sent.blobs, sent.there) == (6, 3)
    documents = sum(len(there.bundle(kind)) for kind in FACTS) + there.asked["PUT", "manifest"].received
    assert sent.bytes + documents < 1_000_000


def test_a_blob_that_is_not_whole_is_found_out(real, proxy, tmp_path):
    """On our side: a layer that a full disk cut short, and one with a byte that is another."""
    layout = registrykit.layout(tmp_path / "image", [100_000, b"b"])
    large = layout.blob(layout.layers[0]["digest"])
    kept = large.read_bytes()
    large.write_bytes(kept[:-10])
    with pytest.raises(HashMismatchError, match="not whole"):
        send(layout, proxy, "damaged")
    large.write_bytes(kept)
    publishkit.flip(large, 500)
    with pytest.raises(registry.RegistryError, match="did not get the bytes"):
        send(layout, proxy, "damaged")
    assert real.manifests("damaged") == set()
    publishkit.flip(large, 500)
    assert isinstance(send(layout, proxy, "damaged"), Sent)


# -- Debian's packages, out of the registry


def empty_store(bench, folder):
    settings = replace(bench.settings, store=folder / "store")
    return settings, steps.load(settings, TARGET)


def blobs_in(settings):
    return {path.name: path for path in (settings.store / "blobs").rglob("*") if path.is_file()}


def test_the_packages_come_out_of_the_registry(bench, there, proxy, tmp_path):
    """Those of the image and no others; the tools' own are left to the mirrors."""
    settings, job = empty_store(bench, tmp_path)
    machines = steps.this_machine()
    count = publisheddebs.take(settings, job, f"{proxy.place}/{there.name}", machines)
    debs = {deb.sha256: deb for deb in job.rootfs.debs}
    assert set(blobs_in(settings)) == set(debs)
    assert count == sum(deb.size for deb in debs.values()) == proxy.downloaded - told_otherwise(proxy)
    for sha256, path in blobs_in(settings).items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    offline = replace(settings, offline=True)
    assert host.fetch_debs(offline, job.rootfs) == 0
    with pytest.raises(OfflineError, match="locked files are not in the store"):
        for debset in job.debsets(machines):
            host.fetch_debs(offline, debset)
    proxy.requests.clear()
    image_alone = SimpleNamespace(debsets=lambda _: (job.rootfs,))
    assert publisheddebs.take(settings, image_alone, f"{proxy.place}/{there.name}", machines) == 0
    assert proxy.requests == [], "all of it is there: nobody is asked"


def told_otherwise(proxy):
    """Bytes of answers that are no packages: lists, and words of what is not there."""
    return sum(request.sent for request in proxy.requests if request.kind != "blob" or request.status != 200)


def test_a_package_with_another_byte_does_not_come_in(bench, there, proxy, tmp_path):
    settings, job = empty_store(bench, tmp_path)
    deb = job.rootfs.debs[3]
    with there.spoiled(f"sha256:{deb.sha256}"), pytest.raises(HashMismatchError, match="has other bytes for") as error:
        publisheddebs.take(settings, job, f"{proxy.place}/{there.name}", steps.this_machine())
    assert deb.file in str(error.value)
    assert deb.sha256 not in blobs_in(settings)


def test_packages_of_a_repository_that_is_not_there(bench, there, proxy, tmp_path):
    settings, job = empty_store(bench, tmp_path)
    assert publisheddebs.take(settings, job, f"{proxy.place}/none/there", steps.this_machine()) == 0
    done = bench.run("fetch", "--target", TARGET, "--published", f"{proxy.place}/{there.name}", "--offline")
    assert (done.status, "needs a network" in done.err) == (2, True)
