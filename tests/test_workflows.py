"""The workflows of .github/: by GitHub's schema, by zizmor, and by what this project asks of them."""

import argparse
import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from build import actions
from build.intent import read_intent
from build.settings import REPO, add_common_arguments
from tests import workflowkit
from tests.workflowexpr import evaluate, fill, holds

WORKFLOWS = sorted((REPO / ".github/workflows").glob("*.yml"))
ACTIONS = sorted((REPO / ".github/actions").glob("*/action.yml"))
READ = {path.stem: workflowkit.read(path) for path in WORKFLOWS}
JOBS = [(workflow, name, job) for workflow, told in READ.items() for name, job in told["jobs"].items()]
OWN = {path.parent.name: workflowkit.read(path) for path in ACTIONS}
EVENTS = {"push", "pull_request", "schedule", "workflow_dispatch"}
SECRET = re.compile(r"\bsecrets\b|github\.token|\bid-token\b")
SESSION = re.compile(r"\./nox -s (?P<names>[\w ]+?)(?: -- (?P<options>[^|>&;#\n]*))?\s*(?=[|>&;#\n]|$)")
IDS = {"ids": lambda value: value if isinstance(value, str) else ""}


def tool(name, *arguments):
    return subprocess.run(
        [str(Path(sys.executable).with_name(name)), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def steps():
    """Each step: the name of its workflow or action, and itself."""
    for workflow, _, job in JOBS:
        yield from ((workflow, step) for step in job["steps"])
    for name, told in OWN.items():
        yield from ((name, step) for step in told["runs"]["steps"])


def scripts():
    return [(place, step["run"]) for place, step in steps() if "run" in step]


# By others' tools


@pytest.mark.parametrize(("kind", "files"), [("workflows", WORKFLOWS), ("actions", ACTIONS)])
def test_they_are_what_githubs_schema_says(kind, files):
    done = tool("check-jsonschema", "--builtin-schema", f"vendor.github-{kind}", *files)
    assert done.returncode == 0, done.stdout + done.stderr


def zizmor(*arguments):
    return tool(
        "zizmor", "--offline", "--no-config", "--no-progress", "--persona=auditor", "--strict-collection", *arguments
    )


def test_zizmor_finds_nothing():
    done = zizmor(*WORKFLOWS, *ACTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings" in done.stdout + done.stderr


def test_what_zizmor_is_told_to_pass_over_is_one_spelling():
    """`uses: $/…` is newer than runners that people keep; actions of one's own are `./…` until then."""
    done = zizmor("--no-ignores", "--format=json", *WORKFLOWS, *ACTIONS)
    assert {finding["ident"] for finding in json.loads(done.stdout)} == {"self-repository"}


def test_zizmor_would_find_something(tmp_path):
    text = WORKFLOWS[0].read_text().replace("permissions: {}", "permissions: write-all")
    (tmp_path / "x.yml").write_text(text)
    done = zizmor(tmp_path / "x.yml")
    assert done.returncode != 0
    assert "excessive-permissions" in done.stdout


# What every workflow has


@pytest.mark.parametrize("workflow", READ)
def test_at_the_top_nothing_is_allowed_and_runs_do_not_pile_up(workflow):
    told = READ[workflow]
    assert told["permissions"] == {}
    assert told["name"] == workflow
    assert told["concurrency"]["group"].startswith("${{ github.workflow }}")
    assert isinstance(told["concurrency"]["cancel-in-progress"], bool)
    assert told["on"].keys() <= EVENTS, "pull_request_target and its like hand our token to strangers' code"


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS, **IDS)
def test_each_job_ends_and_says_what_it_may(workflow, name, job):
    limit = job["timeout-minutes"]
    assert isinstance(limit, str) or 0 < limit <= 120
    assert job["permissions"], "even none is said"
    assert set(job["permissions"].values()) <= {"read", "write"}
    for step in job["steps"]:
        assert step["name"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_actions_are_used_as_they_are_locked():
    assert list(actions.faults(REPO, read_intent(REPO).actions)) == []
    assert any(use.what.startswith("actions/checkout@") for use in actions.uses(REPO))


@pytest.mark.parametrize(("place", "script"), scripts(), **IDS)
def test_scripts_take_values_from_variables_only(place, script):
    assert "${{" not in script, "an expression in a script is code that somebody else wrote"
    assert "set +e" not in script


def test_only_hosted_runners_lose_anything():
    strong = [(place, step) for place, step in steps() if re.search(r"\bsudo\b|\brm\b", step.get("run", ""))]
    assert [place for place, _ in strong] == ["make-room"]
    (_, step) = strong[0]
    assert step["if"] == "runner.environment == 'github-hosted'"
    removed = re.findall(r"\s(/\S+)", step["run"].partition(" -- ")[2].partition("df ")[0])
    assert len(removed) > 10
    assert all(len(Path(path).parts) >= 3 and path.startswith(("/opt/", "/usr/")) for path in removed)
    assert not [path for path in removed if path.startswith(("/usr/bin", "/usr/lib/python"))]


# Who gets a token, or a secret


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS, **IDS)
def test_strangers_pull_requests_reach_no_secret(workflow, name, job):
    if "pull_request" in READ[workflow]["on"]:
        assert job["permissions"] == {"contents": "read"}
        assert "environment" not in job
        assert not SECRET.search(json.dumps(job))


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS, **IDS)
def test_who_pushes_is_on_main_behind_an_environment(workflow, name, job):
    may = {key for key, value in job["permissions"].items() if value == "write"}
    assert ("id-token" in may) == ("packages" in may) == (job.get("environment") == "publish")
    if "packages" in may:
        assert job["if"] == "github.ref == 'refs/heads/main'"
        assert may == {"id-token", "packages"}
    if "contents" in may:
        sessions = {names for step in job["steps"] for names, _ in found_sessions(step.get("run", ""))}
        assert sessions <= {"images"}, "who may write to the repository runs as little as can be"
        assert may == {"actions", "contents", "pull-requests"}


def test_a_token_is_in_the_environment_of_single_steps():
    for workflow, told in READ.items():
        assert "env" not in told, workflow
    for _, _, job in JOBS:
        assert "env" not in job
    holders = {step["name"] for _, step in steps() if "github.token" in json.dumps(step)}
    assert holders == {
        "push, sign, attest", "open a pull request", "open a pull request, or renew the open one",
        "verify, and build it again",
    }  # fmt: skip
    assert not [path for path in (*WORKFLOWS, *ACTIONS) if "secrets." in path.read_text()]


# Sessions


def commands(script):
    """The lines of a script that do something: what they tell aside."""
    lines = script.replace("\\\n", " ").splitlines()
    return [line for line in lines if not line.lstrip().startswith(("echo ", "printf "))]


def found_sessions(script):
    """Each (sessions, arguments) that a script runs, with something in place of its variables."""
    more = re.findall(r"options\+=\(([^)]*)\)", script)
    for line in commands(script):
        for found in SESSION.finditer(line):
            given = []
            for word in shlex.split(found["options"] or ""):
                given += more if word == "${options[@]}" else ["tiny" if "$" in word else word]
            yield found["names"], given


def sessions():
    return [(place, names, given) for place, script in scripts() for names, given in found_sessions(script)]


def test_every_use_of_nox_was_understood():
    lines = [line for _, script in scripts() for line in commands(script)]
    assert sum(line.count("./nox") for line in lines) == len(sessions()) > 15


@pytest.mark.parametrize(("place", "names", "given"), sessions(), **IDS)
def test_each_session_is_there_and_knows_its_options(place, names, given):
    tree = ast.parse((REPO / "noxfile.py").read_text())
    known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    assert set(names.split()) <= known
    for verb in set(names.split()) - {"lint", "tests"}:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"build.commands.{verb}").add_arguments(parser)
        add_common_arguments(parser)
        parser.parse_args(given)  # ends the test where it does not know one


# What is built, and when


def build(event, **inputs):
    """The contexts of a run of build.yml."""
    return {"inputs": workflowkit.inputs_of(READ["build"], event, inputs), "github": {"ref": "refs/heads/main"}}


@pytest.mark.parametrize(
    ("event", "inputs", "targets"),
    [
        ("push", {}, ["v0.32", "v0.22"]),
        ("workflow_dispatch", {}, ["v0.32", "v0.22"]),
        ("workflow_dispatch", {"g27_runner": "big-arm"}, ["v0.32", "v0.22", "g27"]),
    ],
)
def test_wheel_targets_are_built_always_and_g27_where_it_is_told(event, inputs, targets):
    job, contexts = READ["build"]["jobs"]["publish"], build(event, **inputs)
    runs = workflowkit.combinations(job, contexts)
    assert [run["target"] for run in runs] == targets
    assert set(targets) <= read_intent(REPO).targets.keys()
    filled = {run["target"]: fill(job["runs-on"], {**contexts, "matrix": run}, {}) for run in runs}
    assert filled.pop("g27", "big-arm") == "big-arm"
    assert set(filled.values()) == {"ubuntu-24.04-arm"}
    assert {fill(job["timeout-minutes"], {"matrix": run}, {}) for run in runs} <= {90, 330}


def test_canary_is_built_always_and_cannot_be_pushed():
    job = READ["build"]["jobs"]["canary"]
    assert job["permissions"] == {"contents": "read"}
    assert "if" not in job
    assert workflowkit.combinations(job, build("push")) == [{"target": "canary"}]
    assert not [step for step in job["steps"] if "push" in step.get("run", "")]


@pytest.mark.parametrize(
    ("publish", "failed", "runs"),
    [("success", False, True), ("failure", True, True), ("skipped", False, False), ("cancelled", True, True)],
)
def test_records_are_collected_though_a_target_failed(publish, failed, runs):
    contexts = {"needs": {"publish": {"result": publish}}}
    condition = READ["build"]["jobs"]["records"]["if"]
    assert holds(condition, contexts, {"cancelled": lambda: False}, failed=failed) == runs


def test_images_are_made_when_what_they_are_made_from_changes():
    paths = READ["build"]["on"]["push"]["paths"]
    assert {"build/**", "dockerfiles/**", "lock/**", "patches/**"} <= set(paths)
    assert paths.index("!lock/published/**") > paths.index("lock/**"), "a record is no reason to build"


# The expressions that the tests evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b", "x"), ("a.c", None), ("a.c.d", None), ("'it''s'", "it's"), ("a.b == 'X'", True), ("a.b != 'x'", False),
        ("a.c != ''", False), ("'' || 'y'", "y"), ("a.b == 'x' && 'yes' || 'no'", "yes"),
        ("a.b == 'z' && 'yes' || 'no'", "no"), ("!a.c", True), ("!(a.b == 'x') || twice('o')", "oo"), ("true && 3", 3),
        ("false == ''", True), ("1 == '1'", True), ("null", None),
    ],
)  # fmt: skip
def test_expressions(text, value):
    assert evaluate(text, {"a": {"b": "x"}}, {"twice": lambda word: 2 * word}) == value


def test_expressions_in_values():
    contexts = {"a": {"yes": True, "n": None}}
    assert fill({"k": ["${{ a.yes }}", "<${{ a.yes }}${{ a.n }}>", 3]}, contexts, {}) == {"k": [True, "<true>", 3]}
    with pytest.raises(KeyError):
        evaluate("secrets.x", contexts, {})
    with pytest.raises(ValueError, match="not understood"):
        evaluate("a[0]", contexts, {})


@pytest.mark.parametrize(
    ("condition", "failed", "value"),
    [
        (None, False, True), (None, True, False), ("a == 'x'", True, False), ("a == 'x'", False, True),
        ("${{ !cancelled() }}", True, True), ("always() && a == 'y'", True, False), ("failure()", True, True),
    ],
)  # fmt: skip
def test_conditions(condition, failed, value):
    words = {"success": not failed, "failure": failed, "always": True, "cancelled": False}
    functions = {name: lambda answer=answer: answer for name, answer in words.items()}
    assert holds(condition, {"a": "x"}, functions, failed=failed) == value
