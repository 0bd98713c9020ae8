"""A repository with one target, an index that has what it needs, and the runs of `lock` there."""

import argparse
import io
import shutil
import tarfile
import tomllib

from build.commands import lock
from build.lockfile import read_lock
from build.models import Settings
from build.settings import REPO
from tests import indexkit

MODULE = b"def f():\n    return 1\n"
PINS = b"# what it needs\ndep==1.0\nother>=1\n"
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"
TARGET = """
[targets.demo]
lane = "wheel"
summary = "for this test"
version = "1.0"
series = "demo"
rootfs = "tiny"
python = "3.13"
platform = "aarch64-manylinux_2_39"
local-version = "spark"
gb10 = "unproven"
gb10-seen = ""
requirements = ["app==1.0"]
constraints = []
smoke = "tiny"

[targets.demo.components.app]
distribution = "app"
paths = { "src/" = "" }
requirement-files = ["requirements/run.txt"]
"""
HEADER = """\
Description: a change
Origin: vendor
Forwarded: no
Applied-Upstream: no
Last-Update: 2026-11-01
Behaviour-Test: constant

"""
CODE_PATCH = (
    HEADER
    + """\
diff --git a/src/app.py b/src/app.py
--- a/src/app.py
+++ b/src/app.py
@@ -1,2 +1,2 @@
 def f():
-    return 1
+    return 2
"""
)
PIN_PATCH = (
    HEADER
    + """\
diff --git a/requirements/run.txt b/requirements/run.txt
--- a/requirements/run.txt
+++ b/requirements/run.txt
@@ -1,3 +1,3 @@
 # what it needs
-dep==1.0
+dep==2.0
 other>=1
"""
)


def sdist(name, version, files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class World:
    """A repository with one target, an index that has what it needs, and the runs of `lock` there."""

    def __init__(self, folder, index, capsys):
        self.repo, self.index, self.capsys = folder / "repo", index, capsys
        self.settings = Settings(repo=self.repo, store=folder / "store")
        for name in ("lock/debs", "dockerfiles"):
            shutil.copytree(REPO / name, self.repo / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("python.in", "python.txt", "behaviours.in", "behaviours.txt", "behaviours-cpu.txt"):
            shutil.copy(REPO / "lock" / name, self.repo / "lock" / name)
        shared = (REPO / "lock" / "targets.toml").read_text().split("[actions]")[0]  # no workflow is here to use them
        self.intent = self.repo / "lock" / "targets.toml"
        self.intent.write_text(shared.replace('default = "v0.32"', 'default = "demo"') + TARGET)
        self.patch("0001-code.patch", CODE_PATCH)
        tool = tomllib.loads(shared)["tools"]["uv"]
        for machine in ("x86_64", "aarch64"):
            index.add("uv", tool, tags=f"py3-none-manylinux_2_17_{machine}")
        index.add("app", "1.0", requires=["dep==1.0", "other>=1"], files={"app.py": MODULE})
        for name in ("dep", "other"):
            index.add(name, "1.0", uploaded=EARLY)
        self.archive()

    def archive(self, **files):
        data = sdist("app", "1.0", {"src/app.py": MODULE, "requirements/run.txt": PINS, **files})
        kept = indexkit.File(name="app-1.0.tar.gz", data=data, uploaded=EARLY, metadata=b"")
        self.index.files["app"] = [item for item in self.index.files["app"] if item.name != kept.name] + [kept]

    def patch(self, name, text):
        folder = self.repo / "patches" / "demo"
        (folder / "app").mkdir(parents=True, exist_ok=True)
        (folder / "app" / name).write_text(text)
        listed = sorted(path.name for path in (folder / "app").iterdir())
        (folder / "series").write_text("".join(f"app/{item}\n" for item in listed))

    def edit(self, old, new):
        text = self.intent.read_text()
        assert old in text
        self.intent.write_text(text.replace(old, new))

    def lock(self, **asked):
        given = {"target": None, "upgrade": None, "as_of": None, "check": False, "dry_run": False, **asked}
        assert lock.run(argparse.Namespace(**given), self.settings) == 0
        return self.capsys.readouterr()

    def files(self):
        return {str(path.relative_to(self.repo)): path.read_bytes() for path in self.repo.rglob("*") if path.is_file()}

    def versions(self):
        return {wheel.name: wheel.version for wheel in read_lock(self.repo, "demo").wheels}
