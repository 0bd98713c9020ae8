"""Trees of the releases, and a way to ask their behaviours."""

import pytest

from build import behaviours, torchenv
from build.behaviours import Question, Staged, staged
from build.models import Settings
from build.settings import REPO
from tests.patches import releases


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """Target → component → its tree as released."""
    folder = tmp_path_factory.mktemp("releases")
    return lambda target: {
        name: releases.unpacked(target, name, folder) for name in releases.components(target)
    }  # fmt: skip


@pytest.fixture
def ask(trees, tmp_path, monkeypatch):
    """Ask behaviours of variants of a target: name → (component → path → content) gives name → behaviour → answer."""
    monkeypatch.setattr(torchenv, "ensure", lambda _: releases.python())

    def asked(target, variants, names):
        questions = []
        for number, (name, changed) in enumerate(variants.items()):
            components = []
            for component, tree in trees(target).items():
                paths = releases.components(target)[component].paths
                files = changed.get(component, {})
                overlay = tmp_path / str(number) / component
                components.append(staged(tree, paths, files, overlay) if files else Staged(tree=tree, paths=paths))
            questions.append(Question(id=name, components=tuple(components), behaviours=tuple(names)))
        return behaviours.ask(Settings(repo=REPO, store=tmp_path / "store"), questions)

    return asked
