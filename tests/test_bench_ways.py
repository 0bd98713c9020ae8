"""The two ways that bench measures, as far as no engine is needed: the changed line, the usual Dockerfile."""

import hashlib
import shutil
from dataclasses import replace

import pytest

from build import buildx, contexts, ourway, series, store, toolwheels, usualway
from build.errors import HashMismatchError, OfflineError
from build.models import Engine, Settings
from build.settings import REPO
from tests import indexkit

TARGETS = {"tiny": ("jinja2",), "v0.32": ("vllm", "flashinfer")}


@pytest.mark.parametrize("target", TARGETS)
def test_lines_are_added_to_a_patch_again_and_again(tmp_path, target):
    patches = tmp_path / "patches"
    shutil.copytree(REPO / "patches", patches)
    before = series.read(tmp_path, target, TARGETS[target])
    ref = before.of(before.patches[0].ref.component)[-1].ref
    path = patches / ref.series / ref.component / ref.file
    lines = path.read_text().splitlines()
    for token in ("1", "2"):
        ourway.add_line(patches, ref, ourway.COMMENT.format(token))
    after = series.read(tmp_path, target, TARGETS[target])
    assert [patch.ref.file for patch in after.patches] == [patch.ref.file for patch in before.patches]
    added = {f"+# changed by nox -s bench: {token}" for token in ("1", "2")}
    heads = [line for line in path.read_text().splitlines() if line not in (*lines, *added)]
    assert len(heads) == 1, "one hunk's line counts"
    assert heads[0].startswith("@@ ")
    assert added <= set(path.read_text().splitlines())


def test_the_clock_is_above_the_install_and_the_patches_below_it():
    for installer, command in usualway.INSTALLERS.items():
        lines = usualway.dockerfile(installer, "3.13").splitlines()
        where = {line.split()[0]: number for number, line in enumerate(lines) if line[:1].isupper()}
        assert where["ADD"] < where["ARG"] < where["RUN"] < where["COPY"]
        assert f"    python3 -m venv --without-pip /opt/venv && {command}" in lines
        assert "--no-index" in command
        assert "COPY patched/ /opt/venv/lib/python3.13/site-packages/" in lines


def request(folder):
    return buildx.Request(
        context=folder / "main", named=(), epoch=7, output="o", metadata=folder / "m", log=folder / "log"
    )


def test_the_clock_and_the_stage_reach_buildkit(tmp_path):
    argv = buildx.arguments(replace(request(tmp_path), values=(("CACHEBUST", "17"),), stage=usualway.BASE))
    assert argv[argv.index("CACHEBUST=17") - 1] == "--build-arg"
    assert argv[argv.index("--target") + 1] == "base"
    assert "--target" not in buildx.arguments(request(tmp_path))


def test_each_change_is_one_line_more_and_another_one(tmp_path):
    (tmp_path / "a.py").write_bytes(b"a = 1\n")
    (tmp_path / "b.so").write_bytes(b"\x7fELF")
    patched = {"pkg/a.py": tmp_path / "a.py", "lib/b.so": tmp_path / "b.so"}
    contexts.sync(tmp_path / "main" / "patched", patched)
    chosen = Engine(url="", private=True, version="")
    usual = usualway.Usual(job=None, chosen=chosen, request=request(tmp_path), patched=patched)
    made = tmp_path / "main" / "patched" / "pkg" / "a.py"
    for token in ("1", "2"):
        usual.change(token)
        assert made.read_text() == f"a = 1\n# changed by nox -s bench: {token}\n"
    assert (tmp_path / "a.py").read_bytes() == b"a = 1\n", "the kept file is not the one that is changed"
    assert (tmp_path / "main" / "patched" / "lib" / "b.so").read_bytes() == b"\x7fELF"


def test_new_layers_are_those_that_the_build_before_had_not():
    def made(seconds, *layers):
        return usualway.Made(clock="1", seconds=seconds, engine_cpu=0.0, layers=layers)

    first = made(9.0, ("a", 100), ("b", 50), ("c", 1))
    again = [made(3.0, ("a", 100), ("b", 50), ("d", 5)), made(1.0, ("a", 100), ("b", 50), ("e", 7)), first]
    told = usualway.measure("line", again, first)
    assert (told.seconds, told.new_bytes) == (3.0, 5)
    assert usualway.measure("cold", [first]).new_bytes == 151


@pytest.fixture
def job(tmp_path, monkeypatch):
    """What of a job pip's wheel is found with; the store and the lock have one, under its hash."""
    _, data, _ = indexkit.wheel("pip", "26.3", files={"pip/__main__.py": b"x = 1\n", "other/b.py": b""})
    sha256 = hashlib.sha256(data).hexdigest()
    made = store.blob(tmp_path, sha256)
    made.parent.mkdir(parents=True)
    made.write_bytes(data)
    tool = toolwheels.Tool(name="pip", version="26.3", marker="", hashes=frozenset({sha256, "0" * 64}))
    monkeypatch.setattr(toolwheels, "read", lambda _: (tool,))

    class Job:
        settings = Settings(repo=REPO, store=tmp_path, offline=True)

    return Job(), made


def test_pip_is_the_locked_one_and_comes_without_the_rest_of_its_wheel(job):
    assert usualway._pip(job[0]) == {"pip/__main__.py": b"x = 1\n"}


def test_a_damaged_wheel_of_pip_is_not_used(job):
    with open(job[1], "r+b") as stream:
        stream.seek(40)
        stream.write(b"\xff\xff")
    with pytest.raises(HashMismatchError):
        usualway._pip(job[0])


def test_offline_without_pip_is_an_error_that_names_the_way_out(job):
    job[1].unlink()
    with pytest.raises(OfflineError, match="pip's wheel is not in the store") as caught:
        usualway._pip(job[0])
    assert "--usual uv" in caught.value.todo
