"""Ask behaviours of source trees: ``python stage.py < jobs.json``, a line of JSON for each job as it ends.

Runs in an interpreter that has torch and NumPy, and imports nothing else of this package. A job names the trees (and
the patched files that count instead of theirs), the folder of the checks, and the behaviours to ask. The modules that
a behaviour declares ``REAL`` come from the trees; all others of those packages are stood in for, so that torch and
NumPy are all that vLLM needs here. What is patched is never stood in for: a test compares.

torch is imported once; each job runs in a fork of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import traceback
import types
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

LIMIT = 300  # seconds for a job
PR_SET_PDEATHSIG = 1  # prctl(2)
PRELOADED = ("torch", "numpy")
ABSENT = ("transformers", "regex", "psutil")  # what vLLM's modules import besides, stood in for where not installed


StandIns = Mapping[str, Callable[[], Mapping[str, Any]]]
"""Module → what makes its names."""


class _Loose(ABCMeta):
    """The type of a stub's classes: they have whatever attribute is asked for, and take type arguments."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return mock.MagicMock(name=f"{cls.__name__}.{name}")

    def __getitem__(cls, _: object) -> type:
        return cls


class Stub(types.ModuleType):
    """A module that has whatever is asked of it: a class for Names, a mock for names, and its real submodules."""

    real: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in self.real:
            return importlib.import_module(f"{self.__name__}.{name}")
        value: Any = _Loose(name, (), {}) if name[0].isupper() else mock.MagicMock(name=f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class Trees:
    """The job's source trees, and the patched files over them."""

    def __init__(self, components: Sequence[Mapping[str, Any]]) -> None:
        self.components = components

    def find(self, installed: str) -> list[Path]:
        """The files (or folders) that would be installed at a path, the patched one first."""
        found = []
        for component in self.components:
            for source, target in component["paths"]:
                if installed.startswith(target):
                    found += self._in(component, source + installed.removeprefix(target))
        return found

    def read(self, source: str) -> bytes | None:
        """A file of the repository, whether it is installed or not."""
        found = [path for component in self.components for path in self._in(component, source) if path.is_file()]
        return found[0].read_bytes() if found else None

    def packages(self) -> set[str]:
        """The top-level packages that the components install."""
        return {target.split("/")[0] for item in self.components for _, target in item["paths"]}

    @staticmethod
    def _in(component: Mapping[str, Any], source: str) -> list[Path]:
        if source in component["gone"]:
            return []
        places = [Path(root, source) for root in (component["overlay"], component["tree"]) if root]
        return [place for place in places if place.exists()]


class Stage(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the trees' packages: real modules as they are, folders as bare packages, all else as stubs."""

    def __init__(self, trees: Trees, real: frozenset[str], stand_ins: StandIns) -> None:
        self.trees, self.real, self.stand_ins = trees, real, stand_ins
        self.packages = trees.packages()

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".", maxsplit=1)[0] not in self.packages:
            return None
        place = fullname.replace(".", "/")
        if fullname in self.real:
            for name, folders in ((f"{place}.py", None), (f"{place}/__init__.py", [])):
                if files := self.trees.find(name):
                    return importlib.util.spec_from_file_location(
                        fullname, files[0], submodule_search_locations=folders
                    )
            return None  # what this version lacks must be lacking
        spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        spec.submodule_search_locations = [str(folder) for folder in self.trees.find(f"{place}/") if folder.is_dir()]
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        made = Stub(spec.name)
        made.real = self.real
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []  # the finders after this one would find there what a patch took away
        for name, value in self.stand_ins.get(module.__name__, dict)().items():
            setattr(module, name, value)


class Absentees(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for packages that are not installed here."""

    def __init__(self) -> None:
        self.lacking = {name for name in ABSENT if importlib.util.find_spec(name) is None}

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname.split(".", maxsplit=1)[0] in self.lacking:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def ask(job: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the job's behaviours, in this process: behaviour → its cases as ``checks.cases.run`` tells them."""
    checks = Path(job["checks"])
    sys.path.insert(0, str(checks.parent))
    cases = importlib.import_module(f"{checks.name}.cases")
    trees = Trees(job["components"])
    setattr(cases, "source", trees.read)  # noqa: B010 - where behaviours look for it
    sys.meta_path.append(Absentees())
    told = {}
    for behaviour in job["behaviours"]:
        with staged(trees, cases, behaviour):
            told[behaviour] = cases.run(behaviour)
    return told


class staged:  # noqa: N801 - a context manager
    """The stage of one behaviour; the next one gets its modules anew."""

    def __init__(self, trees: Trees, cases: types.ModuleType, behaviour: str) -> None:
        declared = cases.declared(behaviour)
        self.finder = Stage(trees, frozenset(declared.real), declared.stand_ins)

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self.finder)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self.finder)
        for name in [name for name in sys.modules if name.split(".")[0] in self.finder.packages]:
            del sys.modules[name]


def perform(jobs: Sequence[Mapping[str, Any]], at_once: int) -> Iterator[dict[str, Any]]:
    """Each job's result as it ends: its ``id`` with ``told``, or with the ``error`` that ended it."""
    waiting = list(reversed(jobs))
    running: dict[int, tuple[Mapping[str, Any], int]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.pop()
            pid, reader = _fork(job)
            running[pid] = (job, reader)
        pid, status = os.wait()
        job, reader = running.pop(pid)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
        if said:
            yield {"id": job["id"], **json.loads(said)}
        else:
            yield {"id": job["id"], "error": _ended(os.waitstatus_to_exitcode(status))}


def _ended(code: int) -> str:
    """How a process that gave no answer came to its end.

    >>> _ended(3), _ended(-11)
    ('its process ended with 3', 'its process ended by SIGSEGV')
    """
    if code >= 0:
        return f"its process ended with {code}"
    if code == -signal.SIGALRM:
        return f"it took more than {LIMIT} seconds"
    return f"its process ended by {signal.Signals(-code).name}"


def _end_with_parent() -> None:
    """Let the kernel end this process when the one that started it is no more."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _fork(job: Mapping[str, Any]) -> tuple[int, int]:
    """A child that does the job, and the file that its result can be read from once it ended."""
    writer = os.memfd_create("result")
    pid = os.fork()
    if pid:
        return pid, writer
    _end_with_parent()
    signal.alarm(LIMIT)
    os.dup2(2, 1)  # whatever the libraries print is no result
    try:
        result: dict[str, Any] = {"told": ask(job)}
    except BaseException:  # noqa: BLE001 - told to who asked, in the other process
        result = {"error": traceback.format_exc(limit=-8)}
    os.pwrite(writer, json.dumps(result).encode(), 0)
    os._exit(0)


def main() -> int:
    _end_with_parent()
    request = json.load(sys.stdin)
    for name in PRELOADED:
        with contextlib.suppress(ImportError):  # a behaviour that needs it says so
            importlib.import_module(name)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # a fork of a pool of threads has none
    for result in perform(request["jobs"], request["at_once"]):
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
