"""What a CMake project would fetch while it configures: every FetchContent name in its files, with where and what.

A build of ours fetches nothing: each name has to be a locked source before, so a name that nobody accounted for stops
the lock. The files are read, not run. That sees every branch of every condition, also those of other GPUs, and knows
a value only where the same file sets it plainly; what is open stays as it is written.

The syntax is cmake-language(7): command invocations with quoted, bracket and unquoted arguments, comments of both
kinds. FetchContent's own arguments are those of ExternalProject (cmake-modules(7)).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

DECLARING = ("fetchcontent_declare", "fetchcontent_populate")
FETCHING = ("externalproject_add",)  # these fetch while the project is built
UNCHANGED: Mapping[str, bytes | None] = MappingProxyType({})
PLACES = ("GIT_REPOSITORY", "URL", "SVN_REPOSITORY", "HG_REPOSITORY", "CVS_REPOSITORY")

_SPACE = re.compile(r"[ \t\r\n]+")
_BRACKET = re.compile(r"\[(=*)\[(.*?)\]\1\]", re.DOTALL)
_COMMENT = re.compile(r"#(?!\[=*\[)[^\n]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_UNQUOTED = re.compile(r'(?:[^\s()#"\\]|\\.|"(?:[^"\\]|\\.)*")+')
_KEYWORD = re.compile(r"[A-Z][A-Z_]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_./+-]+)\}")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One invocation: its name in lower case, its arguments as written, the line that it starts at."""

    name: str
    arguments: tuple[str, ...]
    line: int


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A source that would be fetched: its name (lower case, as FetchContent compares them), where from, what of it.

    ``tag``: a commit, tag or hash, empty where none is said. ``submodules``: those asked for; None is all of them.
    ``file`` and ``line``: where it is written. A ``${…}`` in them could not be told.
    """

    name: str
    url: str
    tag: str
    submodules: tuple[str, ...] | None
    file: str
    line: int


class CMakeSyntaxError(ValueError):
    """A file that is not CMake's language; the text says where."""


def declared(root: Path, changed: Mapping[str, bytes | None] = UNCHANGED) -> tuple[Declared, ...]:
    """Every source that a project's own files declare with a place to fetch it from, by name, file and line.

    ``changed``: files by path whose content counts instead of the folder's (None: as if it were not there). A
    declaration that only names a folder is of no interest: it is the override that somebody may set.
    """
    texts = {path.relative_to(root).as_posix(): path.read_bytes() for path in _files(root)}
    texts |= {path: data or b"" for path, data in changed.items() if _is_cmake(path)}
    found = [item for name, data in texts.items() for item in _of_file(data, name)]
    return tuple(sorted(found, key=lambda item: (item.name, item.file, item.line)))


def _files(root: Path) -> Iterator[Path]:
    yield from (path for path in sorted(root.rglob("CMakeLists.txt")) if path.is_file())
    yield from (path for path in sorted(root.rglob("*.cmake")) if path.is_file())


def _is_cmake(path: str) -> bool:
    return path.endswith(".cmake") or path.rsplit("/", 1)[-1] == "CMakeLists.txt"


def _of_file(data: bytes, name: str) -> Iterator[Declared]:
    try:
        invocations = commands(data.decode("utf-8", errors="surrogateescape"))
    except CMakeSyntaxError as fault:
        raise CMakeSyntaxError(f"{name}: {fault}") from fault
    known: dict[str, str] = {}
    for command in invocations:
        if command.name == "set" and len(command.arguments) > 1 and "PARENT_SCOPE" not in command.arguments:
            known[command.arguments[0]] = _expand(command.arguments[1], known)
        words = [_expand(word, known) for word in command.arguments]
        if told := _otherwise(command.name, words):
            yield Declared(name=told, url=" ".join(words[:6]), tag="", submodules=None, file=name, line=command.line)
        if command.name in (*DECLARING, *FETCHING) and command.arguments and (url := _value(words, PLACES)):
            yield Declared(
                name=words[0].lower(),
                url=url,
                tag=_value(words, ("GIT_TAG", "URL_HASH", "SVN_REVISION", "HG_TAG", "CVS_TAG")),
                submodules=_submodules(words),
                file=name,
                line=command.line,
            )


def _otherwise(command: str, words: Sequence[str]) -> str:
    """A name for what fetches by other means, or says its place in a way that cannot be read; empty for all else."""
    if command == "file" and words and words[0] in ("DOWNLOAD", "UPLOAD"):
        return f"file-{words[0].lower()}"
    if command == "execute_process":
        for argv in _commands(words):
            program = argv[0].rsplit("/", 1)[-1].lower().replace("${git_executable}", "git")
            fetches = {"clone", "fetch", "pull", "submodule", "update"} & set(argv)
            if program in ("curl", "wget") or (program == "git" and fetches):
                return f"execute-{program}"
    if command == "fetchcontent_declare" and "SOURCE_DIR" not in words and not _value(words, PLACES):
        return words[0].lower() if words else "fetchcontent"
    return ""


def _commands(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """The programs of an execute_process, each with its arguments: from COMMAND to the next keyword."""
    starts = [number + 1 for number, word in enumerate(words[:-1]) if word == "COMMAND"]
    for start in starts:
        end = next((at for at in range(start + 1, len(words)) if _KEYWORD.fullmatch(words[at])), len(words))
        yield words[start:end]


def _value(words: Sequence[str], keywords: Sequence[str]) -> str:
    return next((words[at + 1] for at, word in enumerate(words[:-1]) if word in keywords), "")


def _submodules(words: Sequence[str]) -> tuple[str, ...] | None:
    """What follows GIT_SUBMODULES until the next keyword; an empty list is none of them (policy CMP0097)."""
    if "GIT_SUBMODULES" not in words:
        return None
    found = []
    for word in words[words.index("GIT_SUBMODULES") + 1 :]:
        if word.isupper():
            break
        found.append(word)
    return tuple(word for word in found if word)


def _expand(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: known.get(found[1], found[0]), text)


def commands(text: str) -> tuple[Command, ...]:
    """The command invocations of a file. Raises :class:`CMakeSyntaxError` for what is not the language."""
    found: list[Command] = []
    at = _skip(text, 0)
    while at < len(text):
        start = at
        name = _NAME.match(text, at)
        at = _skip(text, name.end()) if name else at
        if name is None or at >= len(text) or text[at] != "(":
            raise _fault(text, start, "a command was expected")
        arguments, at = _arguments(text, at + 1)
        found.append(Command(name=name[0].lower(), arguments=tuple(arguments), line=text.count("\n", 0, start) + 1))
        at = _skip(text, at)
    return tuple(found)


def _arguments(text: str, at: int) -> tuple[list[str], int]:
    """The arguments up to the closing parenthesis; parentheses inside are arguments too."""
    start, depth, found = at, 1, []
    while depth:
        at = _skip(text, at)
        if at >= len(text):
            raise _fault(text, start, "a parenthesis is not closed")
        if text[at] in "()":
            depth += 1 if text[at] == "(" else -1
            if depth:
                found.append(text[at])
            at += 1
        elif match := _BRACKET.match(text, at):
            found.append(match[2].removeprefix("\n"))
            at = match.end()
        elif match := _QUOTED.match(text, at):
            found.append(re.sub(r"\\\n", "", match[1]))
            at = match.end()
        elif match := _UNQUOTED.match(text, at):
            found.append(match[0])
            at = match.end()
        else:
            raise _fault(text, at, "an argument was expected")
    return found, at


def _skip(text: str, at: int) -> int:
    """Past white space and comments."""
    while at < len(text):
        if (match := _SPACE.match(text, at) or _COMMENT.match(text, at)) or (
            text[at] == "#" and (match := _BRACKET.match(text, at + 1))
        ):
            at = match.end()
        else:
            break
    return at


def _fault(text: str, at: int, why: str) -> CMakeSyntaxError:
    line = text.count("\n", 0, at) + 1
    return CMakeSyntaxError(f"line {line}: {why}: {text[at : at + 40].splitlines()[:1]}")
