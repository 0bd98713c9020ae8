"""`build --ccache`: when it is taken, when it is kept, and that it ends no build. The real thing: tests/engine/."""

import json
import os
import re
import sys

import pytest

from build import ccachetar, compilecache, nativebuild, recipe, steps
from build.errors import CompileError, SpaceError
from build.models import Settings
from build.settings import REPO, default_store

# In place of buildx: notes each call, answers as the steps would by a cache mount that is a folder, or fails.
BUILDX = """\
import json, os, subprocess, sys
from pathlib import Path
here, argv = Path(sys.argv[1]), sys.argv[2:]
with open(here / "calls", "a") as log:
    print(json.dumps(argv), file=log)
if (here / "broken").exists():
    sys.exit("ERROR: failed to solve: it is broken")
if argv[0] == "build":
    values = dict(argv[n + 1].split("=", 1) for n, word in enumerate(argv) if word == "--build-arg")
    dest = argv[argv.index("--output") + 1].partition("dest=")[2].strip('"')
    context = Path(argv[-1])
    text = (context / "ccachetar.py").read_text()
    places = {"/mnt/ccache": here / "mount", "/mnt/seed": context.parent / "seed", "/out": Path(dest or "/none") / "out"}
    for name, place in places.items():
        text = text.replace(f'"{name}"', repr(str(place)))
    done = subprocess.run([sys.executable, "-c", text], env=values, capture_output=True, text=True, check=True)
    print("#7 0.123", done.stdout, end="", file=sys.stderr)
if argv[0] == "du":
    print((here / "du").read_text())
"""
DU = f"""\
ID:		aaa
Size:		1kB
Description:	{compilecache.LEFT[0]}

ID:		bbb
Description:	[builder 1/1] ADD builder.tar /

ID:		ccc
Description:	{compilecache.LEFT[1]}

ID:		ddd
Description:	cached mount /mnt/ccache from exec /mnt/builder/ld.so with id "/ccache-0"
"""


class Bench:
    def __init__(self, folder, capsys):
        self.folder, self.capsys, self.dir = folder, capsys, folder / "dir"
        (folder / "mount").mkdir()
        (folder / "du").write_text("")
        (folder / "builder.tar").write_bytes(b"")
        (folder / "buildx.py").write_text(BUILDX)
        self.place = compilecache.Place(
            mount="ccache-0", folder=self.dir, buildx=[sys.executable, str(folder / "buildx.py"), str(folder)], env={},
            builder=None, root=folder / "builder.tar", context=folder / "context",
        )  # fmt: skip

    def compiles(self, name, time):
        """An object comes into the mount."""
        path = self.folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, (time, time))

    def run(self, build=lambda: None):
        (self.folder / "calls").unlink(missing_ok=True)
        self.capsys.readouterr()
        with compilecache.carried(self.place):
            build()
        return self.capsys.readouterr().err

    def calls(self, verb="build"):
        return [call for call in map(json.loads, (self.folder / "calls").read_text().splitlines()) if call[0] == verb]

    def done(self):
        """What the steps did, in order."""
        return [next(word[3:] for word in call if word.startswith("DO=")) for call in self.calls()]

    def held(self):
        return [member.name for member in ccachetar.listed(self.place.tar)]

    def break_(self):
        (self.folder / "broken").touch()


@pytest.fixture
def bench(tmp_path, capsys):
    return Bench(tmp_path, capsys)


def test_it_is_the_very_mount_that_the_compiling_step_has():
    job = steps.load(Settings(repo=REPO, store=default_store()), "canary")
    mount = nativebuild.page(job).cache
    said = re.compile(r"--mount=(type=cache,\S+)")
    theirs = set(said.findall(recipe.dockerfile(job, chain="")))
    assert theirs == set(said.findall(compilecache.DOCKERFILE.format(mount=mount)))
    assert theirs == {f"type=cache,id={mount},target=/mnt/ccache"}, "user and mode would make another one of it"


def test_what_was_compiled_is_kept_and_comes_into_an_empty_engine(bench, tmp_path):
    said = bench.run(lambda: bench.compiles("a/b/1R", 100))
    assert f"no compile cache of these compilers is in {bench.dir} yet" in said
    assert f"the compile cache is in {bench.place.tar}: 1 files" in said
    assert bench.done() == ["give"]
    assert [path.name for path in bench.dir.iterdir()] == ["ccache-0.tar"]
    (tmp_path / "mount/a/b/1R").unlink()
    said = bench.run((tmp_path / "mount/a/b/1R").read_bytes)
    assert "take the compile cache" in said
    assert bench.done() == ["look", "take", "give"]
    assert f"{bench.place.tar} is the engine's compile cache" in said


def test_an_engine_whose_cache_is_as_new_takes_nothing(bench):
    bench.run(lambda: bench.compiles("a/b/1R", 100))
    before = bench.place.tar.stat().st_ino
    said = bench.run()
    assert "as new as the one in" in said
    assert bench.done() == ["look", "give"]
    assert bench.place.tar.stat().st_ino == before, "it is not written anew"


def test_an_older_one_gets_what_it_lacks(bench, tmp_path):
    bench.run(lambda: bench.compiles("a/b/1R", 100))
    (tmp_path / "mount/a/b/1R").unlink()
    bench.compiles("c/d/2R", 50)
    bench.run()
    assert bench.done() == ["look", "take", "give"]
    assert bench.held() == ["a/b/1R", "c/d/2R"]


def test_what_a_failed_build_compiled_is_kept(bench):
    def fail():
        bench.compiles("a/b/1R", 100)
        raise CompileError("b.cu does not compile")

    with pytest.raises(CompileError, match="b.cu"):
        bench.run(fail)
    assert bench.held() == ["a/b/1R"]


@pytest.mark.parametrize("error", [SpaceError("the disk is full"), KeyboardInterrupt()])
def test_a_full_disk_and_ctrl_c_keep_nothing(bench, error):
    def fail():
        bench.compiles("a/b/1R", 100)
        raise error

    with pytest.raises(type(error)):
        bench.run(fail)
    assert not bench.dir.exists()


def test_where_nothing_was_compiled_there_is_nothing_to_keep(bench):
    assert "nothing was compiled" in bench.run()
    assert list(bench.dir.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"something else", b"\0" * 100])
def test_a_damaged_tar_is_a_warning_and_is_replaced(bench, content):
    bench.dir.mkdir()
    bench.place.tar.write_bytes(content)
    said = bench.run(lambda: bench.compiles("a/b/1R", 100))
    assert f"warning: {bench.place.tar} is not used: " in said
    assert bench.done() == ["give"]
    assert bench.held() == ["a/b/1R"]


def test_other_things_in_the_folder_stay(bench):
    bench.dir.mkdir()
    for name in ("ccache-1.tar", "photo.jpg"):
        (bench.dir / name).write_bytes(b"x")
    bench.run(lambda: bench.compiles("a/b/1R", 100))
    assert {path.name for path in bench.dir.iterdir()} == {"ccache-0.tar", "ccache-1.tar", "photo.jpg"}


def test_a_folder_that_cannot_be_one_is_a_warning(bench):
    bench.dir.write_text("a file")
    said = bench.run(lambda: bench.compiles("a/b/1R", 100))
    assert f"warning: the compile cache is not kept in {bench.dir}: " in said


def test_a_buildkit_that_fails_is_a_warning_with_its_word(bench):
    bench.run(lambda: bench.compiles("a/b/1R", 100))
    bench.break_()
    said = bench.run()
    assert f"warning: nothing is taken from {bench.dir}: failed to solve: it is broken" in said
    assert f"warning: the compile cache is not kept in {bench.dir}: failed to solve: it is broken" in said
    assert bench.held() == ["a/b/1R"]
    assert list(bench.dir.iterdir()) == [bench.place.tar]


def test_a_step_that_says_nothing_is_a_warning(bench, tmp_path):
    (tmp_path / "buildx.py").write_text("")
    assert "said nothing" in bench.run()


def test_what_the_steps_leave_is_dropped_by_its_ids(bench, tmp_path):
    (tmp_path / "du").write_text(DU)
    bench.run()
    assert bench.calls("prune")[-1] == ["prune", "--force", "--filter", 'id="^(aaa|ccc)$"']
    assert not (tmp_path / "context/seed").exists()


def test_a_builder_that_was_named_is_asked_each_time(bench):
    place = bench.place
    bench.place = compilecache.Place(**{**vars(place), "builder": "farm"})
    bench.run()
    calls = [*bench.calls(), *bench.calls("du")]
    assert len(calls) == 3
    assert all(call[1:3] == ["--builder", "farm"] for call in calls)


def test_each_run_of_the_step_has_another_key(bench):
    bench.run()
    bench.run()
    nonce = [word for call in bench.calls() for word in call if word.startswith("NONCE=")]
    first = nonce[0]
    bench.run()
    assert first not in [word for call in bench.calls() for word in call]
    assert "ARG NONCE" in (bench.place.context / "main/Dockerfile").read_text()
