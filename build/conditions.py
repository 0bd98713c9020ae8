"""What `reproduce` varies: each condition as it is here and as it is there, and how a process comes under it.

All of it is a process's own or its mount and host name spaces': nothing of the machine is changed, and nothing has to
be changed back.
"""

from __future__ import annotations

import ctypes
import difflib
import locale
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from build import jail
from build.errors import UsageError

NAMES = ("path", "umask", "tz", "locale", "host", "user", "clock", "cores", "order")

UMASK = 0o077
ZONE = "Pacific/Kiritimati"  # UTC+14: another date than anywhere else for most of the day
HOST = "another-host.example"
USER = 12345  # uid and gid: nobody's
SHIFT = 3 * 365 * 86400 + 4711  # seconds that the clock is ahead
OLD = 951782400  # 2000-02-29T00:00:00Z: the time of every file that goes in
LANGUAGE = {"LANG": "tr_TR.ISO-8859-9", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PATH = "an other place, with späces & more/than there was before"

# A user's own settings, each of which would change bytes if it were listened to.
SETTINGS = {
    ".gitconfig": "[core]\n\tautocrlf = true\n\tabbrev = 12\n[diff]\n\tnoprefix = true\n\tcontext = 1\n",
    ".config/uv/uv.toml": 'link-mode = "symlink"\ncompile-bytecode = true\n',
    ".config/pip/pip.conf": "[install]\ncompile = yes\nuser = yes\n",
}
VARIABLES = {
    "UV_LINK_MODE": "symlink", "UV_COMPILE_BYTECODE": "1", "PIP_USER": "1", "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.autocrlf", "GIT_CONFIG_VALUE_0": "true", "SOURCE_DATE_EPOCH": "1",
    "USER": "somebody", "LOGNAME": "somebody", "SUDO_UID": str(USER), "SUDO_GID": str(USER),
}  # fmt: skip

CLONE_NEWNS, CLONE_NEWUTS = 0x00020000, 0x04000000  # linux/sched.h
CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True, kw_only=True)
class Varied:
    """A condition that was varied: what it was where the command was given, and where the image was built again."""

    name: str
    here: str
    there: str


def chosen(text: str) -> tuple[str, ...]:
    """The conditions that a list names, in our order.

    >>> chosen("tz,path"), len(chosen("all"))
    (('path', 'tz'), 9)
    """
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if asked == ["all"]:
        return NAMES
    for name in asked:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise UsageError(f"'{name}' is not a condition", todo=f"{hint}all, or some of {','.join(NAMES)}")
    if not asked:
        raise UsageError("--vary names no condition", todo=f"all, or some of {','.join(NAMES)}")
    return tuple(name for name in NAMES if name in asked)


def compared(names: Sequence[str], here: Path, there: Path) -> tuple[Varied, ...]:
    """Both sides of each condition, for a report. ``here``, ``there``: the clone, and its copy."""
    count, now = os.cpu_count() or 1, time.time()
    sides = {
        "path": (str(here), str(there)),
        "umask": (f"{_umask():03o}", f"{UMASK:03o}"),
        "tz": (time.tzname[0], ZONE),
        "locale": (locale.setlocale(locale.LC_CTYPE), ", ".join(f"{k}={v}" for k, v in LANGUAGE.items())),
        "host": (platform.node(), HOST),
        "user": (f"uid {os.getuid()}", f"uid {USER} owns the files; its git, uv and pip are set to spoil"),
        "clock": (_day(now), f"{_day(now + SHIFT)} for our code, and {_day(OLD)} on every file that goes in"),
        "cores": (str(count), "1"),
        "order": ("the folders' own", "an ext4 without index, files made in reverse"),
    }
    return tuple(Varied(name=name, here=sides[name][0], there=sides[name][1]) for name in names)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def environment(names: Sequence[str], home: Path) -> dict[str, str]:
    """What a process under these conditions has in its environment, besides the usual."""
    env = {"HOME": str(home)}
    env |= {"TZ": ZONE} if "tz" in names else {}
    env |= LANGUAGE if "locale" in names else {}
    env |= VARIABLES if "user" in names else {}
    return env


def make_home(names: Sequence[str], home: Path) -> None:
    """A home to go with :func:`environment`: empty, or with the settings of somebody else."""
    home.mkdir(parents=True)
    for name, text in SETTINGS.items() if "user" in names else ():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")


def leave(names: Sequence[str]) -> None:
    """Leave what this process shares with the others: mounts always, and the host's name, the umask, the cores.

    Needs root. What is started from here on is under these conditions too.
    """
    jail.libc("unshare", CLONE_NEWNS)
    jail.mount(None, "/", jail.MS_REC | jail.MS_PRIVATE)
    if "host" in names:
        jail.libc("unshare", CLONE_NEWUTS)
        jail.libc("sethostname", HOST.encode(), ctypes.c_size_t(len(HOST)))
    if "umask" in names:
        os.umask(UMASK)
    if "cores" in names:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def become(names: Sequence[str]) -> None:
    """What only this process itself can take on: whose files it writes, and what time it is. Before it has threads."""
    if "clock" in names:
        true = time.time
        time.time = lambda: true() + SHIFT
        time.time_ns = lambda: int(time.time() * 1e9)
    if "user" in names:
        write_as(USER)


def write_as(user: int) -> None:
    """Let files that this process makes belong to ``user``, whose rights it has over all others but for reading.

    By setfsuid(2) and not setuid: programs that it starts are root's again, as they are through sudo. It may read
    everything, as our own environment may be in root's home.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.setfsgid(user)
    libc.setfsuid(user)
    header, data = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    jail.libc("capget", header, data)  # effective, permitted, inheritable; twice
    data[0] |= data[1] & 1 << CAP_DAC_READ_SEARCH
    jail.libc("capset", header, data)
