"""Whether this image's vLLM knows the options of a command: it is asked (``ask.py``), and the answer kept in a volume.

It is kept by the image's chain id, so that another image asks anew; a command that was accepted is remembered too.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from . import exits, processes
from .compose import Option
from .exits import Fault

FORM = 1  # of what is kept
LIMIT = 600.0  # seconds for the answer; 10 on a GB10, minutes under emulation
SAID = 12  # lines of what it printed, where it fails
REMEMBERED = 50  # commands


def ask(python: str, arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """The answer of ``ask.py``. Raises :class:`Fault` where there is none; ends with the signal that ends us."""
    answer, said = os.memfd_create("answer"), os.memfd_create("said")
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ask.py")
    command = [python, "-I", program, "/dev/fd/3", *arguments]
    try:
        pid = processes.start(python, command, environment, {3: answer, 1: said, 2: said})
    except OSError as error:
        raise _unasked(f"{python}: {error.strerror}", "") from error
    status = _end_of(pid)
    text = _all(said).decode(errors="replace")
    if status != 0:
        raise _unasked(f"it ended with {status}", text)
    try:
        told: dict[str, Any] = json.loads(_all(answer))
    except ValueError as error:
        raise _unasked(str(error), text) from error
    finally:
        os.close(answer)
        os.close(said)
    return told


def _end_of(pid: int) -> int:
    """The exit code of the asking process; a signal that asks for our end is its end, and ours."""
    deadline = time.monotonic() + LIMIT
    while True:
        number = processes.wait(min(1.0, max(0.0, deadline - time.monotonic())))
        ended = processes.reap()
        if pid in ended:
            return ended[pid]
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            processes.bury(pid, gently=0.0, hard=5.0)
            raise Fault(exits.SIGNALLED + number, "told to end before the server was started")
        if time.monotonic() >= deadline:
            processes.bury(pid, gently=0.0, hard=5.0)
            raise _unasked(f"no answer within {LIMIT:.0f} s", "")


def _all(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as stream:
        return stream.read()


def _unasked(why: str, said: str) -> Fault:
    return Fault(
        exits.NO_VLLM, f"this image's vLLM cannot be asked for its options: {why}", said.strip().splitlines()[-SAID:]
    )


def unknown(words: Sequence[str], known: Collection[str]) -> list[str]:
    """The options among these words that vLLM has not; it reads ``--a_b``, ``--a=1`` and ``--a.b 1`` too."""
    found = []
    for word in words:
        name = word.partition("=")[0].partition(".")[0].replace("_", "-")
        if word.startswith("--") and len(word) > 2 and name not in known:
            found.append(name)
    return found


def fitting(
    wanted: Sequence[Option], optional: Collection[str], known: Collection[str]
) -> tuple[list[Option], list[str]]:
    """The options that vLLM knows, and those left out because a profile can do without. Raises :class:`Fault`."""
    lacking = unknown([option.name for option in wanted], known)
    demand([name for name in lacking if name not in optional], known)
    return [option for option in wanted if option.name not in lacking], [name for name in lacking if name in optional]


def demand(lacking: Sequence[str], known: Collection[str]) -> None:
    """Raise :class:`Fault` naming each of these options, with what vLLM has instead."""
    if not lacking:
        return
    faults = []
    for name in lacking:
        near = difflib.get_close_matches(name, known, n=1)
        faults.append(f"{name}" + (f" (it has {near[0]})" if near else ""))
    raise Fault(
        exits.OPTIONS, "this image's vLLM does not know every option", faults,
        "take an image that the profile is for, or name them in the profile's serve.optional if it can do without",
    )  # fmt: skip


class Kept:
    """What is remembered of one image in a folder; nothing at all where that is not to be had."""

    def __init__(self, folder: str, manifest: str) -> None:
        self.path = ""
        self.told: dict[str, Any] = {}
        try:
            with open(manifest, "rb") as stream:
                chain = str(json.load(stream)["chain_id"])
        except (OSError, ValueError, KeyError):
            return
        if not chain.isalnum() or not os.access(folder, os.W_OK | os.X_OK):
            return
        self.path = os.path.join(folder, "spark-serve", f"{chain}.json")
        try:
            with open(self.path, "rb") as stream:
                told = json.load(stream)
        except (OSError, ValueError):
            return
        if isinstance(told, dict) and told.get("form") == FORM and told.get("options"):
            self.told = told

    def accepted(self, arguments: Sequence[str]) -> bool:
        """Whether vLLM took this very command line before."""
        return _digest(arguments) in self.told.get("accepted", [])

    def keep(self, told: Mapping[str, Any], arguments: Sequence[str]) -> None:
        """Remember an answer, and a command line that was taken."""
        before = [*self.told.get("accepted", []), _digest(arguments)]
        self.told = {**told, "form": FORM, "accepted": before[-REMEMBERED:]}
        if not self.path:
            return
        partial = f"{self.path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(partial, "w", encoding="utf-8") as stream:
                json.dump(self.told, stream)
            os.replace(partial, self.path)
        except OSError:
            pass  # the next start asks again


def _digest(arguments: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(arguments).encode(errors="surrogateescape")).hexdigest()
