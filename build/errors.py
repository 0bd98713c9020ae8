"""Every failure that a user can meet: what failed, why, what to do next; one exit code per kind.

Modules raise; only ``build.__main__`` turns an error into a message and an exit code. Exit code 1 is left to
defects of this project (a traceback), 2 to the command line, 130 to Ctrl-C.
"""

from __future__ import annotations

from typing import ClassVar


class BuildError(Exception):
    """The root. ``what`` failed, ``why`` in facts, ``todo`` as the next step of the person who reads it."""

    exit_code: ClassVar[int] = 10

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = todo

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.todo:
            lines.append(f"  do:  {self.todo}")
        return "\n".join(lines)


class UsageError(BuildError):
    """An argument that cannot be meant."""

    exit_code = 2


class UnknownTargetError(BuildError):
    """A target that ``lock/targets.toml`` does not name."""

    exit_code = 11


class IntentError(BuildError):
    """``lock/targets.toml`` has faults; all are listed with their place."""

    exit_code = 12


class LockError(BuildError):
    """A lock that is missing, stale, edited by hand or written by a newer version."""

    exit_code = 13


class NewerLockError(LockError):
    """A lock that a newer version of this tool wrote: it is not ours to write over."""

    exit_code = 15


class MovedTagError(LockError):
    """A tag points to another commit than the one that was locked."""

    exit_code = 16


class UnresolvedError(LockError):
    """The lock leaves open what this needs: it was made where a remote could not be reached."""

    exit_code = 17


class InconsistentLockError(LockError):
    """Fresh locks that contradict themselves, each other, or what uses them; all findings are listed."""

    exit_code = 18


class ResolveError(BuildError):
    """The resolver (uv or apt) found no solution, or an index does not have what is asked for."""

    exit_code = 14


class HashMismatchError(BuildError):
    """Bytes that are not what their hash says; a bad file of the store is gone by the time this is raised."""

    exit_code = 20


class NetworkError(BuildError):
    """A file could not be had from any place; what came so far is kept for the next run."""

    exit_code = 21


class GoneError(NetworkError):
    """A locked Debian package that no mirror has any more: the archive moved on."""

    exit_code = 23


class GoneCommitError(NetworkError):
    """A locked commit that its remotes do not have (any more)."""

    exit_code = 24


class OfflineError(BuildError):
    """``--offline`` was asked for and something is not in the store."""

    exit_code = 22


class PatchError(BuildError):
    """A patch does not apply exactly, is not listed, is missing; the tree was left clean."""

    exit_code = 30


class AlreadyAppliedError(PatchError):
    """A patch's change is already in the tree: upstream may have it, or it was applied before."""

    exit_code = 33


class RebaseError(BuildError):
    """A series does not carry over to another tree: patches that clash, or that fit and do not do what they are for."""

    exit_code = 34


class BehaviourError(BuildError):
    """A patched tree does not do what its patches are for."""

    exit_code = 35


class CompiledCodeError(BuildError):
    """A patch touches compiled code in the wheel lane."""

    exit_code = 31


class OverlapError(BuildError):
    """Two wheels write the same path with different content and the target declares no winner."""

    exit_code = 32


class EngineError(BuildError):
    """No engine that can do the work, and no right to start one; or it failed to start."""

    exit_code = 40


class EmulationError(BuildError):
    """Foreign code must run and the kernel has no emulation registered for it."""

    exit_code = 41


class SpaceError(BuildError):
    """Not enough disk: said before the work where it can be known, or met in the middle of it."""

    exit_code = 42


class StoreError(BuildError):
    """A file or folder that we may not read or write, or a disk that fails."""

    exit_code = 44


class BusyError(BuildError):
    """Another run holds the store's lock and did not end in time."""

    exit_code = 43


class CommandError(BuildError):
    """A program that we run failed; the message holds the command to replay and its last lines."""

    exit_code = 50

    def __init__(self, what: str, *, why: str = "", todo: str = "", returncode: int = 0, output: str = "") -> None:
        super().__init__(what, why=why, todo=todo)
        self.returncode = returncode
        self.output = output


class ImageBuildError(BuildError):
    """BuildKit failed on a step of the rendered Dockerfile."""

    exit_code = 51


class CompileError(ImageBuildError):
    """A file of the source lane does not compile, or CMake cannot configure the project."""

    exit_code = 55


class MemoryShortError(BuildError):
    """There is not enough memory to compile, or the kernel ended compilers for lack of it."""

    exit_code = 45


class ReproduceError(BuildError):
    """A build did not give the image that was recorded of the same inputs; or nothing was recorded of them."""

    exit_code = 52


class DifferentError(BuildError):
    """`diff`: the two images are not the same; what differs was told."""

    exit_code = 53


class PatternError(BuildError):
    """A target's patterns name what no wheel brings, or leave out what is patched, needed or behind a program."""

    exit_code = 54


class SmokeError(BuildError):
    """The image runs but a check of it failed (or was skipped under ``--require-gpu``)."""

    exit_code = 60


class ImageNotFoundError(BuildError):
    """No image of that reference, here or in its registry."""

    exit_code = 61


class PublishError(BuildError):
    """`push` refuses: no green smoke report for this very image, a dirty checkout, a target that is not for use."""

    exit_code = 62


class RegistryError(BuildError):
    """A registry that fails, or answers what it must not: server errors, other bytes than were pushed.

    ``status``: of HTTP, where it is the registry that fails, and nothing is said of what was asked for; else 0.
    """

    exit_code = 63

    def __init__(self, what: str, *, why: str = "", todo: str = "", status: int = 0) -> None:
        super().__init__(what, why=why, todo=todo)
        self.status = status


class DeniedError(BuildError):
    """A registry that does not let us in, or not do this: a wrong password, an expired token, no permission."""

    exit_code = 64


class TagError(BuildError):
    """A tag that is never moved stands for another digest already."""

    exit_code = 65


class VerifyError(BuildError):
    """A published image is not what is said of it; every finding is listed."""

    exit_code = 66


class SigningError(BuildError):
    """Nothing to sign with, or the signer failed."""

    exit_code = 67


class ProfileError(BuildError):
    """A serving profile with faults (all are listed), or one that is not for the image it was asked of."""

    exit_code = 70


class ModelError(BuildError):
    """A model that is not the profile's: another revision, expert count, table or kind; or files that are damaged."""

    exit_code = 71


class ServeError(BuildError):
    """A server that cannot be started here, never becomes ready, or ended by itself."""

    exit_code = 72


class ValidationError(BuildError):
    """A server that did not pass the validation suite; the report says in what."""

    exit_code = 73
