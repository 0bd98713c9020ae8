"""What stands in for the GitHub Actions that our workflows use: folders for caches and artifacts, git for the clone.

Each takes a job of :mod:`workflowkit`, the step, and the action's inputs. Source: the README of each action.
"""

import os
import shutil
import subprocess
from fnmatch import fnmatch
from hashlib import sha256

from tests.workflowexpr import as_text

NOBODYS = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "t", "GIT_COMMITTER_NAME": "t",
    "GIT_AUTHOR_EMAIL": "t@example.org", "GIT_COMMITTER_EMAIL": "t@example.org",
}  # fmt: skip


class ActionError(Exception):
    """What ends a step that uses an action."""


def git(folder, *argv):
    """Run git as nobody in particular; what it printed."""
    done = subprocess.run(
        ["git", *argv], cwd=folder, env={"PATH": os.environ["PATH"], **NOBODYS}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(job, path):
    """A path of an action's input."""
    text = path.strip()
    return job.local.home / text[2:] if text.startswith("~/") else job.workspace / text


def checkout(job, step, given):
    """Clone without a token, and without history where that was not asked for."""
    assert given["persist-credentials"] is False
    depth = given.get("fetch-depth", 1)
    git(job.workspace, "init", "--quiet", ".")
    git(job.workspace, "remote", "add", "origin", f"file://{job.local.origin}")
    git(job.workspace, "fetch", "--quiet", *([f"--depth={depth}"] if depth else []), "origin", job.local.commit)
    git(job.workspace, "checkout", "--quiet", "FETCH_HEAD")


def restore(job, step, given):
    """actions/cache/restore: the exact key, else the newest that begins with one of ``restore-keys``."""
    folder, key = job.local.caches, given["key"]
    there = sorted(folder.iterdir(), key=os.path.getmtime, reverse=True) if folder.exists() else []
    keys = [key, *given.get("restore-keys", "").split()]
    found = next((path for prefix in keys for path in there if (path / "key").read_text().startswith(prefix)), None)
    matched = (found / "key").read_text() if found else ""
    step.outputs |= {"cache-primary-key": key, "cache-matched-key": matched, "cache-hit": as_text(matched == key)}
    if found:
        linked(found / "content", inside(job, given["path"]))


def save(job, step, given):
    """actions/cache/save: a key is never written twice."""
    folder = job.local.caches / sha256(given["key"].encode()).hexdigest()
    if not folder.exists():
        linked(inside(job, given["path"]), folder / "content")
        (folder / "key").write_text(given["key"])


def upload(job, step, given):
    """actions/upload-artifact, of a folder."""
    folder, source = job.local.artifacts / given["name"], inside(job, given["path"])
    if folder.exists():
        raise ActionError(f"an artifact {given['name']} is there already")
    if any(path.is_file() for path in source.rglob("*")):
        shutil.copytree(source, folder)
    elif given["if-no-files-found"] == "error":
        raise ActionError(f"no files in {given['path']}")


def download(job, step, given):
    """actions/download-artifact: one by name, or all of a pattern into one folder."""
    folder = job.local.artifacts
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if "name" in given and given["name"] not in there:
        raise ActionError(f"there is no artifact {given['name']}")
    assert "name" in given or given["merge-multiple"] is True
    for name in there:
        if name == given.get("name") or fnmatch(name, given.get("pattern", "")):
            shutil.copytree(folder / name, inside(job, given["path"]), dirs_exist_ok=True)


def linked(source, target):
    """Copy a folder by links, file by file; what is there stays."""
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place)


ACTIONS = {
    "actions/checkout": checkout,
    "actions/cache/restore": restore,
    "actions/cache/save": save,
    "actions/upload-artifact": upload,
    "actions/download-artifact": download,
}
