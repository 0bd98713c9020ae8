"""build/behaviours.py and build/stage.py: what trees do, asked in processes of their own; real where it matters."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from build import behaviours, torchenv
from build.behaviours import ABSENT, FAILED, PASSED, Answer, CaseResult, Question, Staged, staged
from build.errors import BehaviourError
from build.models import Settings
from build.settings import REPO

PATHS = (("src/pkg/", "pkg/"),)
CASES = """
from __future__ import annotations
import importlib
from ..cases import Absent, Wrong, fixes, keeps, source

REAL = ("pkg.mod", "pkg.new", "pkg.deep.inner")
STAND_INS = {"pkg.settings": lambda: {"LEVEL": 3}}


@fixes
def value():
    found = importlib.import_module("pkg.mod").value()
    if found != 2:
        raise Wrong(f"it is {found}")
    return "2"


@keeps
def stubs():
    other = importlib.import_module("pkg.other")
    settings = importlib.import_module("pkg.settings")
    assert settings.LEVEL == 3
    class Derived(other.Base[int]):
        pass
    assert Derived.ANYTHING is not None
    other.anything(1).goes()
    return "what is not real has whatever is asked of it"


@keeps
def lacking():
    try:
        importlib.import_module("pkg.new")
    except ModuleNotFoundError:
        raise Absent("this version has no pkg.new") from None
    return "new"


@keeps
def repository():
    text = source("requirements.txt")
    return "none" if text is None else text.decode().strip()


CASES = (value, stubs, lacking, repository)
"""
TREE = {
    "src/pkg/__init__.py": "raise RuntimeError('a package is bare: its own code is not run')\n",
    "src/pkg/mod.py": "from pkg.deep import inner\nfrom pkg.other import thing\n\n\ndef value():\n    return inner.ONE\n",
    "src/pkg/other.py": "raise RuntimeError('stood in for')\n",
    "src/pkg/deep/__init__.py": "raise RuntimeError('bare')\n",
    "src/pkg/deep/inner.py": "ONE = 1\n",
    "requirements.txt": "a==1\n",
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A repository with one behaviour, and a tree that it is asked of."""
    monkeypatch.setattr(torchenv, "ensure", lambda _: Path(sys.executable))
    checks = tmp_path / "repo/dockerfiles/image/checks"
    (checks / "behaviours").mkdir(parents=True)
    (tmp_path / "repo/build").mkdir()
    for name in ("__init__.py", "cases.py"):
        (checks / name).write_text((REPO / behaviours.CHECKS / name).read_text())
    (tmp_path / "repo/build/stage.py").write_text((REPO / behaviours.STAGE).read_text())
    (checks / "behaviours/__init__.py").write_text("")
    (checks / "behaviours/one.py").write_text(CASES)
    for name, text in TREE.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    return tmp_path


def ask(world, *components, names=("one",), count=1):
    settings = Settings(repo=world / "repo", store=world / "store")
    questions = [Question(id=f"q{n}", components=components, behaviours=names) for n in range(count)]
    return behaviours.ask(settings, questions)


def statuses(answer):
    return {case.name: case.status for case in answer.cases}


def test_a_tree_as_it_is(world):
    answer = ask(world, Staged(tree=world / "tree", paths=PATHS))["q0"]["one"]
    assert statuses(answer) == {"value": FAILED, "stubs": PASSED, "lacking": ABSENT, "repository": PASSED}
    assert answer.failed[0].evidence == "Wrong: it is 1"
    assert [case.evidence for case in answer.cases][3] == "a==1"
    assert not answer.holds
    assert behaviours.shortly(answer) == "2/3"


def test_patched_files_count_instead(world):
    changed = {
        "src/pkg/deep/inner.py": b"ONE = 2\n",
        "src/pkg/new.py": b"",
        "requirements.txt": b"a==2\n",
    }
    component = staged(world / "tree", PATHS, changed, world / "overlay")
    answer = ask(world, component)["q0"]["one"]
    assert set(statuses(answer).values()) == {PASSED}
    assert [case.evidence for case in answer.cases][3] == "a==2"
    assert answer.holds


def test_a_file_that_is_gone_is_lacking(world):
    component = staged(world / "tree", PATHS, {"src/pkg/deep/inner.py": None, "requirements.txt": None}, world / "o")
    answer = ask(world, component)["q0"]["one"]
    assert "pkg.deep.inner" in answer.failed[0].evidence
    assert [case.evidence for case in answer.cases][3] == "none"


def test_many_at_once_and_two_in_one_process(world):
    source = (world / "repo/dockerfiles/image/checks/behaviours/one.py").read_text()
    (world / "repo/dockerfiles/image/checks/behaviours/other_one.py").write_text(source)
    component = staged(world / "tree", PATHS, {"src/pkg/deep/inner.py": b"ONE = 2\n"}, world / "overlay")
    answers = ask(world, component, names=("one", "other-one"), count=5)
    assert set(answers) == {f"q{n}" for n in range(5)}
    assert all(answer.holds for told in answers.values() for answer in told.values())


def test_what_a_library_prints_is_no_answer(world):
    component = staged(
        world / "tree", PATHS, {"src/pkg/deep/inner.py": b"print('{\"id\": 1}')\nONE = 2\n"}, world / "overlay"
    )
    assert ask(world, component)["q0"]["one"].holds


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("import os; os._exit(3)", "its process ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended by SIGKILL"),
    ],
)
def test_a_tree_that_kills_the_process_is_told(world, end, said):
    component = staged(world / "tree", PATHS, {"src/pkg/deep/inner.py": end.encode()}, world / "overlay")
    with pytest.raises(BehaviourError, match="nothing could be asked of q0") as caught:
        ask(world, component)
    assert said in caught.value.why


def test_a_tree_that_exits_is_an_answer(world):
    component = staged(world / "tree", PATHS, {"src/pkg/deep/inner.py": b"raise SystemExit(3)"}, world / "overlay")
    case = ask(world, component)["q0"]["one"].cases[0]
    assert (case.status, case.evidence) == (FAILED, "SystemExit: 3")


def test_nothing_goes_on_once_who_asked_is_gone(world):
    """A patch may loop for ever; whoever ends the command ends that too."""
    loop = b"import os, time\nopen('/proc/self/comm', 'w').write('looping')\nwhile True: time.sleep(0.1)\n"
    job = {
        "id": "q0",
        "checks": str(world / "repo/dockerfiles/image/checks"),
        "behaviours": ["one"],
        "components": [
            {"tree": str(world / "tree"), "overlay": str(world / "overlay"), "gone": [], "paths": [list(PATHS[0])]}
        ],
    }
    staged(world / "tree", PATHS, {"src/pkg/deep/inner.py": loop}, world / "overlay")
    asking = subprocess.Popen(
        [sys.executable, REPO / "build/stage.py"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    asking.stdin.write(json.dumps({"at_once": 1, "jobs": [job]}).encode())
    asking.stdin.close()
    children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
    child = eventually(lambda: next((pid for pid in children.read_text().split() if is_looping(pid)), None))
    asking.kill()
    asking.wait()
    assert eventually(lambda: not Path(f"/proc/{child}").exists() or state(child) == "Z")


def eventually(what):
    for _ in range(200):
        if found := what():
            return found
        time.sleep(0.05)
    return None


def is_looping(pid):
    return Path(f"/proc/{pid}/comm").read_text() == "looping\n"


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_a_behaviour_that_is_not_there_is_told_with_its_place(world):
    with pytest.raises(BehaviourError) as caught:
        ask(world, Staged(tree=world / "tree", paths=PATHS), names=("none",))
    assert "dockerfiles/image/checks/behaviours/none.py is not there" in caught.value.why


def test_an_answer_without_a_case_that_a_patch_is_for_does_not_hold():
    kept = CaseResult(name="a", kind="keeps", status=PASSED, evidence="", seconds=0.0)
    fixed = CaseResult(name="b", kind="fixes", status=ABSENT, evidence="", seconds=0.0)
    assert not Answer(cases=(kept, fixed)).holds
    assert Answer(cases=(kept, CaseResult(name="b", kind="fixes", status=PASSED, evidence="", seconds=0.0))).holds
    assert not Answer(cases=()).holds
