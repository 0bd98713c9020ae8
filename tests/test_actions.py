"""GitHub Actions: only at the locked commit, with the tag beside it."""

import pytest

from build import actions, lockform
from build.errors import LockError

COMMIT = "8e5e7e5ab8b370d6c329ec480221332ada57f0ab"
WANTED = {"actions/checkout": "v5.0.0"}


@pytest.fixture
def repo(tmp_path):
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    found = actions.resolve(WANTED, lambda url, tag: COMMIT)
    lockform.write(tmp_path / actions.FILE, actions.text(WANTED, found))
    return tmp_path


def workflow(repo, *lines):
    text = "jobs:\n  x:\n    steps:\n" + "".join(f"      - {line}\n" for line in lines)
    (repo / ".github" / "workflows" / "test.yml").write_text(text)


def test_the_locked_commit_with_its_tag_is_right(repo):
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0", "run: make", "uses: ./.github/actions/own")
    assert list(actions.faults(repo, WANTED)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("uses: actions/checkout@v5", f"write @{COMMIT}  # v5.0.0"),
        ("uses: actions/checkout@main", "used at 'main'"),
        (f"uses: actions/checkout@{'0' * 40}  # v5.0.0", "used at 000000000000, locked is 8e5e7e5ab8b3 (v5.0.0)"),
        (f"uses: actions/checkout@{COMMIT}", "should be the tag, v5.0.0"),
        (f"uses: actions/checkout@{COMMIT}  # v4", "should be the tag, v5.0.0"),
    ],
)
def test_a_use_that_differs_from_the_lock_is_named_with_its_place(repo, line, said):
    workflow(repo, line)
    (found,) = actions.faults(repo, WANTED)
    assert found.startswith(".github/workflows/test.yml:4: ")
    assert said in found


def test_an_action_that_nobody_locked_is_named(repo):
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0", 'uses: "docker/login-action/sub@v3"')
    (found,) = actions.faults(repo, WANTED)
    assert "docker/login-action/sub is not in [actions]" in found


@pytest.mark.parametrize(
    "line", ["{uses: x/y@v1}", '"uses": x/y@v1', "uses : x/y@v1", "uses:", "name: x, uses: y/z@v1"]
)
def test_what_is_not_understood_is_a_finding(repo, line):
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0", line)
    assert len(list(actions.faults(repo, WANTED))) == 1


@pytest.mark.parametrize("line", ["container: alpine:3", "image: alpine:3", '"image": alpine'])
def test_a_container_needs_its_digest(repo, line):
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0", line)
    (found,) = actions.faults(repo, WANTED)
    assert "without a digest" in found


def test_an_image_needs_its_digest(repo):
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0", "uses: docker://alpine:3")
    (found,) = actions.faults(repo, WANTED)
    assert "an image without a digest" in found
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0", f"uses: docker://alpine@sha256:{'a' * 64}")
    assert list(actions.faults(repo, WANTED)) == []


def test_an_action_that_no_workflow_uses_is_named(repo):
    workflow(repo, "run: make")
    assert list(actions.faults(repo, WANTED)) == ["[actions] of lock/targets.toml: no workflow uses actions/checkout"]


def test_a_stale_or_edited_lock_is_seen(repo):
    workflow(repo, f"uses: actions/checkout@{COMMIT}  # v5.0.0")
    assert any("stale" in text for text in actions.faults(repo, {"actions/checkout": "v6"}))
    path = repo / actions.FILE
    path.write_text(path.read_text().replace(COMMIT, "1" * 40))
    with pytest.raises(LockError, match="edited by hand"):
        list(actions.faults(repo, WANTED))
    assert not actions.is_fresh(repo, WANTED)


def test_where_nothing_is_used_no_lock_is_needed(tmp_path):
    (tmp_path / ".github").mkdir()
    assert list(actions.faults(tmp_path, {})) == []
