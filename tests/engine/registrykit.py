"""Real registries for tests of publishing: Debian's docker-registry on loopback, others' clients, faults, images.

    with registrykit.registry(tmp_path / "registry") as real, registrykit.faults(real) as proxy:
        image = registrykit.layout(tmp_path / "image", [b"content", 5_000_000])
        proxy.answer(429, times=2)
        registrykit.skopeo("copy", image.oci, f"docker://{proxy.place}/name:tag", "--dest-tls-verify=false")
        assert real.tags("name") == {"tag": image.digest}

:mod:`registryfaults` says what can go wrong, :mod:`registrytokens` the token server, :mod:`registrylayout` makes images.
"""

import contextlib
import json
import re
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from build import engine, host
from build.models import Settings
from build.settings import REPO, default_store
from tests.engine.registryfaults import Fault, Proxy, Request
from tests.engine.registrylayout import Layout, big, layout
from tests.engine.registryproxy import SECRET, faults
from tests.engine.registrytokens import AUTHORITY, Certificate, Tokens, certificate, program, serve

__all__ = [
    "Fault", "Layout", "Proxy", "Registry", "Request", "Tokens", "big", "cosign", "faults", "layout", "oras", "publish_root",
    "registry", "registry_root", "skopeo",
]  # fmt: skip

READY_SECONDS = 20.0
STOP_SECONDS = 10.0
TIMEOUT_SECONDS = 120.0
READY = re.compile(r"listening on ([\d.]+:\d+)")
# crypt(3) of Debian's libxcrypt, the cheapest cost that bcrypt has; Python had one until 3.12, without bcrypt on some.
BCRYPT = 'chomp(my $password = <STDIN>); print crypt($password, q($2y$04$) . "spark.runtime.tests...");'
NOT_OURS = "_CONTAINERS_ROOTLESS_UID"  # skopeo of root keeps what it saw in /var/lib; of others, below XDG_DATA_HOME


@dataclass
class Registry:
    """A registry that runs. ``place``: 127.0.0.1:PORT; ``ca``: the file of its authority's certificate, where it
    speaks TLS; ``tokens``: its token server, where it has one; ``storage``: its files; ``log``: what it says."""

    place: str
    url: str
    storage: Path
    log: Path
    pid: int
    ca: Path | None = None
    tokens: Tokens | None = None
    certificate: Certificate | None = None

    def server_context(self) -> ssl.SSLContext | None:
        """What a server beside it speaks TLS with, as it does; None where it does not."""
        return _server_context(self.certificate) if self.certificate else None

    def tags(self, name: str) -> dict[str, str]:
        """The tags of a repository, each with its digest, as they are on its disk: no client is asked."""
        found = (self._repository(name) / "_manifests/tags").glob("*/current/link")
        return {link.parent.parent.name: link.read_text() for link in sorted(found)}

    def manifests(self, name: str) -> set[str]:
        """The digests of a repository's manifests, tagged or not, as they are on its disk."""
        return {link.read_text() for link in self._revisions(name)}

    def referrers(self, name: str, subject: str) -> list[dict]:
        """The descriptors of a repository's manifests that have this digest as their subject, the oldest first.

        As the distribution-spec's "Listing Referrers" has them; found on its disk.
        """
        rows = []
        for link in sorted(self._revisions(name), key=lambda link: link.stat().st_mtime_ns):
            digest = link.read_text()
            data = self.blob(digest).read_bytes()
            manifest = json.loads(data)
            if manifest.get("subject", {}).get("digest") != subject:
                continue
            kind = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")
            told = {"artifactType": kind, "annotations": manifest.get("annotations")}
            row = {"mediaType": manifest["mediaType"], "digest": digest, "size": len(data)}
            rows.append({**row, **{key: value for key, value in told.items() if value}})
        return rows

    def _revisions(self, name):
        return (self._repository(name) / "_manifests/revisions").glob("*/*/link")

    def blobs(self, name: str) -> set[str]:
        """The digests of a repository's layers and configs, as they are on its disk."""
        return {link.read_text() for link in (self._repository(name) / "_layers").glob("*/*/link")}

    def uploads(self, name: str) -> list[int]:
        """The bytes that are there of each upload that was not ended."""
        return [self.arrived(name, upload.name) for upload in (self._repository(name) / "_uploads").glob("*")]

    def arrived(self, name: str, upload: str) -> int:
        """The bytes that are there of an upload."""
        data = self._repository(name) / "_uploads" / upload / "data"
        return data.stat().st_size if data.exists() else 0

    def blob(self, digest: str) -> Path:
        """The file of a blob or manifest: read it, or spoil it."""
        kind, _, sha = digest.partition(":")
        return self.storage / "docker/registry/v2/blobs" / kind / sha[:2] / sha / "data"

    def _repository(self, name):
        return self.storage / "docker/registry/v2/repositories" / name


@contextlib.contextmanager
def registry(folder, *, htpasswd: dict[str, str] | None = None, tls: bool = False, token: bool = False):
    """Run a registry with its files in ``folder`` until the block ends; yields a :class:`Registry`.

    ``htpasswd``: its users and their passwords; nobody else gets in. ``tls``: it speaks TLS, by an authority of its
    own. ``token``: those users log in at a token server of its own instead, as at GitHub's. It ends with us, too.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        authority = certificate(folder, "authority", AUTHORITY) if tls else None
        own = certificate(folder, "127.0.0.1", authority=authority) if tls else None
        context = _server_context(own) if own else None
        tokens = stack.enter_context(serve(folder, htpasswd or {}, context)) if token else None
        config = folder / "config.yml"
        config.write_text(json.dumps(_config(folder, htpasswd, own, tokens)))  # JSON is YAML
        log = folder / "log"
        argv = [
            *program("setpriv"), "--pdeathsig", "KILL", "--",
            *_program(registry_root(), "docker-registry"), "serve", str(config),
        ]  # fmt: skip
        process = stack.enter_context(_running(argv, log))
        place = _place(process, log)
        yield Registry(
            place=place, url=f"http{'s' if tls else ''}://{place}", storage=folder / "storage", log=log, pid=process.pid,
            ca=authority.file if authority else None, tokens=tokens, certificate=own,
        )  # fmt: skip


def _server_context(own):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.file, own.key)
    return context


def _config(folder, users, own, tokens):
    """The registry's configuration. No cache: what is changed on its disk shows at once."""
    config = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": "127.0.0.1:0", "secret": SECRET.decode()},
    }
    if own:
        config["http"]["tls"] = {"certificate": str(own.file), "key": str(own.key)}
    if tokens:
        config["auth"] = {"token": tokens.config()}
    elif users is not None:
        file = folder / "htpasswd"
        file.write_text("".join(f"{name}:{_bcrypt(password)}\n" for name, password in users.items()))
        config["auth"] = {"htpasswd": {"realm": "the tests", "path": str(file)}}
    return config


def _bcrypt(password):
    """A password's hash as htpasswd has it."""
    argv = [*program("perl"), "-e", BCRYPT]
    return subprocess.run(argv, input=f"{password}\n", capture_output=True, check=True, text=True, env={}).stdout


@contextlib.contextmanager
def _running(argv, log):
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=log.parent, env={"OTEL_TRACES_EXPORTER": "none"},
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _place(process, log):
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        if found := READY.search(log.read_text(errors="replace")):
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.005)
    raise AssertionError(f"the registry did not start:\n{log.read_text(errors='replace')[-2000:]}")


@cache
def registry_root() -> Path:
    """The root with docker-registry, skopeo and oras."""
    return host.registry(Settings(repo=REPO, store=default_store()))


@cache
def publish_root() -> Path:
    """The root with cosign."""
    return host.publish(Settings(repo=REPO, store=default_store()))


def skopeo(*arguments, **more) -> subprocess.CompletedProcess[str]:
    """Run skopeo; `--insecure-policy` is said. Over http say `--dest-tls-verify=false`, or `--src-…`, or `--tls-verify=…`.

    ``more``: as :func:`_run` has it.
    """
    return _run([*_program(registry_root(), "skopeo"), "--insecure-policy"], arguments, **more)


def oras(*arguments, **more) -> subprocess.CompletedProcess[str]:
    """Run oras. Over http say `--plain-http`, over TLS `--ca-file`. ``more``: as :func:`_run` has it."""
    return _run(_program(registry_root(), "oras"), arguments, **more)


def cosign(*arguments, **more) -> subprocess.CompletedProcess[str]:
    """Run cosign. ``more``: as :func:`_run` has it (COSIGN_PASSWORD is empty where ``env`` does not name it)."""
    return _run(
        _program(publish_root(), "cosign"), arguments, **{**more, "env": {"COSIGN_PASSWORD": "", **more.get("env", {})}}
    )


def _run(program, arguments, *, check=True, env=None, stdin="", home=None, cwd=None, ca=None, timeout=TIMEOUT_SECONDS):
    """Run a client to its end; its exit status and what it wrote. With ``check`` a failure fails the test, and says why.

    Nothing of the user's: ``home`` is its home (where `login` writes), one that is empty and gone afterwards by default.
    ``ca``: an authority that it shall trust.
    """
    with tempfile.TemporaryDirectory(prefix="registrykit-") as empty:
        own = Path(home or empty)
        (own / "run").mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(own), "XDG_RUNTIME_DIR": str(own / "run"), "TMPDIR": empty,
            "XDG_DATA_HOME": str(own / "data"), NOT_OURS: "65534", **({"SSL_CERT_FILE": str(ca)} if ca else {}), **(env or {}),
        }  # fmt: skip
        argv = [*program, *map(str, arguments)]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", check=False, env=environment,
            cwd=cwd or empty, timeout=timeout,
        )  # fmt: skip
    if check:
        assert done.returncode == 0, (
            f"{argv[len(program) - 1 :]} ended with {done.returncode}:\n{done.stderr}{done.stdout}"
        )
    return done


def _program(root, name):
    return [*engine.loader(root), str(root / "usr/bin" / name)]
