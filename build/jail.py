"""Run a program in another root: ``python build/jail.py --root R [--bind SRC:DST]… [--tmpfs DST]… -- argv``.

A mount namespace of its own, private, entered by pivot_root. A chroot is not enough: BuildKit remounts ``/`` of
its containers, which the kernel refuses (EINVAL) where the root of the namespace is not a mount point. Nothing
of this needs a mount to be undone: the kernel drops them with the namespace's last process. And no process needs
to be hunted: a program that we wait for has a process namespace of its own, which ends with us, however we end.

The standard library only, so that it runs as a file of its own under any interpreter, for root through sudo.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
import warnings  # noqa: F401 - os.execvpe of Python 3.14 imports it, and in the new root there is nothing to import from
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# linux/sched.h, linux/prctl.h, sys/mount.h, asm/unistd.h
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
PR_SET_PDEATHSIG = 1
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
MNT_DETACH = 0x2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
KERNEL = ("proc", "sys", "dev")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}


@dataclass(frozen=True, kw_only=True)
class Jail:
    """A root and what of the host is seen in it: ``tmpfs`` first, then ``binds``.

    ``binds``: (host path, path in the root). ``tmpfs``: paths in the root. ``env``: added to :data:`ENVIRONMENT` and
    to the constants of :mod:`build.determinism`.
    ``writable``: whether the root itself may be written to.
    """

    root: Path
    binds: tuple[tuple[Path, str], ...] = ()
    tmpfs: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    writable: bool = False


def command(jail: Jail, argv: Sequence[str], *, log: Path | None = None) -> list[str]:
    """The argument list that runs ``argv`` in ``jail``; it must be run by root.

    ``log``: leave the program running on its own, its output appended to this file, and return at once.
    """
    options = [f"--bind={source}:{target}" for source, target in jail.binds]
    options += [f"--tmpfs={target}" for target in jail.tmpfs]
    options += [f"--env={name}={value}" for name, value in jail.env]
    options += ["--writable"] if jail.writable else []
    options += [f"--log={log}"] if log else []
    from build.determinism import ENVIRONMENT as CONSTANTS  # noqa: PLC0415 - not there where this file is the program
    from build.determinism import UMASK  # noqa: PLC0415

    options = [f"--env={name}={value}" for name, value in CONSTANTS.items()] + options
    options += [f"--umask={UMASK:03o}"]
    # By file and isolated: no current folder, no user's packages; -B leaves no caches of root's in the checkout.
    return [sys.executable, "-I", "-B", __file__, f"--root={jail.root}", *options, "--", *argv]


def main(argv: Sequence[str]) -> None:
    """Enter the jail that the arguments describe and run its program; ends with its exit status."""
    parser = argparse.ArgumentParser(prog="build/jail.py", description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--bind", action="append", default=[], metavar="SRC:DST")
    parser.add_argument("--tmpfs", action="append", default=[], metavar="DST")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--log", type=Path, metavar="FILE", help="leave the program running, its output goes here")
    parser.add_argument("--umask", type=lambda text: int(text, 8), default=0o022, metavar="OCTAL")
    parser.add_argument("--writable", action="store_true", help="let the program write to the root itself")
    parser.add_argument("argv", nargs="+", metavar="-- program …")
    args = parser.parse_args(argv)
    binds = tuple((Path(source), target) for source, _, target in (bind.rpartition(":") for bind in args.bind))
    jail = Jail(root=args.root, binds=binds, tmpfs=tuple(args.tmpfs), writable=args.writable)
    added = dict(item.partition("=")[::2] for item in args.env)
    os.umask(args.umask)
    try:
        _detach(args.log) if args.log else _stay_above()
        enter(jail)
        os.execvpe(args.argv[0], args.argv, {**ENVIRONMENT, **added})  # noqa: S606 - an argument list, no shell
    except OSError as error:
        sys.exit(f"jail: {args.argv[0]} in {args.root}: {error}")


def _stay_above() -> None:
    """Go on as the first process of a process namespace, ended when we are, as we are when who started us ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    libc("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))
    libc("unshare", CLONE_NEWPID)
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    libc("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def _detach(log: Path) -> None:
    """Go on as a process of its own session, in no terminal's way; the one that was started ends well."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def enter(jail: Jail) -> None:
    """Make ``jail`` the root of this process. Raises ``OSError`` (as for one who is not root)."""
    libc("unshare", CLONE_NEWNS)
    mount(None, "/", MS_REC | MS_PRIVATE)
    root = os.path.realpath(jail.root)
    mount(root, root, MS_BIND)
    for name in KERNEL:
        mount(f"/{name}", _point(root, name, like="/"), MS_BIND | MS_REC)
    if os.getpid() == 1:
        with contextlib.suppress(OSError):  # refused where parts of /proc are hidden, as in containers
            mount("proc", os.path.join(root, "proc"), 0, kind="proc")
    for target in jail.tmpfs:
        mount("tmpfs", _point(root, target, like="/"), 0, kind="tmpfs", data="mode=1777")
    for source, target in jail.binds:
        mount(os.fspath(source), _point(root, target, like=os.fspath(source)), MS_BIND | MS_REC)
    if not jail.writable:
        mount(None, root, MS_REMOUNT | MS_BIND | MS_RDONLY)
    os.chdir(root)
    _pivot_root(".", ".")  # the old root lies on the new one: pivot_root(2), "pivot_root(".", ".")"
    libc("umount2", b".", MNT_DETACH)
    os.chdir("/")


def _point(root: str, target: str, *, like: str) -> str:
    """A mount point below ``root``, made where it is missing: a file for a file, a folder for all else.

    What is made belongs to the root's owner, who must be able to remove the root without being root.
    """
    place = os.path.join(root, target.strip("/"))
    missing = []
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    owner = os.stat(root)
    for made in reversed(missing):
        if made == missing[0] and not os.path.isdir(like):
            with open(made, "xb"):
                pass
        else:
            os.mkdir(made, 0o755)
        os.chown(made, owner.st_uid, owner.st_gid)
    return missing[0] if missing else place


def mount(source: str | None, target: str, flags: int, *, kind: str | None = None, data: str | None = None) -> None:
    """The system call of that name; ``OSError`` where it fails."""
    libc("mount", _bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _pivot_root(new: str, old: str) -> None:
    libc("syscall", ctypes.c_long(PIVOT_ROOT[os.uname().machine]), os.fsencode(new), os.fsencode(old))


def libc(name: str, *arguments: object) -> None:
    """Call a function of the C library that answers 0 where it went well; ``OSError`` where it did not."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", repr(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
