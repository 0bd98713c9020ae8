"""Foreign steps on a machine that is not arm64: QEMU's user emulation, registered in the kernel's binfmt_misc.

With the flag F the kernel opens the emulator when it is registered, so that it works in any root and container
with nothing of QEMU in it (Documentation/admin-guide/binfmt-misc.rst).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from pathlib import Path

from build import proc
from build import store as stores
from build.console import say, warn
from build.errors import BuildError, EmulationError

BINFMT = Path("/proc/sys/fs/binfmt_misc")
NAME = "spark-runtime-aarch64"
QEMU = Path("usr/bin/qemu-aarch64")
# An ELF header: 64 bit, little endian, any ABI, executable or shared object, machine 183 (AArch64).
MAGIC = bytes.fromhex("7f454c460201010000000000000000000200b700")
MASK = bytes.fromhex("ffffffffffffff00fffffffffffffffffeffffff")
NEEDED_QEMU = (10, 0)  # 7.2 (Debian 12) crashes on `import torch` 2.13; 10.0 is the tools root's
FLAGS = "FP"  # F: see above; P: the program sees the argv[0] that it was called with


def needed() -> bool:
    """Whether this machine must emulate arm64."""
    return platform.machine() not in ("aarch64", "arm64")


def registered(binfmt: Path = BINFMT) -> bool:
    """Whether the kernel knows an arm64 emulator that works in any root."""
    try:
        entries = [path for path in binfmt.iterdir() if path.name not in ("register", "status")]
        return _on(binfmt) and any(_serves(path.read_text(encoding="utf-8", errors="replace")) for path in entries)
    except OSError:
        return False


def good(binfmt: Path = BINFMT) -> bool:
    """Whether the emulator that the kernel would take is ours, or one of a version known to run our images.

    The kernel takes the entry that was registered last; its order is not told, so every entry must be good.
    """
    try:
        found = [path for path in binfmt.iterdir() if path.name != "register"]
        entries = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in found}
    except OSError:
        return False
    serving = {name: text for name, text in entries.items() if _serves(text)}
    return NAME in serving or (bool(serving) and all(_version(text) >= NEEDED_QEMU for text in serving.values()))


def _version(entry: str) -> tuple[int, ...]:
    """The version of the QEMU that an entry names; nothing where it does not say."""
    fields = dict(text.partition(" ")[::2] for text in entry.splitlines())
    try:
        said = proc.run([fields.get("interpreter", ""), "--version"], timeout=10).stdout
    except BuildError:
        return ()
    found = re.search(r"version (\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else ()


def ensure(store: Path, tools: Path) -> bool:
    """Register the tools root's QEMU if arm64 code cannot run here, or only by an older one; whether we emulate.

    The emulator is copied into the store first, a place that stays. Needs root or sudo if there is anything to do;
    raises :class:`EmulationError` that says what to run by hand.
    """
    if not needed():
        return False
    if good():
        return True
    with stores.locked(store, "emulation"):
        if good():
            return True
        qemu = _copy(store, tools)
        say("this machine is not arm64: registering QEMU's user emulation, for the few steps that run arm64 programs")
        try:
            _register(qemu)
        except BuildError as error:
            if not registered():
                raise _failed(qemu, f"{error.what}: {error.why}") from error
            warn("an older emulator is registered and ours could not be: images may fail to run (torch needs QEMU 10)")
    if not registered():
        raise _failed(qemu, "the kernel took the registration, but does not list it")
    return True


def line(qemu: Path) -> str:
    """What is written to binfmt_misc's ``register`` file."""
    magic, mask = ("".join(f"\\x{byte:02x}" for byte in data) for data in (MAGIC, MASK))
    return f":{NAME}:M::{magic}:{mask}:{qemu}:{FLAGS}"


def _copy(store: Path, tools: Path) -> Path:
    target = store / "emulation" / QEMU.name
    if not target.exists():
        with stores.scratch(store, "qemu") as folder:
            partial = folder / QEMU.name
            shutil.copyfile(tools / QEMU, partial)
            partial.chmod(0o755)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial, target)
    return target


def _register(qemu: Path) -> None:
    purpose = "registering the arm64 emulator"
    if not (BINFMT / "register").exists():
        proc.run(proc.as_root(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], purpose=purpose))
    if (BINFMT / NAME).exists():  # ours, but disabled or of no use: anew
        proc.run(proc.as_root(["tee", str(BINFMT / NAME)], purpose=purpose), stdin="-1")
    proc.run(proc.as_root(["tee", str(BINFMT / "register")], purpose=purpose), stdin=line(qemu))


def _on(binfmt: Path) -> bool:
    return (binfmt / "status").read_text(encoding="ascii").strip() == "enabled"


def _serves(entry: str) -> bool:
    """Whether an entry's text is of an enabled arm64 emulator with the flag F."""
    lines = entry.splitlines()
    fields = dict(text.partition(" ")[::2] for text in lines)
    flags = next((text.partition(":")[2] for text in lines if text.startswith("flags:")), "")
    return bool(lines) and lines[0] == "enabled" and fields.get("magic") == MAGIC.hex() and "F" in flags


def _failed(qemu: Path, why: str) -> EmulationError:
    return EmulationError(
        "arm64 programs cannot run on this machine",
        why=why,
        todo="run as root, on the machine itself rather than in a container:\n"
        f"         mountpoint -q {BINFMT} || mount -t binfmt_misc binfmt_misc {BINFMT}\n"
        f"         printf '%s' {proc.quote([line(qemu)])} > {BINFMT}/register\n"
        "       or install a QEMU that registers itself with the flag F (Debian, Ubuntu: "
        "apt-get install qemu-user-static); then run the same command again",
    )
