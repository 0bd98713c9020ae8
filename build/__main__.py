"""``python -m build <verb>``: dispatch to the verb's story; turn an error into a message and an exit code."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from build.determinism import UMASK
from build.errors import BuildError, SpaceError, StoreError
from build.settings import add_common_arguments, settings_from

UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO)
COMMANDS = Path(__file__).parent / "commands"


def verbs() -> list[str]:
    return sorted(path.stem for path in COMMANDS.glob("*.py") if path.stem != "__init__")


def main(argv: Sequence[str]) -> int:
    """Run one verb; the exit status of the process."""
    known = verbs()
    if not argv or argv[0] not in known:
        print(f"usage: python -m build {{{','.join(known)}}} [options]", file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    return explain(lambda: tell(argv[0], argv[1:]))


def tell(verb: str, rest: Sequence[str]) -> int:
    """Import a verb's story, parse its arguments, run it."""
    command = importlib.import_module(f"build.commands.{verb}")
    parser = argparse.ArgumentParser(prog=f"nox -s {verb} --", description=command.__doc__)
    command.add_arguments(parser)
    add_common_arguments(parser)
    args = parser.parse_args(rest)
    return int(command.run(args, settings_from(args)))


def explain(story: Callable[[], int]) -> int:
    """Run a story; an error, Ctrl-C and a full disk become a message on standard error and an exit code."""
    try:
        status = int(story())
        sys.stdout.flush()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept, nothing half-written counts", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno in UNUSABLE:
            unusable = StoreError(
                "a file or folder cannot be used",
                why=str(error),
                todo="look at its owner and rights; the store may be elsewhere (--store DIR)",
            )
            print(f"error: {unusable}", file=sys.stderr)
            return unusable.exit_code
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        full = SpaceError(
            "the disk is full",
            why=str(error),
            todo="free some space (nox -s clean says what it can drop) and run the same command again",
        )
        print(f"error: {full}", file=sys.stderr)
        return full.exit_code
    else:
        return status


def terminated(*_: object) -> None:
    """SIGTERM ends a story as Ctrl-C does: with what it started cleared up."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminated)
    os.umask(UMASK)  # what we write is the same on every machine
    sys.exit(main(sys.argv[1:]))
