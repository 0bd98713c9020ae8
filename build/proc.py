"""The one door for subprocesses: argument lists, an explicit environment, no standard input, honest failures.

A child does not inherit our environment: it gets PATH, HOME, TERM, a fixed locale and time zone, and what the
caller passes. :func:`network_env` is what a child that talks to an index or a mirror needs of the user's own
settings (proxies, CA bundle, index configuration).
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from build.determinism import ENVIRONMENT
from build.errors import BuildError, CommandError, EngineError, SpaceError

Arg = str | os.PathLike[str]

TAIL_LINES = 30
STDERR = 2
CREDENTIALS = re.compile(r"://[^/@\s]+@")
NETWORK_PREFIXES = ("UV_", "PIP_")
NETWORK_NAMES = (
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NETRC",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a finished command gave: its exit status and what it printed (both streams where captured)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def base_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every child, before what its caller adds."""
    env = {
        "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "HOME": os.environ.get("HOME", "/"),
        "TERM": os.environ.get("TERM", "dumb"),
        **ENVIRONMENT,
    }
    if "TMPDIR" in os.environ:
        env["TMPDIR"] = os.environ["TMPDIR"]
    env.update(extra or {})
    return env


def network_env() -> dict[str, str]:
    """The user's proxies, CA bundle and index settings, for children that reach a network."""
    return {
        name: value for name, value in os.environ.items() if name in NETWORK_NAMES or name.startswith(NETWORK_PREFIXES)
    }


def proxy_env() -> dict[str, str]:
    """The proxies alone, for what only pulls."""
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


def quote(argv: Sequence[Arg]) -> str:
    """The command as a person would type it, for people to read: credentials in URLs are masked.

    >>> quote(["echo", "a b", "https://me:secret@index.example/simple"])
    "echo 'a b' 'https://***@index.example/simple'"
    """
    return shlex.join(CREDENTIALS.sub("://***@", os.fspath(arg)) for arg in argv)


def as_root(argv: Sequence[Arg], *, purpose: str) -> list[str]:
    """``argv``, run through sudo when we are not root; an error that names ``purpose`` where neither is had."""
    plain = [os.fspath(arg) for arg in argv]
    if os.geteuid() == 0:
        return plain
    sudo = shutil.which("sudo")
    if sudo is None:
        raise EngineError(
            f"{purpose} needs root",
            why="this is not root and there is no sudo",
            todo=f"run this command as root, or run as root: {quote(plain)}",
        )
    return [sudo, "--", *plain]


def run(
    argv: Sequence[Arg],
    *,
    cwd: Arg | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    capture: bool = True,
    stdin: str | None = None,
    verbose: bool = False,
    timeout: float | None = None,
) -> Completed:
    """Run ``argv`` to its end.

    ``capture=False`` lets the child write to our standard error, with both streams: standard output is for results.
    Raises :class:`CommandError` on a non-zero exit (with ``check``), on a program that does not exist, and on a
    time-out; Ctrl-C ends the child first.
    """
    plain = tuple(os.fspath(arg) for arg in argv)
    if verbose:
        print(f"+ {quote(plain)}", file=sys.stderr, flush=True)
    stream = subprocess.PIPE if capture else STDERR
    try:
        done = subprocess.run(
            plain,
            cwd=cwd,
            env=base_env(env),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise CommandError(
            f"{plain[0]} is not there", why=str(error), todo="install it, or look at PATH", returncode=127
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"{os.path.basename(plain[0])} took longer than {timeout:.0f} s and was ended", why=quote(plain)
        ) from error
    result = Completed(argv=plain, returncode=done.returncode, stdout=done.stdout or "", stderr=done.stderr or "")
    if check and done.returncode != 0:
        raise failure(result)
    return result


def failure(done: Completed) -> BuildError:
    """The error for a command that ended badly: a full disk by its own name, all else with the last lines."""
    if done.returncode < 0:
        how = f"was ended by {signal.Signals(-done.returncode).name}"
    else:
        how = f"failed with exit status {done.returncode}"
    output = "\n".join(part.strip() for part in (done.stdout, done.stderr) if part.strip())
    output = CREDENTIALS.sub("://***@", output)
    tail = "\n".join(f"       {line}" for line in output.splitlines()[-TAIL_LINES:])
    if os.strerror(errno.ENOSPC) in output:
        return SpaceError(
            f"the disk filled up while {os.path.basename(done.argv[0])} was running",
            why=tail.strip(),
            todo="free some space (nox -s clean says what it can drop) and run the same command again",
        )
    return CommandError(
        f"{os.path.basename(done.argv[0])} {how}",
        why=f"replay: {quote(done.argv)}" + (f"\n{tail}" if tail else ""),
        returncode=done.returncode,
        output=output,
    )
