"""GitHub's workflows, run here: each job's steps in order, with the variables that a runner sets.

    there = Local(folder, clone_of=repo)
    done = there.job("build", "publish", inputs={"repository": "…"}, matrix={"target": "tiny"})
    assert done.conclusion == "success", done.said

What is known of a job's surroundings is what this project's workflows use. Steps that run sudo are for hosted runners
alone, and never run here. Source of the words: docs.github.com, "Workflow syntax for GitHub Actions", "Contexts",
"Variables". :mod:`workflowexpr` has the expressions, :mod:`workflowactions` what stands in for actions.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path

import ruamel.yaml

from tests.workflowactions import ACTIONS, ActionError, git
from tests.workflowexpr import as_text, fill, holds

REPO = Path(__file__).resolve().parent.parent
WORKFLOWS = Path(".github/workflows")
SHELLS = {"": ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}
FORBIDDEN = "sudo "
STEP_SECONDS = 900
RUNNER = {"environment": "github-hosted", "arch": "ARM64", "os": "Linux"}
OURS = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "TMPDIR")

# Stands in for GitHub's own program: notes what it was asked, by whom, with which text; answers what it was told to.
GH = """\
import json, os, sys
argv = sys.argv[1:]
text = open(argv[argv.index("--body-file") + 1], encoding="utf-8").read() if "--body-file" in argv else ""
with open(os.environ["GH_LOG"], "a", encoding="utf-8") as log:
    print(json.dumps({"argv": argv, "token": os.environ.get("GH_TOKEN", ""), "text": text}), file=log)
print(json.loads(os.environ["GH_ANSWERS"]).get(" ".join(argv[:2]), ""), end="")
"""


def read(path):
    """A workflow or action, as YAML 1.2 has it: ``on`` is a word."""
    return ruamel.yaml.YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def inputs_of(workflow, event, given=()):
    """The inputs of a run: what is given, and the defaults of that event."""
    told = workflow["on"][event]
    asked = told.get("inputs", {}) if isinstance(told, dict) else {}  # schedule has a list
    assert set(dict(given)) <= asked.keys(), f"no such input: {given}"
    return {name: item.get("default") for name, item in asked.items()} | dict(given)


def combinations(job, contexts):
    """A job's matrix, with its expressions evaluated: a dictionary for each of its runs."""
    axes = fill(job.get("strategy", {}).get("matrix", {}), contexts, {"fromJSON": json.loads})
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


@dataclass
class Step:
    """A step that was come to. ``outcome``: success, failure, skipped, or "left out" for what must not run here."""

    name: str
    outcome: str = "skipped"
    output: str = ""
    outputs: dict = field(default_factory=dict)


@dataclass
class Done:
    """A job that ended: its conclusion, its steps in order, its outputs, what it wrote into the run's summary."""

    conclusion: str
    steps: list
    outputs: dict
    summary: str
    workspace: Path

    def __getitem__(self, name):
        return next(step for step in self.steps if step.name == name)

    @property
    def outcomes(self):
        return {step.name: step.outcome for step in self.steps}

    @property
    def said(self):
        """What all steps printed; for the message of a test that fails."""
        return "\n".join(f"--- {step.name}: {step.outcome}\n{step.output}" for step in self.steps)


class Local:
    """A repository at GitHub, its runners, caches and artifacts, in ``folder``.

    Its one commit is the working tree of ``clone_of``, with ``changes`` (path → text). ``env``: what each step's
    environment holds besides; nothing else of ours is passed on but proxies, indexes and the locale. ``answers``: what
    gh prints, by its first two words. ``run``: its number, to be counted up for another one.
    """

    def __init__(self, folder, clone_of, *, changes=(), env=(), answers=()):
        self.folder = folder
        self.caches, self.log, self.run = folder / "caches", folder / "gh.log", 77
        self.origin, self.tree = folder / "origin.git", folder / "commit"
        self.commit = _commit(clone_of, self.tree, self.origin, dict(changes))
        self.programs, self.home, self.jobs = folder / "programs", folder / "home", 0
        self.programs.mkdir()
        self.home.mkdir()
        (self.programs / "gh").write_text(f"#!{sys.executable}\n{GH}")
        (self.programs / "gh").chmod(0o755)
        self.env = {**dict(env), "GH_LOG": str(self.log), "GH_ANSWERS": json.dumps(dict(answers))}

    @property
    def artifacts(self):
        """The folder of this run's artifacts."""
        return self.folder / f"artifacts-{self.run}"

    def asked(self):
        """What gh was asked: a dictionary of argv, token and text for each call."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def merge(self, branch):
        """What a person does with a pull request."""
        git(self.tree, "pull", "--quiet", "--ff-only", self.origin, branch)
        git(self.tree, "push", "--quiet", self.origin, "HEAD:main")
        self.commit = git(self.tree, "rev-parse", "HEAD").strip()

    def job(self, workflow, name, *, event="workflow_dispatch", inputs=(), matrix=(), needs=(), env=()):
        """Run a job of a workflow of the commit, on main. ``matrix``: values for what it has a matrix of, its own or
        others; ``needs``: the :class:`Done` of each job that it needs.
        """
        self.jobs += 1
        told = read(self.tree / WORKFLOWS / f"{workflow}.yml")
        return _Job(self, told, name, event, inputs_of(told, event, inputs), dict(matrix), dict(needs), dict(env)).run()


def _commit(source, tree, origin, changes):
    """Make a bare repository whose one commit is a working tree, changed; the commit."""
    for name in filter(None, git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")):
        if (source / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, tree / name)
    for name, text in changes.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=as it is")
    git(tree, "clone", "--quiet", "--bare", tree, origin)
    return git(tree, "rev-parse", "HEAD").strip()


class _Scope:
    """What expressions and steps of one job, or of one composite action in it, see of each other."""

    def __init__(self, inputs):
        self.inputs, self.steps, self.failed = inputs, {}, False


class _Job:
    """One job of one run."""

    def __init__(self, local, told, name, event, inputs, matrix, needs, env):
        self.local, self.told, self.job, self.matrix, self.extra = local, told, told["jobs"][name], matrix, env
        self.place = local.folder / f"job-{local.jobs}"
        self.workspace, self.temp, self.summary = (self.place / part for part in ("workspace", "temp", "summary"))
        self.workspace.mkdir(parents=True)
        self.temp.mkdir()
        self.summary.touch()
        self.scope, self.env, self.steps = _Scope(inputs), {}, []
        self.needs = {key: {"result": done.conclusion, "outputs": done.outputs} for key, done in needs.items()}
        self.github = {
            "event_name": event, "ref": "refs/heads/main", "ref_name": "main", "sha": local.commit, "job": name,
            "repository": "Owner/Name", "repository_owner": "Owner", "actor": "somebody", "workflow": told["name"],
            "run_id": str(local.run), "run_attempt": "1", "server_url": "https://github.com", "token": "of-the-job",
        }  # fmt: skip

    def contexts(self, scope):
        return {
            "github": self.github, "inputs": scope.inputs, "matrix": self.matrix, "needs": self.needs, "env": self.env,
            "steps": scope.steps, "secrets": {"GITHUB_TOKEN": self.github["token"]},
            "runner": {**RUNNER, "temp": str(self.temp)},
        }  # fmt: skip

    def functions(self, scope):
        return {
            "success": lambda: not scope.failed, "failure": lambda: scope.failed, "always": lambda: True,
            "cancelled": lambda: False, "fromJSON": json.loads, "hashFiles": self.hash_files,
            "format": lambda form, *values: form.format(*map(as_text, values)),
        }  # fmt: skip

    def hash_files(self, *patterns):
        found = sorted(path for pattern in patterns for path in self.workspace.glob(pattern) if path.is_file())
        return sha256(b"".join(sha256(path.read_bytes()).digest() for path in found)).hexdigest() if found else ""

    def filled(self, value, scope):
        return fill(value, self.contexts(scope), self.functions(scope))

    def texts(self, values, scope):
        return {key: as_text(self.filled(value, scope)) for key, value in (values or {}).items()}

    def wanted(self, condition, scope):
        return holds(condition, self.contexts(scope), self.functions(scope), failed=scope.failed)

    def run(self):
        """The whole job."""
        scope, needed = self.scope, self.job.get("needs", [])
        assert self.needs.keys() == ({needed} if isinstance(needed, str) else set(needed)), "it needs other jobs"
        scope.failed = any(need["result"] != "success" for need in self.needs.values())
        if not self.wanted(self.job.get("if"), scope):
            return Done("skipped", [], {}, "", self.workspace)
        scope.failed = False
        axes = self.job.get("strategy", {}).get("matrix", {})
        assert self.matrix.keys() == axes.keys(), "say of what its matrix is to be"
        self.env = self.texts(self.told.get("env"), scope) | self.texts(self.job.get("env"), scope)
        self.take(self.job["steps"], scope, self.told.get("defaults", {}).get("run", {}).get("shell", ""))
        outputs = self.texts(self.job.get("outputs"), scope)
        end = "failure" if scope.failed else "success"
        return Done(end, self.steps, outputs, self.summary.read_text(), self.workspace)

    def take(self, steps, scope, shell):
        """Steps in order, of the job or of an action of this repository."""
        for said in steps:
            step = Step(name=said["name"])
            self.steps.append(step)
            if self.wanted(said.get("if"), scope):
                if "run" in said:
                    self.shell(step, said["run"], self.texts(said.get("env"), scope), said.get("shell", shell))
                else:
                    self.action(step, said["uses"], self.filled(said.get("with", {}), scope))
            scope.steps[said.get("id", "")] = {"outputs": step.outputs, "outcome": step.outcome}
            scope.failed |= step.outcome == "failure"

    def shell(self, step, script, env, shell):
        """Run a script as a runner does, from a file."""
        assert "${{" not in script, f"{step.name}: an expression in a script"
        if FORBIDDEN in script:
            step.outcome = "left out"
            return
        file, output = (self.temp / f"{part}-{len(self.steps)}" for part in ("script", "output"))
        file.write_text(script)
        output.touch()
        done = subprocess.run(
            [*SHELLS[shell], str(file)], cwd=self.workspace, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=STEP_SECONDS,
            env=self.environment() | self.env | env | {"GITHUB_OUTPUT": str(output)},
        )  # fmt: skip
        step.output, step.outcome = done.stdout, "success" if done.returncode == 0 else "failure"
        rows = (line.partition("=") for line in output.read_text().splitlines())
        step.outputs |= {name: value for name, _, value in rows}

    def environment(self):
        """What a runner sets; the token is in no variable but where a step asks for it."""
        passed = {
            name: value for name, value in os.environ.items()
            if name in OURS or name.lower().endswith("_proxy") or name.startswith(("UV_", "PIP_", "LC_", "LANG"))
        }  # fmt: skip
        github = {f"GITHUB_{key.upper()}": value for key, value in self.github.items() if key != "token"}
        return {
            "PATH": f"{self.local.programs}:{os.environ['PATH']}", "HOME": str(self.local.home), **passed, **github,
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_STEP_SUMMARY": str(self.summary), "RUNNER_TEMP": str(self.temp),
            **{f"RUNNER_{key.upper()}": value for key, value in RUNNER.items()},
            "GITHUB_WORKFLOW_REF": f"{self.github['repository']}/{WORKFLOWS}/{self.told['name']}.yml@refs/heads/main",
            **self.local.env, **self.extra,
        }  # fmt: skip

    def action(self, step, uses, given):
        """Run an action of this repository, or what stands in for another one."""
        if uses.startswith("./"):
            told = read(self.workspace / uses / "action.yml")
            scope = _Scope(_given(told.get("inputs", {}), given))
            self.take(told["runs"]["steps"], scope, "")
            step.outcome = "failure" if scope.failed else "success"
            return
        step.outcome = "success"
        try:
            ACTIONS[uses.partition("@")[0]](self, step, given)
        except ActionError as error:
            step.output, step.outcome = str(error), "failure"


def _given(asked, given):
    """The inputs of an action of this repository, all text."""
    assert given.keys() <= asked.keys(), f"no such input: {given}"
    found = {key: as_text(given.get(key, item.get("default"))) for key, item in asked.items()}
    assert all(found[key] for key, item in asked.items() if item.get("required")), f"an input is lacking: {found}"
    return found
