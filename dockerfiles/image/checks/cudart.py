"""The search for the loaded CUDA runtime: what a process may have mapped, and what must be found in it.

Shared by the behaviours of vLLM's own search and of FlashInfer's. A fake ``/proc/self/maps`` (proc_pid_maps(5)) and a
fake loader stand in for the process; what they hold was seen in real ones.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import io
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from .cases import Case, Wrong, fixes, keeps

VENV = "/opt/venv/lib/python3.13/site-packages"
REAL = f"{VENV}/nvidia/cu13/lib/libcudart.so.13"
STUBS = (f"{VENV}/tilelang/lib/libcudart_stub.so", f"{VENV}/tilelang/lib/libstub_cudart.so")  # 0.1.9, 0.1.12
# Forms that a loader gives the runtime's file, in any place.
FORMS = (
    REAL,
    "/usr/local/lib/python3.12/dist-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
    "/usr/local/cuda-13.0/targets/sbsa-linux/lib/libcudart.so.13.0.96",
    "/home/me/torch/lib/libcudart-d0da41ae.so.11.0",
    "/opt/my libraries/libcudart.so",
)
IN_A_FOLDER = "/opt/libcudart-13/lib/libother.so.1"
NOT_IN_STUB = "cudaDeviceReset"  # of what both searches bind, TileLang's stub lacks it

Find = Callable[[str], "str | None"]


def maps(*paths: str) -> str:
    """What the kernel shows of a process that has these files mapped, in the order of their addresses."""
    lines = [
        "5581e2a00000-5581e2a01000 r--p 00000000 fe:00 131 /usr/bin/python3.13",
        "5581e3c00000-5581e3d00000 [heap]",
    ]
    for number, path in enumerate(paths):
        start = 0x7F0000000000 + number * 0x200000
        lines += [
            f"{start:x}-{start + 0x1000:x} r--p 00000000 fe:00 {9000 + number}                   {path}",
            f"{start + 0x1000:x}-{start + 0x2000:x} r-xp 00001000 fe:00 {9000 + number}                   {path}",
            f"{start + 0x2000:x}-{start + 0x3000:x} rw-p 00000000 00:00 0 ",
        ]
    return "\n".join([*lines, "7ffd1e000000-7ffd1e021000 rw-p 00000000 00:00 0   [stack]\n"])


class Library:
    """A loaded library: every function is there, but one that a stub lacks."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __getattr__(self, name: str) -> Any:
        if name == NOT_IN_STUB and "stub" in self.path:
            raise AttributeError(f"{self.path}: undefined symbol: {name}")
        return types.SimpleNamespace(path=self.path)


@contextlib.contextmanager
def process(*paths: str) -> Iterator[None]:
    """Within it this process has these files mapped, and loads what it likes."""
    real_open = builtins.open

    def opened(file: Any, *arguments: Any, **named: Any) -> Any:
        return io.StringIO(maps(*paths)) if file == "/proc/self/maps" else real_open(file, *arguments, **named)

    with mock.patch.object(builtins, "open", opened), mock.patch.object(ctypes, "CDLL", Library):
        yield


def cases(find: Callable[[], Find], bound: Callable[[], str]) -> tuple[Case, ...]:
    """The cases of one search.

    ``find``: gives its function. ``bound``: makes what binds the runtime anew, in a fake process, and tells the file.
    """

    def found(*paths: str) -> str | None:
        with process(*paths):
            return find()("libcudart")

    def demand(wanted: str | None, *paths: str) -> None:
        answer = found(*paths)
        if answer != wanted:
            raise Wrong(f"of {', '.join(paths) or 'nothing'} it takes {answer}")

    @fixes
    def stubs_are_not_taken() -> str:
        for stub in STUBS:
            demand(REAL, stub, REAL)
            demand(REAL, REAL, stub)
        demand(REAL, *STUBS, IN_A_FOLDER, REAL)
        return "neither of TileLang's names, mapped below the runtime or above it"

    @fixes
    def the_name_of_a_folder_is_not_taken() -> str:
        demand(REAL, IN_A_FOLDER, REAL)
        demand(None, IN_A_FOLDER)
        return IN_A_FOLDER

    @fixes
    def a_stub_alone_is_not_taken() -> str:
        for stub in STUBS:
            demand(None, stub)
        return "without a runtime none is found"

    @fixes
    def the_runtime_is_bound() -> str:
        for order in ((STUBS[0], REAL), (REAL, STUBS[0])):
            with process(*order):
                path = bound()
            if path != REAL:
                raise Wrong(f"of {order} {path} is bound")
        return f"{REAL}, whichever comes first"

    @keeps
    def every_form_is_found() -> str:
        for path in FORMS:
            demand(path, "/usr/lib/libc.so.6", path)
        demand(None, "/usr/lib/libc.so.6")
        return f"{len(FORMS)} forms of the file, in any place"

    return (
        stubs_are_not_taken,
        the_name_of_a_folder_is_not_taken,
        a_stub_alone_is_not_taken,
        the_runtime_is_bound,
        every_form_is_found,
    )


def really_bound(make: Callable[[], Any], stubs: Sequence[str]) -> str:
    """With TileLang's real stub loaded beside torch's real runtime: the file that is bound in this very process."""
    for stub in stubs:
        ctypes.CDLL(stub)
    library = make()
    path = str(library.lib._name)  # noqa: SLF001 - ctypes has no other way to tell
    if "stub" in path.rsplit("/", 1)[-1]:
        raise Wrong(f"{path} is bound")
    getattr(library.lib, NOT_IN_STUB)
    return path
