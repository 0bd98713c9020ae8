"""Emulation: reading and writing binfmt_misc's own language."""

import os
import sys
from pathlib import Path

import pytest

from build import emulation
from build.errors import EmulationError

ENTRY = """\
{state}
interpreter /usr/bin/qemu-aarch64-static
flags: {flags}
offset 0
magic {magic}
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.fixture
def binfmt(tmp_path):
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("state", "flags", "magic", "serves"),
    [
        ("enabled", "OCF", emulation.MAGIC.hex(), True),
        ("enabled", "OC", emulation.MAGIC.hex(), False),
        ("enabled", "", emulation.MAGIC.hex(), False),
        ("disabled", "F", emulation.MAGIC.hex(), False),
        ("enabled", "F", "7f454c4602010100000000000000000002003e00", False),
    ],
)
def test_which_entries_serve(binfmt, state, flags, magic, serves):
    (binfmt / "something").write_text(ENTRY.format(state=state, flags=flags, magic=magic))
    assert emulation.registered(binfmt) is serves


@pytest.mark.parametrize(("said", "good"), [("version 7.2.15", False), ("version 10.0.2", True), ("?", False)])
def test_an_older_emulator_is_not_good_enough(binfmt, tmp_path, said, good):
    qemu = tmp_path / "python-qemu"
    qemu.write_text(f"#!{sys.executable}\nprint('qemu-aarch64 {said}')\n")
    qemu.chmod(0o755)
    entry = ENTRY.format(state="enabled", flags="F", magic=emulation.MAGIC.hex())
    (binfmt / "theirs").write_text(entry.replace("/usr/bin/qemu-aarch64-static", str(qemu)))
    assert emulation.registered(binfmt)
    assert emulation.good(binfmt) is good
    (binfmt / emulation.NAME).write_text(entry)
    assert emulation.good(binfmt)


def test_all_of_it_may_be_off_or_not_mounted(binfmt, tmp_path):
    (binfmt / "something").write_text(ENTRY.format(state="enabled", flags="F", magic=emulation.MAGIC.hex()))
    (binfmt / "status").write_text("disabled\n")
    assert not emulation.registered(binfmt)
    assert not emulation.registered(tmp_path / "none")


def test_the_line_is_what_the_kernel_reads():
    name, kind, offset, magic, mask, qemu, flags = emulation.line(Path("/store/qemu"))[1:].split(":")
    assert (name, kind, offset, qemu) == (emulation.NAME, "M", "", "/store/qemu")
    assert "F" in flags
    assert bytes.fromhex(magic.replace("\\x", "")) == emulation.MAGIC
    assert len(emulation.MAGIC) == len(emulation.MASK) == 20
    assert bytes.fromhex(mask.replace("\\x", "")) == emulation.MASK
    assert len(emulation.line(Path("/s" * 100))) < 1920  # the kernel's limit for a registration


def test_the_error_says_what_to_run():
    error = emulation._failed(Path("/store/qemu"), "no right")
    assert "mount -t binfmt_misc" in error.todo
    assert "/store/qemu" in error.todo
    assert error.exit_code == 41


def test_without_root_and_sudo_the_commands_are_named(tmp_path, monkeypatch):
    (tmp_path / "tools/usr/bin").mkdir(parents=True)
    (tmp_path / "tools" / emulation.QEMU).write_text("qemu")
    monkeypatch.setattr(emulation, "needed", lambda: True)
    monkeypatch.setattr(emulation, "registered", lambda: False)
    monkeypatch.setattr(emulation, "good", lambda: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulationError) as caught:
        emulation.ensure(tmp_path / "store", tmp_path / "tools")
    assert "there is no sudo" in caught.value.why
    assert str(tmp_path / "store/emulation/qemu-aarch64") in caught.value.todo


def test_an_arm64_machine_needs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(emulation, "needed", lambda: False)
    assert emulation.ensure(tmp_path, tmp_path) is False
    assert not list(tmp_path.iterdir())
