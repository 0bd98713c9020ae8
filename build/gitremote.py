"""The git program, as far as pinned sources need it: a remote's refs, one commit of it, that commit's tree on disk.

The user's git configuration is heard where a remote is talked to (``insteadOf``, credentials, proxies, CA bundles)
and nowhere else: what is written out is the objects' own bytes. git asks nobody anything.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from build import proc
from build.errors import CommandError, GoneCommitError, LockError, NetworkError
from build.gitlocal import UNALTERED, nobodys
from build.giturl import PROTOCOLS, require_url, shown

ANSWER_SECONDS = 60.0  # for a remote to say what refs it has
FETCH_SECONDS = 3600.0  # for one commit of it to come in

# HTTP gives up below 1 kB/s for a minute, ssh when nobody answers; git:// has only the bounds above.
FETCHING = (
    "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60", "-c", "protocol.version=2",
    "-c", f"core.hooksPath={os.devnull}", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
    "-c", "fetch.recurseSubmodules=false", "-c", "submodule.recurse=false",
)  # fmt: skip
SSH = "-o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=20"  # in ssh the first word counts: the user's own
USERS_NAMES = (
    "SSH_AUTH_SOCK", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME",
    "GIT_ASKPASS", "GIT_SSH", "GIT_SSH_VARIANT", "GH_TOKEN", "GH_CONFIG_DIR",
)  # fmt: skip
LACKING = ("not our ref", "unadvertised object", "couldn't find remote ref")

T = TypeVar("T")


class RemoteError(Exception):
    """A remote that did not give what it was asked for: ``lacks`` where it answered that it has no such thing."""

    def __init__(self, reason: str, *, lacks: bool = False) -> None:
        super().__init__(reason)
        self.lacks = lacks


def refs(url: str, *patterns: str) -> dict[str, str]:
    """The remote's refs of these names → the objects they point to. Raises :class:`RemoteError`."""
    out = _talk("ls-remote", "--quiet", "--", url, *patterns, timeout=ANSWER_SECONDS)
    return {name: found for found, _, name in (line.partition("\t") for line in out.splitlines())}


class Repository:
    """A bare repository in a folder of its own, for one commit of one remote."""

    def __init__(self, folder: Path, url: str) -> None:
        self._env = {"GIT_DIR": os.fspath(folder), "GIT_NO_REPLACE_OBJECTS": "1"}
        _git("init", "--quiet", "--bare", "--template=", env={**nobodys(folder), **self._env})
        self._home = nobodys(folder)
        (folder / "info").mkdir()
        (folder / "info" / "attributes").write_text(UNALTERED, encoding="ascii")
        self._own("config", "remote.origin.url", url)

    def fetch(self, commit: str, *, blobs: bool = True) -> None:
        """The commit without its history; without files but ``.gitmodules`` too, where the remote knows how.

        Raises :class:`RemoteError`, soon where the remote does not answer at all.
        """
        filters = () if blobs else ("--filter=blob:none",)
        _talk("ls-remote", "--quiet", "--", "origin", "HEAD", timeout=ANSWER_SECONDS, env=self._env)
        _talk(
            "fetch", "--quiet", "--depth=1", "--no-tags", *filters, "--", "origin", commit,
            timeout=FETCH_SECONDS, env=self._env,
        )  # fmt: skip
        if not blobs and self._modules(commit):
            _talk("cat-file", "blob", f"{commit}:.gitmodules", timeout=ANSWER_SECONDS, env=self._env)

    def tree(self, commit: str) -> str:
        """The commit's tree id."""
        return self._own("rev-parse", "--verify", f"{commit}^{{tree}}").strip()

    def time(self, commit: str) -> int:
        """When it was committed, in seconds since 1970 (git's ``%ct``)."""
        return int(self._own("show", "--no-patch", "--format=%ct", f"{commit}^{{commit}}").strip())

    def gitlinks(self, commit: str) -> dict[str, str]:
        """The submodules that the tree pins: path → commit."""
        rows = self._own("ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
        links = (row.partition("\t") for row in rows if row.startswith("160000 "))
        return {path: facts.split()[2] for facts, _, path in links}

    def module_urls(self, commit: str) -> dict[str, str]:
        """What the tree's ``.gitmodules`` says: path → URL as it stands there. Empty without that file."""
        if not self._modules(commit):
            return {}
        said: dict[str, dict[str, str]] = {}
        for entry in self._own("config", "--blob", f"{commit}:.gitmodules", "--null", "--list").split("\0"):
            key, _, value = entry.partition("\n")
            name, _, variable = key.removeprefix("submodule.").rpartition(".")
            said.setdefault(name, {})[variable] = value
        return {item["path"]: item["url"] for item in said.values() if {"path", "url"} <= item.keys()}

    def _modules(self, commit: str) -> bool:
        """Whether the tree has a ``.gitmodules``; asks nobody, and needs only the tree."""
        return bool(self._own("ls-tree", "--full-tree", commit, ".gitmodules"))

    def write_out(self, tree: str, folder: Path) -> None:
        """The tree's files in ``folder``, byte for byte; submodules stay empty folders.

        Raises :class:`LockError` for a tree that git does not write (it names ``..`` or ``.git``, it is damaged).
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._own("read-tree", "--reset", "-u", tree, cwd=folder, env={"GIT_WORK_TREE": os.fspath(folder)})
        except CommandError as error:
            raise LockError(
                f"the tree {tree[:12]} cannot be written out",
                why=reason(error),
                todo="do not trust this remote; compare with another copy of the repository",
            ) from error

    def _own(self, *argv: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run git on what is here, under nobody's configuration."""
        return _git(*argv, cwd=cwd, env={**self._home, **self._env, **(env or {})})


@contextmanager
def fetched(
    scratch: Path, what: str, remotes: Sequence[str], commit: str, *, blobs: bool = True
) -> Iterator[Repository]:
    """A repository that holds the commit, from the first remote that gives it; gone afterwards."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:

        def fetch(remote: str) -> Repository:
            repository = Repository(Path(tempfile.mkdtemp(dir=folder)), remote)
            repository.fetch(commit, blobs=blobs)
            return repository

        yield first(remotes, f"the commit {commit} of {what}", fetch)


def first(remotes: Sequence[str], thing: str, ask: Callable[[str], T]) -> T:
    """The answer of the first remote that has one; an error with each one's reason where none has."""
    for remote in remotes:
        require_url(remote)
    reasons = []
    gone = False
    for remote in remotes:
        try:
            return ask(remote)
        except RemoteError as error:
            reasons.append(f"{shown(remote)}: {error}")
            gone = gone or error.lacks
    why = "\n       ".join(reasons)
    if gone:  # one that could not be asked does not make it less gone from those that answered
        raise GoneCommitError(
            f"{thing} is gone",
            why=why,
            todo="name a mirror that has it (`mirrors`), or state another `commit`, in lock/targets.toml",
        )
    raise NetworkError(
        f"{thing} could not be fetched",
        why=why,
        todo="check the network, name a mirror (`mirrors` in lock/targets.toml), or send git there (its insteadOf)",
    )


def reason(error: CommandError) -> str:
    """What git said, in one line."""
    lines = [line.strip().removeprefix("fatal: ").removeprefix("error: ") for line in error.output.splitlines()]
    return "; ".join([line for line in lines if line and not line.startswith("hint:")][:3]) or error.what


def _talk(*argv: str, timeout: float, env: Mapping[str, str] | None = None) -> str:
    """Run git where it may talk to a remote, with what is the user's."""
    try:
        return _git(*FETCHING, *argv, env={**_users(), **(env or {})}, cwd=Path("/"), timeout=timeout)
    except CommandError as error:
        if error.returncode == 127:
            raise
        said = reason(error)
        raise RemoteError(said, lacks=any(word in said for word in LACKING)) from error


def _git(*argv: str, env: Mapping[str, str], cwd: Path | None = None, timeout: float | None = None) -> str:
    try:
        return proc.run(["git", *argv], env=env, cwd=cwd, timeout=timeout).stdout
    except CommandError as error:
        if error.returncode != 127:
            raise
        todo = "install git, or name a folder that `nox -s fetch -- --export` wrote (--exported DIR)"
        raise CommandError("git is not there", why=error.why, todo=todo, returncode=127) from error


def _users() -> dict[str, str]:
    """An environment in which git finds the user's configuration, keys and proxies, and no terminal to ask on."""
    env = proc.network_env()
    env |= {k: v for k, v in os.environ.items() if k in USERS_NAMES or k.startswith("GIT_CONFIG_")}
    bundle = env.get("SSL_CERT_FILE") or env.get("CURL_CA_BUNDLE")
    if bundle:
        env.setdefault("GIT_SSL_CAINFO", bundle)
    env |= {
        "GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never",
        "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
    }  # fmt: skip
    if "GIT_SSH" not in env:
        own = os.environ.get("GIT_SSH_COMMAND") or _configured("core.sshCommand", env) or "ssh"
        env["GIT_SSH_COMMAND"] = f"{own} {SSH}"
    return env


def _configured(key: str, env: Mapping[str, str]) -> str:
    try:
        return _git("config", "--get", key, env=env, cwd=Path("/")).strip()
    except CommandError as error:
        if error.returncode == 127:
            raise
        return ""
