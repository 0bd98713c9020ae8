"""Compile Python sources, whose paths come on standard input, one a line: ``python3 -I -S -B bytecompile.py [FOLDER]``.

Writes bytecode where Python looks for it (PEP 3147), or with FOLDER as FOLDER/0.pyc, FOLDER/1.pyc, … by their order.
Python compares it with the source's hash at every import (PEP 552) and not with the source's time, which is the same
for all files of an image: bytecode of another version of a file is never run.

A program of its own, started with nothing else loaded. Whether marshal writes a string once or twice depends on what
else in the process holds it: a compiler that also had these modules' code in memory gave other bytes for 42 of 762
files. No code stays here, so that neither order nor number of processes makes a difference (5652 files: none).
"""

import importlib.util
import os
import py_compile
import sys
import warnings

MODE = py_compile.PycInvalidationMode.CHECKED_HASH


def compile_each(sources: "list[tuple[str, str]]") -> None:
    """Compile (source, bytecode) pairs. What does not compile is for another Python: importing it fails too."""
    warnings.simplefilter("ignore")  # of what other people's sources escape
    for source, made in sources:
        try:
            py_compile.compile(source, cfile=made, doraise=True, optimize=0, invalidation_mode=MODE)
        except (py_compile.PyCompileError, ValueError):
            continue


def main(folder: str) -> int:
    """A process for each core."""
    sources = sys.stdin.read().splitlines()
    if folder:
        made = [os.path.join(folder, f"{number}.pyc") for number in range(len(sources))]
    else:
        made = [importlib.util.cache_from_source(source, optimization="") for source in sources]
    pairs = [*zip(sources, made)]  # noqa: B905 - Python 3.9
    workers = os.cpu_count() or 1
    children = []
    for number in range(workers):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                compile_each(pairs[number::workers])
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    ended = [os.waitpid(child, 0)[1] for child in children]
    return 1 if any(ended) else 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(*sys.argv[1:] or [""]))
