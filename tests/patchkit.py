"""A repository with two series over two small trees, locked by hand, and the runs of `patch` there."""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest

from build import lockfile, series, sourcetree, store, treehash
from build.commands import patch
from build.errors import PatchError
from build.intent import read_intent, target_checksum
from build.models import Component, Lock, Settings, SourceArchive, Wheel
from build.overlay import Overlay, content
from build.patchsteps import walk
from build.settings import REPO
from tests.lockkit import TARGET

HEAD = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: =?UTF-8?q?J=C3=B6rg?= Person <{number}@example.invalid>
Date: Tue, 2{number} Nov 2026 12:00:00 +0100
Subject: [PATCH {number}/9] Change {number}: a title that is
 folded

A reason.  With trailing spaces:  \t
{odd}
Origin: vendor
Forwarded: no
Applied-Upstream: no
Last-Update: 2026-11-2{number}
Behaviour-Test: constant

"""
ONE = b"".join(b"line %d\n" % number for number in range(1, 41))
FILES = {
    "src/app/one.py": ONE,
    "src/app/two words.py": b"first\r\nsecond\r\nthird",
    "src/app/latin.txt": b"caf\xe9\n\xff\xfe\n",
    "src/app/empty.py": b"",
    "src/app/kept.log": b"tracked, though the tree ignores it\n",
    "run.sh": b"#!/bin/sh\n",
    ".gitignore": b"*.log\n/scratch/\n*.pyc\n",
    ".gitattributes": b"* text eol=crlf filter=lfs ident working-tree-encoding=utf-16\n",
}
PATCHES = [
    f"patches/demo/{name}"
    for name in ("app/0001-one.patch", "lib/0001-lib.patch", "app/0002-two.patch", "app/0003-new.patch")
]
ONE_PY = "src/app/one.py"
LIB = {"lib/lib.py": b"".join(b"lib %d\n" % number for number in range(1, 11))}


def edit(data, *pairs):
    """The data with lines replaced."""
    for old, new in pairs:
        assert data.count(old) == 1, old
        data = data.replace(old, new)
    return data


def hunk(path, before, after):
    """A change of one file as one hunk over all of it, which is more context than git writes."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    same = next(n for n in range(len(old)) if old[n] != new[n])
    tail = next(n for n in range(len(old)) if old[-1 - n] != new[-1 - n])
    lines = [b" " + line for line in old[:same]]
    lines += [b"-" + line for line in old[same : len(old) - tail]] + [
        b"+" + line for line in new[same : len(new) - tail]
    ]
    lines += [b" " + line for line in old[len(old) - tail :]]
    name = path.encode()
    head = b"diff --git a/%s b/%s\nindex 1234567..89abcde 100644\n--- a/%s\n+++ b/%s\n" % (name, name, name, name)
    return head + b"@@ -1,%d +1,%d @@ anything\n" % (len(old), len(new)) + b"".join(lines)


def header(number):
    return HEAD.format(number=number, odd="odd: \\").encode() + b"Latin: \xe9\n\n"


def archive(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(f"app-1/{path}")
            info.size, info.mode = len(data), 0o755 if path.endswith(".sh") else 0o644
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("app-1/link.py")
        link.type, link.linkname = tarfile.SYMTYPE, "src/app/one.py"
        tar.addfile(link)
    return out.getvalue()


class Bench:
    """The series `demo` of the target `demo`, with patches of `app` and `lib`; the target `other` borrows from it."""

    def __init__(self, folder, capsys):
        self.repo, self.capsys = folder / "repo", capsys
        self.settings = Settings(repo=self.repo, store=folder / "store", offline=True)
        shutil.copytree(REPO / "lock/debs", self.repo / "lock/debs")
        shared = (REPO / "lock/targets.toml").read_text().split("[targets.")[0].split("[rebase")[0]
        lib = '\n[targets.demo.components.lib]\ndistribution = "lib"\npaths = { "lib/" = "" }\n'
        demo = TARGET + lib
        other = demo.replace("targets.demo", "targets.other").replace('series = "demo"', 'series = "other"')
        text = shared.replace('default = "v0.32"', 'default = "demo"') + demo + other
        (self.repo / "lock/targets.toml").write_text(text)
        self.two = edit(ONE, (b"line 10\n", b"line ten\n"), (b"line 30\n", b"line thirty\n"))
        self.three = edit(self.two, (b"line 20\n", b"line twenty\n"), (b"line 31\n", b"line 31\nand a half\n"))
        self.patch("demo", "app/0001-one.patch", header(1) + hunk("src/app/one.py", ONE, self.two))
        self.patch("demo", "lib/0001-lib.patch", header(2) + hunk("lib/lib.py", LIB["lib/lib.py"], self.lib))
        self.patch("demo", "app/0002-two.patch", header(3) + hunk("src/app/one.py", self.two, self.three))
        self.patch("demo", "app/0003-new.patch", header(4) + CREATION)
        self.list("demo", "app/0001-one.patch", "lib/0001-lib.patch", "app/0002-two.patch", "app/0003-new.patch")
        self.list("other", "demo/app/0001-one.patch")
        self.lock("demo")
        self.lock("other")

    @property
    def lib(self):
        return edit(LIB["lib/lib.py"], (b"lib 5\n", b"LIB 5\n"))

    def patch(self, name, entry, data):
        path = self.repo / "patches" / name / entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def list(self, name, *entries):
        (self.repo / "patches" / name).mkdir(parents=True, exist_ok=True)
        (self.repo / "patches" / name / "series").write_text("".join(f"{entry}  # why\n" for entry in entries))

    def lock(self, name):
        """Lock as `nox -s lock` would, but for what has nothing to do with patches."""
        intent = read_intent(self.repo)
        found = series.read(self.repo, name, ("app", "lib"))
        components = [self.component("app", FILES), self.component("lib", LIB)]
        wheel = Wheel(name="app", version="1.0", file="app-1.0-py3-none-any.whl", sha256="0" * 64, size=1)
        lock = Lock(
            target=name, intent=target_checksum(intent, name), epoch=1_790_000_000, python="3.13",
            platform="aarch64-manylinux_2_39", tools=(), wheels=(wheel,), patches=found.refs, components=(),
        )  # fmt: skip
        for number, component in enumerate(components):
            state = Overlay(tree=sourcetree.ensure(self.settings, component))
            before = state
            for step in walk(state.tree, found.of(component.name), {}):
                state = step.before.after(step.edits)
            changed = {path: content(file) for path, file in state.changed.items()}
            ids = treehash.tree_ids(before.tree, changed)
            components[number] = replace(component, tree=ids[0], patched_tree=ids[1])
        lockfile.write_lock(self.repo, replace(lock, components=tuple(components)))

    def component(self, name, files):
        data = archive(files)
        digest = hashlib.sha256(data).hexdigest()
        path = store.blob(self.settings.store, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        source = SourceArchive(name=name, version="1.0", file=f"{name}-1.0.tar.gz", sha256=digest, size=len(data))
        return Component(name=name, distribution=name, paths=(("src/", ""),), archive=source, git=None, files=())

    def run(self, *, json=False, **asked):
        """`nox -s patch` with these options; what it printed."""
        given = {"target": None, "source": "archive", "check": False, "edit": None, "refresh": False, "output": None}
        given |= asked
        self.capsys.readouterr()
        assert patch.run(argparse.Namespace(**given), replace(self.settings, json=json)) == 0
        return self.capsys.readouterr().out

    def edit(self, number, **asked):
        self.run(edit=number, **asked)
        (folder,) = (self.repo / "out/edit" / asked.get("target", "demo")).iterdir()
        return folder

    def refresh(self, **asked):
        return self.run(refresh=True, **asked)

    def patches(self):
        return {
            str(path.relative_to(self.repo)): path.read_bytes()
            for path in (self.repo / "patches").rglob("*")
            if path.is_file()
        }

    def after(self, component="app", name="demo"):
        """What the series makes of the component's files."""
        tree = next(item for item in lockfile.read_lock(self.repo, name).components if item.name == component)
        state = Overlay(tree=sourcetree.ensure(self.settings, tree))
        for step in walk(state.tree, series.read(self.repo, name, ("app", "lib")).of(component), {}):
            state = step.before.after(step.edits)
        return {path: content(file) for path, file in state.changed.items()}


CREATION = (
    b"diff --git a/src/app/new.py b/src/app/new.py\nnew file mode 100644\nindex 0000000..89abcde\n"
    b"--- /dev/null\n+++ b/src/app/new.py\n@@ -0,0 +1,2 @@\n+x = 1\n+y = 2\n-- \n2.39.5\n\n"
)


def write(folder, path, data):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


def stamps(bench):
    return {path: os.stat(bench.repo / path).st_mtime_ns for path in bench.patches()}


def refused(bench, *parts, kind=PatchError, **asked):
    """The refresh ends with this error and nothing is written."""
    before = bench.patches(), stamps(bench)
    with pytest.raises(kind) as caught:
        bench.run(**(asked or {"refresh": True}))
    for part in parts:
        assert part in str(caught.value), part
    assert (bench.patches(), stamps(bench)) == before
    return caught.value


def run_killed(bench, code):
    """Run code in another process, which kills itself; ``settings`` are the bench's."""
    lines = (
        "import os, pathlib, signal\nfrom build import desk, edittree, patchfiles, patchlayout, refreshing\n"
        "from build.models import Settings\n"
        f"settings = Settings(repo=pathlib.Path({str(bench.repo)!r}), store=pathlib.Path({str(bench.settings.store)!r}))\n"
        "def killed(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", lines + code], cwd=REPO, check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
