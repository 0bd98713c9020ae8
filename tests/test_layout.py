"""The traps of a package called `build`, and what must agree across files."""

import argparse
import importlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import build
from build import proc
from build.__main__ import verbs
from build.errors import BuildError
from build.settings import add_common_arguments

REPO = Path(__file__).resolve().parent.parent
COMMAND = re.compile(r"^(?:    |\+ )?(\./nox .*)$", re.MULTILINE)


def session_names() -> list[str]:
    return re.findall(r"@nox\.session\ndef (\w+)", (REPO / "noxfile.py").read_text())


def test_build_is_ours():
    assert Path(build.__file__).is_relative_to(REPO)


def test_no_distribution_called_build_is_installed_or_locked():
    assert "build" not in {dist.name for dist in metadata.distributions()}
    assert not re.search(r"^build\b", (REPO / "lock/python.txt").read_text(), re.MULTILINE)


@pytest.mark.programs("git")
def test_git_does_not_ignore_the_package():
    if not (REPO / ".git").exists():
        pytest.skip("not a git clone")
    done = proc.run(["git", "check-ignore", "build/__init__.py"], cwd=REPO, check=False)
    assert done.returncode == 1, done.stdout or done.stderr


def test_the_repository_is_no_setuptools_project():
    settings = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert set(settings) == {"tool"}
    assert not (REPO / "setup.py").exists()
    assert not (REPO / "setup.cfg").exists()


def test_every_command_has_a_session():
    assert set(verbs()) <= set(session_names())


def test_every_session_has_its_line_in_the_readme():
    rows = re.findall(r"^\| `(\w+)` \|", (REPO / "README.md").read_text(), re.MULTILINE)
    assert [name for name in rows if name in session_names()] == session_names()


def test_ci_runs_the_commands_of_the_readme():
    readme = (REPO / "README.md").read_text()
    first_block = readme.split("```console\n", 1)[1].split("```", 1)[0]
    commands = re.findall(r"^\./nox [^#\n]*?(?=\s*(?:#|$))", first_block, re.MULTILINE)
    assert len(commands) == 2, "one for the main job, one for the tests"
    script = (REPO / ".ci/run").read_text()
    for command in commands:
        assert re.search(rf"^{re.escape(command)}$", script, re.MULTILINE), command


def test_the_readme_lists_every_exit_code():
    listed = re.findall(r"^\| (\d+) \| `(\w+)`", (REPO / "README.md").read_text(), re.MULTILINE)
    kinds, todo = {}, [BuildError]
    while todo:
        kind = todo.pop()
        kinds[kind.__name__] = kind.exit_code
        todo += kind.__subclasses__()
    del kinds["BuildError"]
    assert {name: int(code) for code, name in listed} == kinds


def test_every_locked_tool_has_hashes():
    text = (REPO / "lock/python.txt").read_text()
    for block in re.split(r"\n(?=[a-z])", text):
        if re.match(r"[a-z0-9-]+==", block):
            assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in text, "no index, no mirror, no path in a lock"


def test_every_option_in_the_readme_exists():
    parser = argparse.ArgumentParser(conflict_handler="resolve")
    add_common_arguments(parser)
    for verb in verbs():
        importlib.import_module(f"build.commands.{verb}").add_arguments(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    pages = [REPO / "README.md", *(REPO / "docs").glob("*.md")]
    text = re.sub(r"`buildx --output`", "", "".join(page.read_text() for page in pages))
    named = set(re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", text)) - {"--engine"}  # pytest's, by tests/conftest.py
    assert named - known == set()


def test_every_command_on_a_page_can_be_typed():
    typed = []
    for page in (REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").glob("*.md")):
        for name, options in re.findall(r"\./nox -s (\w+)(?: -- ([^#`\n]*))?", page.read_text()):
            assert name in (*session_names(), "NAME"), (page.name, name)
            if name in verbs():
                parser = argparse.ArgumentParser(conflict_handler="resolve")
                importlib.import_module(f"build.commands.{name}").add_arguments(parser)
                add_common_arguments(parser)
                unknown = set(re.findall(r"--[a-z][a-z-]+", options)) - set(parser._option_string_actions)
                assert unknown == set(), (page.name, name)
                typed.append(name)
    assert "lock" in typed
