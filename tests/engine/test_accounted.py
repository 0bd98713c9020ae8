"""Real images: each file of theirs has an owner and its owner's bytes; one that a step planted has none."""

import pytest

from build import accounted, compared, named, steps
from build.claims import KINDS
from build.errors import ImageNotFoundError
from build.models import Settings
from build.settings import REPO, default_store
from tests.engine.test_build import build, built, clone

__all__ = ["built", "clone"]  # fixtures

BEFORE = "    settle(entries() - before)\n"
PLANTED = """\
    (site_packages(python) / "evil.pth").write_text("import evil\\n", encoding="utf-8")
    (Path("/usr/bin") / "evil").write_text("#!/bin/sh\\n", encoding="utf-8")
    settle(entries() - before)
"""


def account(target, word=None):
    settings = Settings(repo=REPO, store=default_store())
    job = steps.load(settings, target)
    with compared.opened(settings, word or target) as image:
        return accounted.account(image, named.anchored(job, named.named(job)))


def test_all_of_a_built_image_is_explained(built):
    found = account("tiny")
    assert (found.unexplained, found.missing) == ((), ())
    assert found.lists == found.packages > 70, "and every list is its locked package's"
    assert all(found.shares[kind].files for kind in KINDS if kind != "compiled by us")


def test_what_a_step_planted_is_not(clone, tmp_path):
    script = clone / "dockerfiles/lane/ours.py"
    assert script.read_text().count(BEFORE) == 1
    script.write_text(script.read_text().replace(BEFORE, PLANTED))
    done = build("--output", f"type=oci,dest={tmp_path / 'x.tar'}", repo=clone)
    assert done.status == 0, done.err
    found = account("tiny", str(tmp_path / "x.tar"))
    assert {path.rpartition("/")[2]: reason for _, path, reason in found.unexplained} == {
        "evil": "a file that nobody lists",
        "evil.pth": "a file that nobody lists",
        "manifest.json": "it does not say what the lock's image says of itself",  # the chain id is the clone's
    }


@pytest.mark.slow
@pytest.mark.parametrize("target", ["canary", "v0.22", "v0.32"])
def test_all_of_an_image_that_is_there_is_explained(target):
    try:
        found = account(target)
    except ImageNotFoundError as error:
        pytest.skip(str(error))
    assert (found.unexplained, found.missing) == ((), ())
    assert found.lists == found.packages
