"""What must be so before a server is started: every item is looked at and told, all that fails at once."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from build import nvidia, servermemory
from build.console import human_bytes, say
from build.errors import BuildError, EngineError, ModelError, ServeError, UsageError
from build.nvidia import Driver
from build.profiles import Profile
from build.servermemory import Memory

Value = TypeVar("Value")
GOOD, BAD, WARNED, SKIPPED = "good", "BAD", "warned of", "skipped"
MARKS = {GOOD: "✓", BAD: "✗", WARNED: "!", SKIPPED: "-"}
MACHINES = ("aarch64", "arm64")
UID = 1000  # the server's


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one item. ``error``: what is wrong, where something is."""

    item: str
    status: str
    text: str
    error: BuildError | None = None


@dataclass
class Preflight:
    """The items that were looked at so far. ``anyway``: what fails of those named is a warning."""

    anyway: Collection[str] = ()
    findings: list[Finding] = field(default_factory=list)

    def ask(self, item: str, check: Callable[[], tuple[Value, str]]) -> Value | None:
        """What a check gives, told with its text; None where it fails, which is told with its reason."""
        try:
            value, text = check()
        except BuildError as error:
            self._note(Finding(item=item, status=WARNED if item in self.anyway else BAD, text=error.what, error=error))
            return None
        self._note(Finding(item=item, status=GOOD, text=text))
        return value

    def skip(self, item: str, why: str) -> None:
        """An item that is not looked at, with the reason."""
        self._note(Finding(item=item, status=SKIPPED, text=why))

    def warn(self, item: str, text: str) -> None:
        """Something that need not be a fault."""
        self._note(Finding(item=item, status=WARNED, text=text))

    def demand(self) -> None:
        """Raise the error of the one item that fails, or a :class:`ServeError` of all that do."""
        errors = [(row.item, row.error) for row in self.findings if row.status == BAD and row.error]
        if len(errors) == 1:
            raise errors[0][1]
        if errors:
            raise ServeError(
                f"{len(errors)} things are in the way of a server here",
                why="\n       ".join(
                    f"{item}: {error.what}" + (f": {error.why}" if error.why else "") for item, error in errors
                ),
                todo="\n       ".join(f"{item}: {error.todo}" for item, error in errors if error.todo),
            )

    def _note(self, finding: Finding) -> None:
        self.findings.append(finding)
        error = finding.error
        why = f": {error.why}" if error and error.why else ""
        say(f"  {MARKS[finding.status]} {finding.item}: {finding.text}{why}")


def architecture(machine: str, *, foreign: bool) -> tuple[bool, str]:
    """Whether the image's code has to be emulated (``foreign``: it may be). ``machine``: as ``uname -m`` has it."""
    if machine in MACHINES:
        return False, machine
    if foreign:
        return True, f"{machine}: arm64 code is emulated, which is for trials of the plumbing"
    raise ServeError(
        f"this machine is {machine}, and the image is for arm64",
        todo="run it on a DGX Spark; to try the plumbing under emulation: --allow-foreign --device none",
    )


def driver(found: Driver | None) -> tuple[Driver, str]:
    """NVIDIA's driver, of a version that CUDA 13 runs with."""
    if found is None:
        raise ServeError(
            "there is no NVIDIA driver that answers",
            why=f"neither {nvidia.PROGRAM} nor {nvidia.VERSION} tells of one",
            todo="install it, or load it (a DGX Spark comes with it); without a GPU: --device none",
        )
    if lack := nvidia.lack(found):
        raise ServeError("NVIDIA's driver is too old", why=lack, todo="update it: driver 580 or newer")
    return found, str(found)


def toolkit(engine: str, handed_over: str, *, private: bool) -> tuple[str, str]:
    """That the engine can hand a GPU to a container. ``private``: it is ours, which never can."""
    if handed_over:
        return handed_over, f"{engine} hands over GPUs {handed_over}"
    generate = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    raise EngineError(
        f"{engine} cannot hand a GPU to a container",
        why="it knows no CDI device of nvidia.com and no runtime of NVIDIA's",
        todo="start this machine's own Docker, and let this user in (group docker): images are copied into it"
        if private
        else f"install the NVIDIA container toolkit, then: {generate}; restart Docker",
    )


def memory(profile: Profile, there: Memory, known: Collection[Profile]) -> tuple[int, str]:
    """That the profile's model, cache and reserve fit into what is available; else which of the known ones would."""
    need = servermemory.need(profile, there.total)
    free = f"{human_bytes(there.available)} of {human_bytes(there.total)} are available"
    if need.bytes <= there.available:
        return need.bytes, f"{free}, {human_bytes(need.bytes)} are needed"
    fit = ", ".join(servermemory.fitting(known, there))
    empty = ", ".join(servermemory.fitting(known, Memory(total=there.total, available=there.total)))
    raise ServeError(
        f"there is not enough memory for {profile.name}",
        why=f"{free}; it takes {need}",
        todo=f"this would fit now: {fit}"
        if fit
        else "none of the profiles fits now; "
        + (f"with all memory free {empty} would: end what takes it (ps aux --sort -rss)" if empty else "nor ever here"),
    )


def port(host: str, number: int) -> tuple[int, str]:
    """That a port can be listened at."""
    if not 0 < number < 65536:
        raise UsageError(f"{number} is no port", todo="give one from 1 to 65535: --port N")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise UsageError(
            f"{host} is no address", why=str(error), todo="give one of this machine: --host ADDRESS"
        ) from error
    except PermissionError:
        return number, f"{number} of {host} may not be tried by this user; the engine will"
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise ServeError(
            f"port {number} of {host} {'is taken' if taken else 'cannot be listened at'}",
            why="" if taken else str(error),
            todo="name another (--port N), or end what listens there (ss -ltnp)" if taken else "name another",
        ) from error
    return number, f"{number} of {host} is free"


def readable(folder: Path) -> tuple[Path, str]:
    """That the server, which is another user, may read a model's files."""
    paths = [Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)]
    inside = [path for path in sorted(paths) if not path.relative_to(folder).parts[0].startswith(".")]
    closed = [path for path in (folder, *inside) if not _readable(path)]
    if closed:
        raise ModelError(
            f"{folder.name} may not be read by the server (user {UID})",
            why=f"{len(closed)} of its files are closed to others: {closed[0].name}",
            todo=f"chmod -R a+rX {folder}",
        )
    return folder, f"{folder.name} is whole, and what the profile says"


def _readable(path: Path) -> bool:
    found = os.stat(path)
    owner, others = (stat.S_IRUSR, stat.S_IXUSR), (stat.S_IROTH, stat.S_IXOTH)
    bits = owner if found.st_uid == UID else others
    return bool(found.st_mode & bits[0]) and (not stat.S_ISDIR(found.st_mode) or bool(found.st_mode & bits[1]))


def reach(host: str) -> str:
    """Who can reach a server that listens there, in words; empty for this machine alone."""
    if host in ("127.0.0.1", "::1", "localhost"):
        return ""
    return "anyone who reaches this machine" if host in ("0.0.0.0", "::") else f"anyone who reaches {host}"  # noqa: S104
