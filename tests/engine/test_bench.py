"""bench for real, on the target tiny: both ways in one run, and everything as it was afterwards."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from build import assemble, dockerapi, images, ourway, private, series
from build.settings import REPO, default_store

ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"


def verb(*arguments, repo=REPO):
    done = subprocess.run(
        [sys.executable, "-m", "build", *arguments], cwd=repo, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in arguments else None


@pytest.fixture(scope="module", params=["uv", pytest.param("pip", marks=pytest.mark.slow)])
def told(request):
    before = verb("build", "--target", "tiny", "--json")
    return before, verb("bench", "--target", "tiny", "--usual", request.param, "--settle", "0", "--json")


def test_every_figure_is_there(told):
    measures = {item["name"]: item for item in told[1]["measures"]}
    assert list(measures) == [
        "cold build", "nothing to do, the steps", "nothing to do, with nox", "one-line change of a patch"
    ]  # fmt: skip
    assert [item["runs"] for item in measures.values()] == [1, 5, 5, 3]
    assert measures["cold build"]["new_bytes"] == sum(size for _, size in told[0]["layers"])
    assert measures["cold build"]["engine_cpu"] > 0
    assert 0 < measures["nothing to do, the steps"]["seconds"] < measures["nothing to do, with nox"]["seconds"]


def test_a_changed_line_costs_its_package_s_layer_and_record_is_a_part_of_it(told):
    line = next(item for item in told[1]["measures"] if item["name"] == "one-line change of a patch")
    last = [size for _, size in told[0]["layers"][-2:]]
    assert 0.9 * sum(last) < line["new_bytes"] < 1.1 * sum(last)
    assert 0 < line["record_bytes"] < line["new_bytes"]
    assert len(set(line["times"])) == 3


def test_the_usual_way_is_dearer_where_it_must_be(told):
    ratios = told[1]["ratios"]
    clock = ratios["one-line change, a clock above the install"]
    assert clock["seconds"] > 1
    assert clock["new_bytes"] > 1
    copied = ratios["one-line change, copied over the installed"]
    assert copied["new_bytes"] < 1, "it leaves RECORD as it was: that is what our bytes are for"
    assert ratios["nothing to do: our steps, and buildx"]["new_bytes"] is None
    assert told[1]["usual"]["cold build"]["new_bytes"] > 30_000_000, "the root file system and all wheels"


def test_only_one_way_gives_the_same_layers_twice(told):
    assert told[1]["same_layers_twice"] == {"ours": True, "usual": False}


def test_each_layer_is_compressed_once(tmp_path):
    """What a build adds to the engine's content is its new layers, as zstd, and records of its own."""
    content = private.places(default_store()).content / "sha256"
    first = verb("build", "--target", "tiny", "--json")
    for name in ("build", "dockerfiles", "lock", "patches"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (ref,) = series.read(REPO, "tiny", ("jinja2",)).refs
    ourway.add_line(tmp_path / "patches", ref, ourway.COMMENT.format(time.time_ns()))
    verb("lock", "--target", "tiny", "--offline", repo=tmp_path)
    before = set(os.listdir(content))
    try:
        made = verb("build", "--target", "tiny", "--json", repo=tmp_path)
        heads = {}
        for name in set(os.listdir(content)) - before:
            with open(content / name, "rb") as stream:
                heads[f"sha256:{name}"] = stream.read(len(ZSTD))
    finally:
        verb("build", "--target", "tiny", "--json")
    layers = {digest for digest, _ in made["layers"]} - {digest for digest, _ in first["layers"]}
    assert {digest for digest, head in heads.items() if head.startswith((ZSTD, GZIP))} == layers
    assert {heads[digest] for digest in layers} == {ZSTD}
    assert len(layers) == 2


def test_afterwards_the_image_is_the_unchanged_one_and_the_other_is_gone(told):
    before = told[0]
    known = assemble.read_built(default_store(), "tiny")
    assert known.digest == before["digest"]
    client = dockerapi.connect(before["engine"])
    try:
        assert images.facts(client, before["image"]).digest == before["digest"]
        assert images.facts(client, "spark-runtime-bench:tiny") is None
    finally:
        client.close()
    assert verb("build", "--target", "tiny", "--json")["built"] is False
