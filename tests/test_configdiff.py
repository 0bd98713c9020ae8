"""Configs compared in what counts, and what does not count said."""

from build import configdiff
from build.imagediff import EQUIVALENT, SAME, ImageDiff
from build.ociimage import Image
from build.ocisource import Folder


def image(config=None, manifest="m", **more):
    config = {"os": "linux", "rootfs": {"type": "layers", "diff_ids": ["1"]}, **(config or {})}
    return Image(
        name="x", manifest=manifest, config=config, layers=(), source=Folder("."), config_digest=str(config), **more
    )


def test_config_is_compared_in_what_counts():
    a = image({"config": {"Env": ["A=1"], "Labels": {"k": "v", "same": "s"}}, "history": [1], "moby.buildkit": 1})
    b = image(
        {
            "config": {"Env": ["A=2"], "Labels": {"same": "s"}},
            "history": [2],
            "rootfs": {"type": "layers", "diff_ids": ["2"]},
        }
    )
    assert [(fact.name, fact.a, fact.b) for fact in configdiff.configs(a, b)] == [
        ("config.Env", '["A=1"]', '["A=2"]'),
        ("config.Labels.k", '"v"', ""),
    ]


def test_history_and_annotations_do_not_count_and_are_said():
    a, b = image({"history": [1], "moby.x": 1}), image({"history": [2]}, annotations={"k": "v"})
    assert configdiff.configs(a, b) == ()
    assert configdiff.forms(a, b) == ("config: history, moby.x", "annotations of the manifest: k")
    assert ImageDiff(a=a, b=b, form=configdiff.forms(a, b)).verdict == EQUIVALENT


def test_the_same_in_other_bytes_is_said():
    assert configdiff.forms(image(), image(manifest="n")) == ("manifest: media types, or the same JSON in other bytes",)
    assert ImageDiff(a=image(), b=image()).verdict == SAME
