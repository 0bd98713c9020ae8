"""A repository whose one target patches vLLM and FlashInfer (small ones), and an index with several releases of both."""

import argparse
import contextlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from build import torchenv
from build.commands import patch, rebase
from build.errors import BuildError
from build.settings import REPO
from tests import gitkit, indexkit, lockkit

HOME = "1.0"
ANSWER = (
    b"# the answer\n\n\ndef before():\n    return 0\n\n\ndef answer():\n    return 41\n\n\ndef after():\n    return 1\n"
)
FIXED = ANSWER.replace(b"41", b"42")
INTENT = """
[rebase]
releases = ["1.0", "1.1"]
requirement-file = "requirements/cuda.txt"

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
requirements = ["vllm==1.0", "flashinfer-python==0.1"]
constraints = []
smoke = "tiny"

[targets.demo.components.vllm]
distribution = "vllm"
paths = { "vllm/" = "vllm/" }

[targets.demo.components.flashinfer]
distribution = "flashinfer-python"
paths = { "flashinfer/" = "flashinfer/" }
"""
HEADER = lockkit.HEADER.replace("Behaviour-Test: constant", "Behaviour-Test: {}")
VLLM_PATCH = (
    HEADER.format("answer")
    + """\
diff --git a/vllm/answer.py b/vllm/answer.py
--- a/vllm/answer.py
+++ b/vllm/answer.py
@@ -6,7 +6,7 @@
{blank}
{blank}
 def answer():
-    return 41
+    return 42
{blank}
{blank}
 def after():
""".format(blank=" ")
)
FLASHINFER_PATCH = (
    HEADER.format("finger")
    + """\
diff --git a/flashinfer/finger.py b/flashinfer/finger.py
--- a/flashinfer/finger.py
+++ b/flashinfer/finger.py
@@ -1 +1 @@
-finger = 4
+finger = 5
"""
)
BEHAVIOURS = {
    "answer": """
from ..cases import Wrong, fixes, keeps
REAL = ("vllm.answer",)

@fixes
def it_is_42():
    from vllm.answer import answer
    if answer() != 42:
        raise Wrong(f"it is {answer()}")
    return "42"

@keeps
def the_rest_is_as_it_was():
    from vllm.answer import after
    if after() != 1:
        raise Wrong("after")
    return "after"

CASES = (it_is_42, the_rest_is_as_it_was)
""",
    "finger": """
from ..cases import Wrong, fixes
REAL = ("flashinfer.finger",)

@fixes
def there_are_five():
    from flashinfer.finger import finger
    if finger != 5:
        raise Wrong(f"{finger}")
    return "5"

CASES = (there_are_five,)
""",
}


class World(lockkit.World):
    """``release`` adds a release of vLLM; ``rebase`` runs the command."""

    def __init__(self, folder, index, capsys):
        super().__init__(folder, index, capsys)
        shared = self.intent.read_text().split("[targets.")[0]
        self.intent.write_text(shared + INTENT)
        shutil.rmtree(self.repo / "patches")
        (self.repo / "build").mkdir()
        shutil.copy(REPO / "build" / "stage.py", self.repo / "build")
        for name, text in BEHAVIOURS.items():
            (self.repo / "dockerfiles/image/checks/behaviours" / f"{name}.py").write_text(text)
        self.series({"vllm/0001.patch": VLLM_PATCH, "flashinfer/0001.patch": FLASHINFER_PATCH})
        self.release(HOME, ANSWER, "0.1")
        self.release("1.1", b"# one line more\n" + ANSWER, "0.2")
        for version, text in (("0.1", b"finger = 4\n"), ("0.2", b"finger = 5\n")):
            self.publish("flashinfer-python", version, {"flashinfer/finger.py": text}, {})

    def series(self, files):
        folder = self.repo / "patches" / "demo"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "series").write_text("".join(f"{name}\n" for name in files))

    def release(self, version, answer, flashinfer, **more):
        pins = f"torch==2.0\nflashinfer-python=={flashinfer}\n".encode()
        self.publish("vllm", version, {"vllm/answer.py": answer, **more}, {"requirements/cuda.txt": pins})

    def publish(self, name, version, installed, besides):
        self.index.add(name, version, files=installed)
        stem = f"{name.replace('-', '_')}-{version}"
        data = lockkit.sdist(name.replace("-", "_"), version, {**installed, **besides})
        kept = indexkit.File(name=f"{stem}.tar.gz", data=data, uploaded=lockkit.EARLY, metadata=b"")
        known = [item for item in self.index.files[name] if item.name != kept.name]
        self.index.files[name] = [*known, kept]

    def remote(self, folder, files):
        """A git repository of vLLM, with the tag v1.0, that the target names."""
        made = gitkit.repository(folder, files).tag("v1.0")
        self.edit('distribution = "vllm"', f'distribution = "vllm"\ngit = "{made.url}"\ntag = "v1.0"')
        self.lock()
        return made

    def written(self, name="demo-onto-v1.1"):
        """The folder of a carried series, and its files."""
        place = self.repo / "out/rebase" / name
        return place, {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    def rebase(self, *, as_json=False, offline=False, **asked):
        """Its exit status, and what it printed; the message of an error where it ended with one."""
        given = {"target": None, "onto": None, "matrix": False, "output": None, **asked}
        return self._run(rebase, as_json, given, offline=offline)

    def rebase_json(self, **asked):
        status, out, said = self.rebase(as_json=True, **asked)
        assert out, said
        return status, json.loads(out)

    def check(self, *, as_json=False):
        """`patch -- --check`, likewise."""
        given = {"target": None, "source": "archive", "edit": None, "refresh": False, "output": None, "check": True}
        return self._run(patch, as_json, given)

    def _run(self, command, as_json, given, *, offline=False):
        settings = replace(self.settings, json=as_json, offline=offline)
        try:
            status, message = command.run(argparse.Namespace(**given), settings), ""
        except BuildError as error:
            status, message = error.exit_code, str(error)
        out, err = self.capsys.readouterr()
        return status, out, message or err


@contextlib.contextmanager
def world(folder, monkeypatch, capsys):
    """A locked world, whose behaviours this very Python is asked."""
    monkeypatch.setattr(torchenv, "ensure", lambda _: Path(sys.executable))
    with indexkit.serve() as index:
        for name, value in indexkit.environment(index, folder).items():
            monkeypatch.setenv(name, value)
        made = World(folder, index, capsys)
        made.lock()
        yield made
