"""The workflows' jobs, run here step by step as a runner does: real sessions in a fresh clone, a real registry.

What is GitHub's own is stood in for (tests/workflowkit.py), the target is `tiny`, and a key signs: no job here has an
identity. The two jobs that take minutes are run with --slow.
"""

import contextlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from build import actions, host, published, rootfs, roots, steps, store
from build.models import Settings
from build.settings import REPO, default_store
from tests import workflowkit
from tests.engine import registrykit

NAME = "owner/name"
PASSWORD = "of the tests"
KEY = "docs/keys/tests.pub"
STRAY = b"not what its name says"


@pytest.fixture(scope="module")
def place():
    """The registry of all jobs: its address, and what is in it."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(registrykit.tempfile.TemporaryDirectory(prefix="registry-")))
        yield stack.enter_context(registrykit.registry(folder))


@pytest.fixture(scope="module")
def github(tmp_path_factory):
    """This repository at GitHub, and its runners, which have a store and an engine of their own."""
    folder, keys = tmp_path_factory.mktemp("github"), tmp_path_factory.mktemp("keys")
    registrykit.cosign("generate-key-pair", cwd=keys, env={"COSIGN_PASSWORD": PASSWORD})
    env = {"COSIGN_PASSWORD": PASSWORD, "COSIGN_PRIVATE_KEY": (keys / "cosign.key").read_text()}
    there = workflowkit.Local(folder, REPO, env=env, changes={KEY: (keys / "cosign.pub").read_text()})
    own = link_store(there.home)
    yield there
    remove = [sys.executable, "-m", "build", "engine", "rm", "--store", str(own)]
    subprocess.run(remove, cwd=REPO, check=True, capture_output=True)
    shutil.rmtree(folder)


def link_store(home):
    """A store below a home of its own, with what `tiny` is made from: by links, so that jobs may clean it."""
    theirs, ours = Settings(repo=REPO, store=default_store()), home / ".cache/spark-runtime"
    job, arch = steps.load(theirs, "tiny"), roots.host_architecture()
    steps.fetch_all(job, tuple({arch, "arm64"}))
    steps.uv_program(theirs, job.uv)
    unpacked = (host.tools(theirs), host.builder(theirs), host.publish(theirs))
    made = (*unpacked, host.builder_tar(theirs), host.rootfs_tar(theirs, "tiny"))
    sets = [host.locked_debs(theirs, name, arch) for name in (host.TOOLS, host.BUILDER, host.PUBLISH)]
    files = {item.sha256 for item in steps.all_files(job, tuple({arch, "arm64"}))}
    files |= {deb.sha256 for item in sets for deb in item.debs}
    for path in (*made, *(store.blob(theirs.store, name) for name in files)):
        target = ours / path.relative_to(theirs.store)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "--archive", "--link", str(path), str(target)], check=True)
    uv = Path("roots") / f"uv-{job.uv.sha256}"
    (ours / uv).hardlink_to(theirs.store / uv)
    assert rootfs.place(ours, job.rootfs).is_file()
    (ours / "env").mkdir()
    (ours / "env" / Path(sys.prefix).name).symlink_to(sys.prefix)
    return ours


def succeeded(done):
    assert done.conclusion == "success", done.said
    return done


# Build, publish, collect the records


@pytest.fixture(scope="module")
def refused(github, place):
    """The job that publishes, for a target that is not for use. It comes first: nothing may be there after it."""
    return github.job("build", "publish", inputs={"repository": f"{place.place}/{NAME}"}, matrix={"target": "tiny"})


def test_what_is_not_for_use_is_built_and_not_published(refused, github, place):
    assert refused.conclusion == "failure"
    assert refused["run the image's own checks"].outcome == "success", refused.said
    assert "tiny is not for use" in refused["push, sign, attest"].output
    assert refused["keep the record"].outcome == "skipped"
    assert refused["keep the smoke report"].outcome == "success"
    assert place.tags(NAME) == {}
    assert [path.name for path in github.artifacts.iterdir()] == ["smoke-tiny"]


def test_a_run_that_published_nothing_proposes_nothing(refused, github):
    done = succeeded(github.job("build", "records", needs={"publish": refused}))
    assert "Nothing new was published" in done.summary
    assert github.asked() == []


@pytest.fixture(scope="module")
def publish(refused, github, place):
    """The job that publishes, in the next run; a damaged file is in the cache."""
    (kept,) = github.caches.iterdir()
    damaged = kept / "content/sha256/00" / ("00" * 32)
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(STRAY)
    github.run += 1
    inputs = {"repository": f"{place.place}/{NAME}", "rehearsal": True}
    return succeeded(github.job("build", "publish", inputs=inputs, matrix={"target": "tiny"}))


def test_every_step_of_it_runs_but_what_is_for_hosted_runners_alone(publish):
    others = {name: outcome for name, outcome in publish.outcomes.items() if outcome != "success"}
    assert others == {
        "remove toolchains": "left out", "drop what no lock names": "skipped",
        "keep the files for the next run": "skipped", "take the compile cache of an earlier run": "skipped",
        "keep the compile cache for the next run": "skipped",
    }  # fmt: skip


def test_files_come_out_of_the_cache_and_are_compared(refused, publish, github):
    assert refused["keep the files for the next run"].outcome == "success"
    assert publish["take files of an earlier run"].outputs["cache-hit"] == "true"
    assert "1 of" in publish["compare them with their hashes"].output
    assert not store.blob(github.home / ".cache/spark-runtime", "00" * 32).exists()


def test_the_image_is_in_the_registry_signed_and_tagged(publish, place):
    tags = place.tags(NAME)
    chain = re.search(r"tiny-([0-9a-f]{12}) and :tiny", publish["push, sign, attest"].output)[1]
    assert tags["tiny"] == tags[f"tiny-{chain}"]
    assert f"{tags['tiny'].replace(':', '-')}.sig" in tags


@pytest.fixture(scope="module")
def recorded(publish, github):
    """The job that collects records; its pull request is merged afterwards."""
    done = succeeded(github.job("build", "records", needs={"publish": publish}))
    github.merge(branch := f"records-{github.run}-1")
    return done, branch


def test_the_records_become_a_pull_request(recorded, publish, github):
    done, branch = recorded
    (record,) = published.read_all(done.workspace)
    asked = github.asked()
    assert [call["argv"][:2] for call in asked] == [["auth", "setup-git"], ["pr", "create"], ["workflow", "run"]]
    assert all(call["token"] == "of-the-job" for call in asked)
    assert asked[1]["argv"][2:6] == ["--base", "main", "--head", branch]
    assert record.manifest.replace(":", "-") in asked[1]["text"]
    assert asked[2]["argv"] == ["workflow", "run", "test.yml", "--ref", branch]
    changed = workflowkit.git(github.origin, "diff", "--name-only", "main~", branch).split()
    assert changed == [f"lock/published/{record.manifest.replace(':', '-')}.toml"]
    assert record.places[-1].remarks == ("not for use",)
    assert "of-the-job" not in done.said + publish.said


def test_canary_is_built_by_the_same_steps(publish, github):
    github.run += 1
    done = succeeded(github.job("build", "canary", event="push", matrix={"target": "tiny"}))
    assert done["run the image's own checks"].outcome == "success"


# Verify


def test_where_nothing_is_published_for_others_verify_says_so(recorded, github):
    done = succeeded(github.job("verify", "newest", event="schedule"))
    assert done.outputs == {"digests": "[]"}
    assert "Nothing is published yet" in done.summary
    assert github.job("verify", "rebuild", event="schedule", needs={"newest": done}).conclusion == "skipped"


def test_records_for_others_are_in_the_readme_and_the_newest_of_each_target_is_verified(publish, github, tmp_path):
    """Records as `push` wrote one, but without its remark: two of one target, one of another."""
    (path,) = (publish.workspace / published.FOLDER).glob("*.toml")
    known = published.read_file(path)
    other = workflowkit.Local(tmp_path, REPO)
    share_store(other.home)
    made = []
    for target, day in (("a", 1), ("a", 3), ("b", 2)):
        there = replace(
            known.places[-1], remarks=(), time=f"2026-01-0{day}T00:00:00+00:00", repository=f"x.example/{day}"
        )
        record = replace(known, target=target, manifest=f"sha256:{day}".ljust(71, "0"), places=(there,))
        made.append(f"{there.repository}@{record.manifest}")
        file = other.artifacts / f"record-{day}" / published.path_of(Path(), record.manifest).name
        file.parent.mkdir(parents=True)
        file.write_text(published.text(record))
    done = succeeded(other.job("build", "records", needs={"publish": publish}))
    readme = (done.workspace / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in made)
    other.merge(f"records-{other.run}-1")
    chosen = succeeded(other.job("verify", "newest", event="schedule"))
    assert json.loads(chosen.outputs["digests"]) == made[1:]


@pytest.mark.slow
def test_a_digest_is_verified_and_built_again(recorded, github, place):
    digest = f"{place.place}/{NAME}@{place.tags(NAME)['tiny']}"
    chosen = succeeded(github.job("verify", "newest", inputs={"digest": digest}))
    assert chosen.outputs == {"digests": json.dumps([digest])}
    done = succeeded(github.job("verify", "rebuild", needs={"newest": chosen}, matrix={"digest": digest}))
    assert "built again from nothing" in done["verify, and build it again"].output


# Refresh the locks


def share_store(home):
    """The store of this machine below another home: for jobs that drop nothing of it."""
    (home / ".cache").mkdir()
    (home / ".cache/spark-runtime").symlink_to(default_store())


def reduced():
    """The intent, of `tiny` alone, with a wheel that has newer releases than the locked one."""
    text = (REPO / "lock/targets.toml").read_text()
    head, _, rest = text.replace('default = "v0.32"', 'default = "tiny"').partition("[actions]")
    for name in ("rootfs.trixie", "root.diffoscope", "root.publish", "root.registry", "root.compile"):
        head = re.sub(rf"(?ms)^\[{re.escape(name)}\].*?(?=^\[)", "", head)
    tiny = text[text.index("[targets.tiny]") :]
    assert "markupsafe==3.0.3" in tiny
    loose = tiny.replace("markupsafe==3.0.3", "markupsafe>=3.0.3")
    return f"{head}[actions]{rest.partition(chr(10) * 2)[0]}\n\n[rebase]\nreleases = []\n\n{loose}"


def for_tiny():
    """The profiles, of that one target: the others are not there."""
    paths = sorted((REPO / "lock/profiles").glob("*.toml"))
    return {
        str(path.relative_to(REPO)): re.sub(r"(?m)^targets = \[.*\]", 'targets = ["tiny"]', path.read_text())
        for path in paths
    }


class Tags(http.server.BaseHTTPRequestHandler):
    """The tags of the locked actions, by git's "dumb" protocol; no other repository is there."""

    def do_GET(self):
        name, _, what = self.path.partition("/info/")
        found = [item for item in actions.read(REPO)[1] if f"/{item.name}" == name and what.startswith("refs")]
        body = "".join(f"{item.commit}\trefs/tags/{item.tag}\n" for item in found).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def tags():
    """What sends git to a server of tags here in place of GitHub."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tags) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        key = f"url.http://127.0.0.1:{server.server_port}/.insteadOf"
        yield {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": "https://github.com/"}
        server.shutdown()


def test_newer_versions_become_a_pull_request_that_says_what_they_change(tmp_path, tags):
    changes = {"lock/targets.toml": reduced(), **for_tiny()}
    there = workflowkit.Local(tmp_path, REPO, changes=changes, answers={"pr list": ""})
    share_store(there.home)
    lock = succeeded(there.job("lock-refresh", "lock", event="schedule", env=tags))
    assert lock.outputs == {"changed": "true"}, lock.said
    propose = succeeded(there.job("lock-refresh", "propose", event="schedule", needs={"lock": lock}))
    calls = {" ".join(call["argv"][:2]): call for call in there.asked()}
    assert list(calls) == ["auth setup-git", "pr list", "pr create", "workflow run"]
    text = calls["pr create"]["text"]
    assert re.search(r"^  markupsafe  3\.0\.3 → \S+  [+-]", text, re.MULTILINE), text
    assert "lock/v0.32.toml is of no target" in text, "contradictions are told"
    assert "patches and versions" in " ".join(text.split()), "the matrix is in it"
    changed = workflowkit.git(there.origin, "diff", "--name-only", "main", "lock-refresh").split()
    assert {"lock/tiny.toml", "lock/requires/tiny.toml"} <= set(changed)
    assert all(name.startswith("lock/") for name in changed)
    assert not list(propose.workspace.glob("*.patch")), "it is not in the way of the next commit"
    there.env["GH_ANSWERS"] = json.dumps({"pr list": "12\n"})
    succeeded(there.job("lock-refresh", "propose", event="schedule", needs={"lock": lock}))
    assert ["pr", "edit", "12"] in [call["argv"][:3] for call in there.asked()]


# Test


@pytest.mark.slow
def test_the_job_that_tests_runs_here_too(tmp_path):
    """But for the tests themselves, of which it runs one file: they would run this one."""
    there = workflowkit.Local(tmp_path, REPO, env={"PYTEST_ADDOPTS": "tests/test_canonical.py"})
    share_store(there.home)
    done = succeeded(there.job("test", "test", event="pull_request", matrix={"runner": "ubuntu-24.04"}))
    assert set(done.outcomes.values()) == {"success"}
    assert "passed" in done["tests, real builds too"].output
