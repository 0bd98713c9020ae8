"""Two files explained by diffoscope, from its own locked root, boxed in: they may come from anybody's image.

It sees the two files and nothing else: a root that cannot be written to, no network, no rights, bounds of time and
memory. Starting that box needs root.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build import jail, proc

SECONDS = 120  # for two files
SIZE_LIMIT = 64_000_000  # bytes of a file that is worth it
REPORT_LIMIT = 2_000_000  # bytes of a report
MEMORY = 4 << 30
INSIDE = "/mnt"
NOBODY = 65534
DIFFERENCE, TOO_LONG = 1, 124  # exit statuses

# The root is unpacked and never configured: no cache of libraries, by which libarchive is found, and the programs that
# look into ELF files have the names of Debian's cross binutils.
LIBRARY = ("LIBARCHIVE", "libarchive.so.13")
BOX = """
import glob, os, resource, subprocess, sys
seconds, memory, nobody = map(int, sys.argv[1:4])
os.mkdir("/tmp/bin")
for program in glob.glob("/usr/bin/aarch64-linux-gnu-*"):
    os.symlink(program, "/tmp/bin/" + program.rpartition("-")[2])
os.environ.update(PATH="/tmp/bin:" + os.environ["PATH"], HOME="/tmp")
os.unshare(os.CLONE_NEWNET)
os.setgroups([])
os.setgid(nobody)
os.setuid(nobody)
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_FSIZE, (memory // 8, memory // 8))
try:
    sys.exit(subprocess.run(sys.argv[4:], timeout=seconds).returncode)
except subprocess.TimeoutExpired:
    sys.exit(124)
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What diffoscope said of two files; ``note`` where it could not, or not all."""

    text: str = ""
    note: str = ""


def explain(root: Path, folder: Path, names: tuple[str, str], shown: tuple[str, str], *, verbose: bool = False) -> Told:
    """The difference between two files of ``folder``, in words. ``root``: diffoscope's. Needs root or sudo.

    ``names``: the files' names in the folder, harmless ones; ``shown``: what the report calls them instead.
    """
    paths = [f"{INSIDE}/{name}" for name in names]
    limits = ["--text=-", "--no-progress", f"--max-text-report-size={REPORT_LIMIT}", f"--timeout={SECONDS // 2}"]
    limits += ["--max-diff-block-lines=200", f"--max-report-size={REPORT_LIMIT}"]
    command = boxed(root, folder, ["python3", "-B", "/usr/bin/diffoscope", *limits, *paths])
    done = proc.run(command, check=False, verbose=verbose)
    if done.returncode == TOO_LONG:
        return Told(note=f"diffoscope took longer than {SECONDS} s and was ended")
    if done.returncode != DIFFERENCE or not done.stdout.strip():  # 1 is also how a box ends that cannot be made
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["it saw no difference"]
        return Told(note=f"diffoscope ended with {done.returncode}: {last[0]}")
    text = done.stdout
    for path, instead in zip(paths, shown, strict=True):
        text = text.replace(path, instead)
    return Told(text=text)


def boxed(root: Path, folder: Path, argv: Sequence[str]) -> list[str]:
    """How to run a program of ``root`` on what ``folder`` holds, seen at :data:`INSIDE`, and on nothing else."""
    box = jail.Jail(root=root, binds=((folder, INSIDE),), tmpfs=("/tmp",), env=(LIBRARY,))  # noqa: S108
    limits = [str(SECONDS), str(MEMORY), str(NOBODY)]
    command = jail.command(box, ["python3", "-B", "-c", BOX, *limits, *argv])
    return proc.as_root(command, purpose="explaining two files by diffoscope")


def harmless_suffix(path: str) -> str:
    """The suffix of a file's name, by which diffoscope knows some formats; none where it could be anything but that.

    >>> harmless_suffix("a/b.json"), harmless_suffix("a.b/c"), harmless_suffix("x.$(reboot)"), harmless_suffix(".py")
    ('.json', '', '', '')
    """
    found = re.search(r"[^/](\.[A-Za-z0-9]{1,8})$", path)
    return found[1] if found else ""
