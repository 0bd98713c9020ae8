"""Bytes to pull: layers by digest, manifest and config unless all is there."""

from build.pullcost import Pulled, cost

BASE = ("rootfs", "sha256:a", 100)


def test_layers_that_are_here_cost_nothing_wherever_they_lie():
    found = cost(
        Pulled(manifest="1", layers=(("x", "sha256:x", 1), BASE)),
        Pulled(manifest="2", layers=(BASE, ("new", "sha256:n", 7)), overhead=3),
    )
    assert [(part.number, part.name, part.new) for part in found.parts] == [(1, "rootfs", False), (2, "new", True)]
    assert (found.new, found.total) == (10, 110)


def test_the_same_manifest_costs_nothing():
    image = Pulled(manifest="1", layers=(BASE,), overhead=3)
    assert (cost(image, image).new, cost(image, image).total) == (0, 103)


def test_images_without_manifests_are_not_taken_for_one():
    image = Pulled(manifest="", layers=(BASE,), overhead=3)
    assert cost(image, image).new == 3
