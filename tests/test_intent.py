"""The intent: what is there is valid, and every fault of a bad file is told with its place."""

import shutil

import pytest

from build.errors import IntentError, UnknownTargetError
from build.intent import FILE, read_intent, target_checksum
from build.settings import REPO


@pytest.fixture
def copy(tmp_path):
    """A copy of the real file, and a way to change it."""
    (tmp_path / "lock").mkdir()
    shutil.copy(REPO / FILE, tmp_path / FILE)

    def change(old: str, new: str, count: int = 1):
        text = (tmp_path / FILE).read_text()
        assert old in text
        (tmp_path / FILE).write_text(text.replace(old, new, count))
        return tmp_path

    return change


def test_the_real_intent_is_sound():
    intent = read_intent(REPO)
    assert intent.target(None)[0] == "v0.32"
    assert {"v0.32", "v0.22", "tiny"} <= set(intent.targets)
    assert intent.layers[-2].takes("anything-else")


def test_an_unknown_target_is_answered_with_the_nearest():
    with pytest.raises(UnknownTargetError, match=r"v0\.33") as caught:
        read_intent(REPO).target("v0.33")
    assert "v0.32" in caught.value.todo
    assert "tiny" in caught.value.why


def test_all_faults_are_told_at_once_with_their_place(copy):
    copy('lane = "wheel" ', 'lane = "weel" ')
    copy("[tools]\n", "[tools]\nuvv = 1\n")
    repo = copy('summary = "vLLM 0.22.0, the nearest release to the seed\'s commit"\n', "")
    with pytest.raises(IntentError, match="3 faults") as caught:
        read_intent(repo)
    for said in ("targets.v0.32.lane", "'weel'", "tools.uvv: unknown key", "targets.v0.22.summary: missing key"):
        assert said in caught.value.why


def test_contradictions_are_faults(copy):
    copy('default = "v0.32"', 'default = "v0.99"')
    repo = copy('rootfs = "tiny"', 'rootfs = "gone"')
    with pytest.raises(IntentError) as caught:
        read_intent(repo)
    assert "v0.99" in caught.value.why
    assert "rootfs.gone" in caught.value.why


def test_every_target_that_patches_vllm_is_shown_on_its_own_release(copy):
    """Else the matrix would say that 0 of 0 patches hold there, and be content."""
    repo = copy('releases = ["0.21.0", "0.22.0", ', 'releases = ["0.21.0", ')
    with pytest.raises(IntentError) as caught:
        read_intent(repo)
    assert caught.value.why.splitlines()[0] == (
        "rebase.releases: the target v0.22 is made for 0.22.0, which is not among them"
    )


def test_a_tree_to_carry_to_that_cannot_be_meant(copy):
    with pytest.raises(IntentError, match="has a fault") as caught:
        read_intent(copy('like = "v0.22" ', 'like = "tiny" '))
    assert caught.value.why == "rebase.trees.g27.like: the target tiny has no component 'vllm'"
    copy('like = "tiny" ', 'like = "v0.99" ')
    copy("https://github.com/jasl/vllm", "https://me:secret@git.example/x")
    repo = copy("[rebase.trees.g27]", '[rebase.trees."v0.21.0"]')
    with pytest.raises(IntentError, match="3 faults") as caught:
        read_intent(repo)
    assert "rebase.trees.v0.21.0.like: there is no target 'v0.99'" in caught.value.why
    assert "rebase.trees.v0.21.0: a release is called so" in caught.value.why
    assert "rebase.trees.v0.21.0: a URL here is public" in caught.value.why
    assert "secret" not in str(caught.value)


def test_text_that_is_no_toml_is_told_with_its_line(copy):
    with pytest.raises(IntentError, match="not TOML") as caught:
        read_intent(copy("schema = 1", "schema = = 1"))
    assert "line" in caught.value.why


def test_no_file_is_told(tmp_path):
    with pytest.raises(IntentError, match="not there"):
        read_intent(tmp_path)


def test_what_only_describes_a_target_does_not_make_its_lock_stale(copy):
    before = target_checksum(read_intent(REPO), "v0.32")
    described = copy('gb10 = "unproven"', 'gb10 = "reported"')
    assert target_checksum(read_intent(described), "v0.32") == before
    changed = copy('"nvidia-nvjitlink==13.0.88"', '"nvidia-nvjitlink==13.0.89"')
    assert target_checksum(read_intent(changed), "v0.32") != before


def test_what_this_version_cannot_build_is_a_fault(copy):
    repo = copy('lane = "wheel" ', 'lane = "source" ')
    with pytest.raises(IntentError) as caught:
        read_intent(repo)
    assert "targets.v0.32.native: the lane 'source' needs this table" in caught.value.why


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "lock").mkdir()
    (tmp_path / FILE).write_bytes(b"schema = 1 # \xff")
    with pytest.raises(IntentError, match="not TOML"):
        read_intent(tmp_path)


@pytest.mark.parametrize("url", ["https://me:secret@git.example/x", "https://token@git.example/x", "ssh://me:pw@h/x"])
def test_a_remote_with_credentials_is_refused_without_showing_them(copy, url):
    with pytest.raises(IntentError) as caught:
        read_intent(copy("https://github.com/pallets/jinja", url))
    assert "targets.tiny.components.jinja2: a URL here is public" in caught.value.why
    assert "secret" not in str(caught.value)


def test_a_remote_with_a_user_for_ssh_is_not_a_secret(copy):
    read_intent(copy("https://github.com/pallets/jinja", "ssh://git@github.com/pallets/jinja"))


@pytest.mark.parametrize("pattern", ["/x", "../x", "a/./b", "a/**/b", "**", "a**", "a/b?", "a/[bc]", "a//b", "a/", ""])
def test_a_pattern_that_means_too_much_is_a_fault(copy, pattern):
    with pytest.raises(IntentError) as caught:
        read_intent(copy('path = "nccl/*/lib/cu12/*"', f'path = "{pattern}"'))
    assert "targets.v0.32.left-out." in caught.value.why
    assert "a path below site-packages" in caught.value.why


def test_one_pattern_or_several_may_have_a_reason(copy):
    tables = read_intent(copy('path = "nccl/*/lib/cu12/*"', 'path = ["a/*", "b/**"]')).targets["v0.32"].left_out
    assert ("a/*", "b/**") in [table.patterns for table in tables]
    assert ("nvidia/cu13/lib/libcusolverMg.so.12",) in [table.patterns for table in tables]
    with pytest.raises(IntentError):
        read_intent(copy('path = ["a/*", "b/**"]', "path = []"))
