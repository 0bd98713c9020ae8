"""What the tests of publishing share: tiny, built and smoked once; a clone to publish it from; keys; verbs to call.

    bench = publishkit.bench(tmp_path_factory)                   # the same for every file of tests
    done = bench.push(f"{registry.place}/name")                  # in this process, with an environment of its own
    assert (done.status, bench.record().target) == (0, "tiny")

Nothing of it is written into the checkout that the tests run in: records, reports and dirt are the clone's.
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from build import attaching, compared, cosign, credentials, ociimage, private, published, registry, steps
from build import settings as settings_module
from build.__main__ import main
from build.models import Settings
from build.settings import REPO, default_store
from tests import imagekit
from tests.engine import registrykit
from tests.engine.registrylayout import LAYER

TARGET = "tiny"
PASSWORD = "what opens the key"
COMMITTER = ("-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "commit.gpgSign=false")
FOREIGN = (
    "ACTIONS_", "COSIGN_", "CURL_CA_", "GH_", "GITHUB_", "REGISTRY_", "REQUESTS_CA_", "SIGSTORE_", "SSL_CERT_", "TUF_",
)  # fmt: skip
# `python -m build`, on another clone than the one whose code it is; as a program, so that signals are as for a user.
PROGRAM = """
import pathlib, runpy, sys
from build import settings
settings.REPO = pathlib.Path(sys.argv.pop(1))
runpy.run_module("build", run_name="__main__", alter_sys=True)
"""
KINDS = ("debs", "lists", "lock", "provenance", "sbom", "signature", "smoke")  # of what is attached
FACTS = {  # what is signed of it, and as which type
    "signature": cosign.SIGNATURE, "sbom": "https://spdx.dev/Document", "provenance": "https://slsa.dev/provenance/v1",
    "smoke": "https://in-toto.io/attestation/test-result/v0.1",
}  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """What a command gave."""

    status: int
    out: str
    err: str

    @property
    def said(self):
        return self.out + self.err

    @property
    def json(self):
        return json.loads(self.out)


@dataclass(frozen=True)
class Key:
    """A key pair of cosign's; ``id``: as records name it."""

    file: Path
    public: Path

    @property
    def id(self):
        return cosign.key_id(self.public.read_text())


@dataclass(frozen=True)
class Bench:
    """A clone from which tiny can be published, and what is known of it. ``report``: its smoke report in the clone."""

    folder: Path
    repo: Path
    key: Key
    other: Key
    digest: str
    chain: str

    @property
    def settings(self):
        return Settings(repo=self.repo, store=default_store())

    @property
    def immutable(self):
        return f"{TARGET}-{self.chain[:12]}"

    @property
    def report(self):
        return self.repo / f"out/smoke/{TARGET}-{self.digest[7:19]}.json"

    def job(self):
        return steps.load(self.settings, TARGET)

    @contextlib.contextmanager
    def environment(self, **more):
        """Only what a test names of what push and verify look at; the password of both keys is there."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
        own = {"COSIGN_PASSWORD": PASSWORD, "DOCKER_CONFIG": str(self.folder / "no-docker"), **more}
        with mock.patch.dict(os.environ, {**kept, **own}, clear=True):
            yield

    def run(self, *arguments, repo=None, **environment):
        """A verb, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            self.environment(**environment), mock.patch.object(settings_module, "REPO", repo or self.repo),
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        ):  # fmt: skip
            status = main(list(map(str, arguments)))
        return Ended(status, out.getvalue(), err.getvalue())

    @contextlib.contextmanager
    def program(self, *arguments, **environment):
        """A verb as a program of its own: yields its process; ``ended(process)`` waits for it."""
        argv = [sys.executable, "-c", PROGRAM, str(self.repo), *map(str, arguments)]
        with self.environment(**environment):
            process = subprocess.Popen(
                argv, cwd=REPO, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def push(self, repository, *arguments, key=None, repo=None, **environment):
        """`push` of tiny there; ``key``: None is the bench's own, False is `--unsigned`."""
        signed = ("--unsigned",) if key is False else ("--key", (key or self.key).file)
        words = ("push", "--target", TARGET, "--repo", repository, "--allow-unfit", *signed, *arguments)
        return self.run(*words, repo=repo, **environment)

    def verify(self, image, *arguments, key=None, repo=None, **environment):
        """`verify` as JSON; ``key``: None is the bench's own, False names nobody."""
        signed = () if key is False else ("--key", (key or self.key).public)
        return Verified(self.run("verify", image, "--json", *signed, *arguments, repo=repo, **environment))

    def records(self):
        return sorted(path.name for path in (self.repo / published.FOLDER).glob("*"))

    def record(self):
        """The one record of the clone."""
        (record,) = published.read_all(self.repo)
        return record

    def clean(self):
        """The clone as it was committed."""
        git(self.repo, "reset", "--quiet", "--hard", "start")
        git(self.repo, "clean", "--quiet", "-d", "--force")

    @contextlib.contextmanager
    def opened(self, name, place, **environment):
        """A repository of a registry, to write to."""
        with (
            self.environment(**environment),
            registry.Repository(place, name, credentials.find(place), write=True) as found,
        ):
            yield found

    def signed(self, claims, subject, *, key=None, name="example.test/name"):
        """Claims, signed and ready to be attached."""
        with self.environment():
            tool = attaching.tool(self.settings)
            return attaching.signed(tool, str((key or self.key).file), claims, subject, name, NOW)


NOW = "2026-11-26T12:00:00+00:00"


class Verified:
    """What `verify --json` told: ``bad``: the questions that are answered so."""

    def __init__(self, ended):
        self.ended = ended
        self.status = ended.status
        self.err = ended.err
        self.told = json.loads(ended.out) if ended.out else {"answers": [], "machines": []}

    @property
    def answers(self):
        return {row["question"]: row["status"] for row in self.told["answers"]}

    @property
    def bad(self):
        return [question for question, status in self.answers.items() if status == "BAD"]

    def said(self, question):
        """All that was said of one."""
        row = next(row for row in self.told["answers"] if row["question"] == question)
        return "\n".join([row["text"], *row["findings"]])


def ended(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return Ended(process.returncode, out, err)


def git(repo, *arguments):
    argv = ["git", *COMMITTER, *map(str, arguments)]
    return subprocess.run(argv, cwd=repo, check=True, capture_output=True, text=True).stdout


_made, _there = {}, {}


def bench(tmp_path_factory):
    """The bench of this run, made when it is first asked for."""
    base = tmp_path_factory.getbasetemp()
    if base not in _made:
        _made[base] = _bench(tmp_path_factory.mktemp("publish"))
    _made[base].clean()
    return _made[base]


def _bench(folder):
    done = verb("build", "--target", TARGET, "--json")
    told = json.loads(done)
    repo = checkout(folder / "repo")
    verb("smoke", "--target", TARGET, "--output", repo / "out/smoke")
    (folder / "no-docker").mkdir()
    return Bench(folder, repo, _pair(folder / "key"), _pair(folder / "other"), told["digest"], told["chain_id"])


def verb(*arguments):
    """A verb of this checkout."""
    argv = [sys.executable, "-m", "build", *map(str, arguments)]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def checkout(folder):
    """What git has or would take of this checkout, as it lies there, as the first commit (tag ``start``) of another."""
    names = git(REPO, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (REPO / name).is_file() and not name.startswith(f"{published.FOLDER}/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    git(folder, "tag", "start")
    return folder


def _pair(folder):
    folder.mkdir()
    registrykit.cosign("generate-key-pair", cwd=folder, env={"COSIGN_PASSWORD": PASSWORD})
    return Key(folder / "cosign.key", folder / "cosign.pub")


# What is in a registry, and what may be done to it


@dataclass
class There:
    """tiny as it was published in a repository of a registry. ``record``: of that publication, ``said`` and ``asked``:
    what the push said and asked the proxy."""

    bench: Bench
    registry: registrykit.Registry
    proxy: registrykit.Proxy
    name: str
    record: published.Record
    said: Ended
    asked: dict

    @property
    def image(self):
        return f"{self.proxy.place}/{self.name}@{self.record.manifest}"

    @property
    def subject(self):
        return registry.Manifest(media_type=registry.MANIFEST, data=self.blob(self.record.manifest))

    @property
    def tag(self):
        """Of the list of what is attached."""
        return self.record.manifest.replace(":", "-")

    def blob(self, digest):
        return self.registry.blob(digest).read_bytes()

    def document(self, kind):
        """The digest of what is attached, by its kind."""
        return next(item.digest for item in self.record.places[-1].documents if item.kind == kind)

    def content(self, kind):
        """The digest of the one blob of it."""
        (row,) = json.loads(self.blob(self.document(kind)))["layers"]
        return row["digest"]

    def bundle(self, kind):
        return self.blob(self.content(kind))

    def predicate(self, kind):
        return json.loads(base64.b64decode(json.loads(self.bundle(kind))["dsseEnvelope"]["payload"]))["predicate"]

    def branch(self, name):
        """The same in another repository of the registry, to do things to; the clone's record is of that one."""
        (source, target) = (self.repository(it) for it in (self.name, name))
        shutil.copytree(source, target)
        (place,) = self.record.places
        record = replace(self.record, places=(replace(place, repository=f"{self.proxy.place}/{name}"),))
        published.write(self.bench.repo, record)
        return replace(self, name=name, record=record)

    def repository(self, name):
        """A repository's folder on the registry's disk."""
        return self.registry.storage / "docker/registry/v2/repositories" / name

    def remove(self, kind):
        """Take away what is attached: from the list, and from the disk."""
        digest = self.document(kind)
        with self.bench.opened(self.name, self.proxy.place) as repository:
            index = repository.manifest(self.tag).content
            index["manifests"] = [row for row in index["manifests"] if row["digest"] != digest]
            data = json.dumps(index).encode()
            repository.put_manifest(registry.Manifest(media_type=registry.INDEX, data=data), self.tag)
        self.lose(digest)

    def lose(self, digest):
        """Take a manifest off the disk; the list still names it."""
        shutil.rmtree(self.repository(self.name) / "_manifests/revisions" / digest.replace(":", "/"))

    def attach(self, *artifacts):
        with self.bench.opened(self.name, self.proxy.place) as repository:
            attaching.attach(repository, artifacts)

    def attach_bundle(self, kind, bundle):
        """Attach bytes as the bundle of a statement, whatever they are."""
        self.attach(attaching.bundled(kind, bundle, FACTS[kind], self.subject, NOW))

    def state(self, kind, predicate, **more):
        """Sign a claim about the image and attach it. ``more``: as :meth:`Bench.signed` has it."""
        claim = attaching.Claim(kind=kind, predicate_type=FACTS[kind], predicate=json.dumps(predicate).encode())
        self.attach(*self.bench.signed([claim], self.subject, **more))

    def instead(self, kind, predicate, **more):
        """The same, in place of what is attached."""
        self.remove(kind)
        self.state(kind, predicate, **more)

    @contextlib.contextmanager
    def spoiled(self, digest, at=None):
        """One byte of a blob is another one on the disk meanwhile; its size is the same."""
        path = self.registry.blob(digest)
        at = path.stat().st_size // 2 if at is None else at
        flip(path, at)
        try:
            yield
        finally:
            flip(path, at)


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0xFF]))


def publish(bench, real, proxy, name, **environment):
    """Push tiny there, signed; what is there then, and was said and asked. The clone has no record of it afterwards."""
    proxy.clear()
    done = bench.push(f"{proxy.place}/{name}", **environment)
    assert done.status == 0, done.said
    record = bench.record()
    bench.clean()
    return There(bench, real, proxy, name, record, done, proxy.traffic())


def there(request, tmp_path_factory):
    """tiny as it was published once in this run, in a plain registry that lives until its end."""
    made = bench(tmp_path_factory)
    if made not in _there:
        kept = contextlib.ExitStack()
        request.config.add_cleanup(kept.close)
        real = kept.enter_context(registrykit.registry(tmp_path_factory.mktemp("registry")))
        proxy = kept.enter_context(registrykit.faults(real))
        _there[made] = publish(made, real, proxy, "spark/tiny")
    return _there[made]


# Images made from tiny


def layout(bench, folder, layers):
    """An OCI layout of tiny with other layers, those that are the same being the engine's own files; its folder.

    ``layers``: from the list of (descriptor, diff id) and a function that makes one of files, another list.
    """
    content = private.places(default_store()).content
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def read(digest):
        return (content / digest.replace(":", "/")).read_bytes()

    def put(data):
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"digest": imagekit.sha(data), "size": len(data)}

    def layer(files):
        data = imagekit.tar(*(imagekit.entry(name, text) for name, text in files.items()))
        return {"mediaType": LAYER[""], **put(data)}, imagekit.sha(data)

    with compared.opened(bench.settings, TARGET) as image:
        manifest = json.loads(read(image.manifest))
    told = json.loads(read(manifest["config"]["digest"]))
    rows = list(zip(manifest["layers"], told["rootfs"]["diff_ids"], strict=True))
    rows = layers(rows, layer)
    told["rootfs"]["diff_ids"] = [diff_id for _, diff_id in rows]
    told["history"] = [{"created_by": "a test"} for _ in rows]
    manifest["layers"] = [row for row, _ in rows]
    manifest["config"] |= put(json.dumps(told).encode())
    for row in manifest["layers"]:
        if not (blobs / row["digest"][7:]).exists():
            (blobs / row["digest"][7:]).symlink_to(content / row["digest"].replace(":", "/"))
    row = {"mediaType": registry.MANIFEST, **put(json.dumps(manifest).encode())}
    index = {"schemaVersion": 2, "manifests": [row]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def image(folder):
    """The image of a layout, as the code that publishes reads it."""
    return ociimage.read(str(folder), folder)
