"""`nox -s diff` for real: a step that is not deterministic, planted in a clone, is found and named to the line."""

import json

import pytest

from build.settings import REPO
from tests.engine.test_build import build, built, clone, verb

__all__ = ["built", "clone"]  # fixtures

BEFORE = "    settle(entries() - before)\n"
PACKED = "compression=zstd,force-compression=true"  # as the engine's own images are
PLANTED = """\
    import time

    (SPARK / "built.txt").write_text(f"built at {time.time_ns()}\\n", encoding="utf-8")
    settle(entries() - before)
"""


def export(path, **more):
    done = build("--output", f"type=oci,dest={path},{PACKED}", **more)
    assert done.status == 0, done.err
    return path


@pytest.fixture
def planted(clone, tmp_path):
    """The clone's ours.py writes the time into a file; gives a function that builds it into an OCI layout's tar."""
    script = clone / "dockerfiles/lane/ours.py"
    assert script.read_text().count(BEFORE) == 1
    script.write_text(script.read_text().replace(BEFORE, PLANTED))
    return lambda name: export(tmp_path / name, repo=clone)


def test_an_exported_image_is_the_engine_s(built, tmp_path):
    done = verb("diff", "tiny", str(export(tmp_path / "tiny.tar")), "--json")
    assert done.status == 0, done.err
    assert done.json["same"]
    assert done.json["b"]["layers"] == done.json["a"]["layers"]
    assert verb("diff", "tiny", built["digest"], "--json").json["verdict"] == "the same, to the byte"


def test_another_engine_s_image_is_read_by_its_export(built, tmp_path):
    """The private engine, asked as if it were the user's: its store is not looked into."""
    done = verb("diff", "tiny", str(export(tmp_path / "tiny.tar")), "--json", DOCKER_HOST=built["engine"])
    assert done.status == 0, done.err
    assert "export sha256:" in done.err
    assert done.json["b"]["layers"] == done.json["a"]["layers"]


def test_a_file_that_was_added_is_named(built, planted, tmp_path):
    done = verb("diff", "tiny", str(planted("b.tar")), "--output", str(tmp_path / "out"), "--json")
    assert done.status == 53, done.err
    layers = {layer["b"]["name"]: layer for layer in done.json["layers"]}
    assert set(layers) == {"ours", "manifest"}, "the chain id, and what was planted"
    (package,) = layers["ours"]["packages"]
    assert (package["name"], [file["path"] for file in package["files"]]) == ("ours", ["opt/spark/built.txt"])
    assert "config.Labels.spark-runtime.chain-id" in [fact["name"] for fact in done.json["config"]]


def test_a_clock_in_a_file_is_named_to_the_line(planted, clone, tmp_path):
    first = planted("a.tar")
    assert (
        build("--no-cache", "--output", f"type=oci,dest={tmp_path / 'b.tar'},compression=gzip", repo=clone).status == 0
    )
    arguments = ("diff", str(first), str(tmp_path / "b.tar"), "--output", str(tmp_path / "out"))
    done = verb(*arguments)
    assert done.status == 53, done.err
    assert "1 of 5 layers differs: 1 package, 1 file: content" in done.out
    assert "layer 3 (ours)" in done.out
    assert "opt/spark/built.txt: content" in done.out
    assert "-built at 17" in done.out
    assert "+built at 17" in done.out
    (report,) = (tmp_path / "out").glob("*/diffoscope-01-*.txt")
    assert "+++ B: opt/spark/built.txt" in report.read_text()
    told = json.loads(next((tmp_path / "out").glob("*/report.json")).read_text())
    assert told["recompressed"], "the second one is gzip: that is said, and is no difference"


def test_bytes_to_pull_are_the_layers_that_changed(built, planted):
    told = verb("diff", "tiny", str(planted("b.tar")), "--bytes", "--json").json
    assert [part["name"] for part in told["parts"] if part["new"]] == ["ours", "manifest"]
    assert told["new"] < 100_000 < told["total"]


def test_an_image_that_is_nowhere_is_named():
    done = verb("diff", "tiny", "no-such-image:1", "--offline", repo=REPO)
    assert done.status == 61, done.err
    assert "no-such-image:1" in done.err
