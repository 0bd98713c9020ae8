"""`nox -s lock` as a whole: real uv against an index on loopback, real git, real patches, a repository of its own."""

import argparse
import io
import json
import shutil
import tarfile
import tomllib

import pytest

from build import drafts, lockcheck, recipe, requireslock, steps
from build.commands import lock
from build.errors import (
    GoneCommitError,
    InconsistentLockError,
    IntentError,
    LockError,
    MovedTagError,
    NewerLockError,
    OfflineError,
    PatchError,
    ResolveError,
    UsageError,
)
from build.index import Environment
from build.intent import read_intent
from build.lockfile import read_lock
from build.models import Settings
from build.settings import REPO
from tests import gitkit, indexkit

MODULE = b"def f():\n    return 1\n"
PINS = b"# what it needs\ndep==1.0\nother>=1\n"
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"
TARGET = """
[targets.demo]
lane = "wheel"
summary = "for this test"
version = "1.0"
series = "demo"
rootfs = "tiny"
python = "3.13"
platform = "aarch64-manylinux_2_39"
local-version = "spark"
gb10 = "unproven"
gb10-seen = ""
requirements = ["app==1.0"]
constraints = []
smoke = "tiny"

[targets.demo.components.app]
distribution = "app"
paths = { "src/" = "" }
requirement-files = ["requirements/run.txt"]
"""
HEADER = """\
Description: a change
Origin: vendor
Forwarded: no
Applied-Upstream: no
Last-Update: 2026-11-01
Behaviour-Test: none needed

"""
CODE_PATCH = (
    HEADER
    + """\
diff --git a/src/app.py b/src/app.py
--- a/src/app.py
+++ b/src/app.py
@@ -1,2 +1,2 @@
 def f():
-    return 1
+    return 2
"""
)
PIN_PATCH = (
    HEADER
    + """\
diff --git a/requirements/run.txt b/requirements/run.txt
--- a/requirements/run.txt
+++ b/requirements/run.txt
@@ -1,3 +1,3 @@
 # what it needs
-dep==1.0
+dep==2.0
 other>=1
"""
)


def sdist(name, version, files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class World:
    """A repository with one target, an index that has what it needs, and the runs of `lock` there."""

    def __init__(self, folder, index, capsys):
        self.repo, self.index, self.capsys = folder / "repo", index, capsys
        self.settings = Settings(repo=self.repo, store=folder / "store")
        for name in ("lock/debs", "dockerfiles", ".github"):
            shutil.copytree(REPO / name, self.repo / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("python.in", "python.txt"):
            shutil.copy(REPO / "lock" / name, self.repo / "lock" / name)
        shared = (REPO / "lock" / "targets.toml").read_text().split("[targets.")[0]
        self.intent = self.repo / "lock" / "targets.toml"
        self.intent.write_text(shared.replace('default = "v0.32"', 'default = "demo"') + TARGET)
        self.patch("0001-code.patch", CODE_PATCH)
        tool = tomllib.loads(shared)["tools"]["uv"]
        for machine in ("x86_64", "aarch64"):
            index.add("uv", tool, tags=f"py3-none-manylinux_2_17_{machine}")
        index.add("app", "1.0", requires=["dep==1.0", "other>=1"], files={"app.py": MODULE})
        for name in ("dep", "other"):
            index.add(name, "1.0", uploaded=EARLY)
        self.archive()

    def archive(self, **files):
        data = sdist("app", "1.0", {"src/app.py": MODULE, "requirements/run.txt": PINS, **files})
        kept = indexkit.File(name="app-1.0.tar.gz", data=data, uploaded=EARLY, metadata=b"")
        self.index.files["app"] = [item for item in self.index.files["app"] if item.name != kept.name] + [kept]

    def patch(self, name, text):
        folder = self.repo / "patches" / "demo"
        (folder / "app").mkdir(parents=True, exist_ok=True)
        (folder / "app" / name).write_text(text)
        listed = sorted(path.name for path in (folder / "app").iterdir())
        (folder / "series").write_text("".join(f"app/{item}\n" for item in listed))

    def edit(self, old, new):
        text = self.intent.read_text()
        assert old in text
        self.intent.write_text(text.replace(old, new))

    def lock(self, **asked):
        given = {"target": None, "upgrade": None, "as_of": None, "check": False, "dry_run": False, **asked}
        assert lock.run(argparse.Namespace(**given), self.settings) == 0
        return self.capsys.readouterr()

    def files(self):
        return {str(path.relative_to(self.repo)): path.read_bytes() for path in self.repo.rglob("*") if path.is_file()}

    def versions(self):
        return {wheel.name: wheel.version for wheel in read_lock(self.repo, "demo").wheels}


@pytest.fixture
def world(tmp_path, monkeypatch, capsys):
    with indexkit.serve() as index:
        for name, value in indexkit.environment(index, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield World(tmp_path, index, capsys)


def test_a_lock_is_made_and_is_consistent(world):
    assert "demo: 3 packages" in world.lock().out
    locked = read_lock(world.repo, "demo")
    assert world.versions() == {"app": "1.0", "dep": "1.0", "other": "1.0"}
    assert [file.source for file in locked.components[0].files] == ["src/app.py"]
    assert locked.components[0].archive.file == "app-1.0.tar.gz"
    assert "fresh, whole and consistent: demo" in world.lock(check=True).out


def test_locking_twice_leaves_everything_unchanged(world):
    world.lock()
    before = world.files()
    world.index.add("dep", "1.1")
    world.index.add("other", "1.1")
    assert world.lock().out == "nothing changed\n"
    assert world.files() == before


def test_nothing_but_locks_is_written_and_no_host_is_in_them(world):
    before = world.files()
    world.lock()
    after = world.files()
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"lock/demo.toml", "lock/requires/demo.toml"}
    assert not any(b"127.0.0.1" in after[name] for name in changed)


def test_an_upgrade_of_one_package_moves_only_that(world):
    world.lock()
    world.index.add("other", "1.1")
    world.index.add("dep", "1.1")
    world.edit("app==1.0", 'app==1.0", "third')
    world.index.add("third", "1.0")
    world.lock()
    world.index.add("third", "2.0")
    out = world.lock(upgrade=["Third"]).out
    assert "third  1.0 → 2.0" in out
    assert "other  " not in out
    assert world.versions()["other"] == "1.0"


def test_an_upgrade_takes_what_the_intent_allows(world, monkeypatch):
    monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
    world.lock()
    world.index.add("other", "1.1")
    world.index.add("dep", "1.1")
    out = world.lock(upgrade=[]).out
    assert "other  1.0 → 1.1" in out
    assert "layers made anew: other" in out
    assert world.versions() == {"app": "1.0", "dep": "1.0", "other": "1.1"}


def test_a_package_that_nobody_locked_cannot_be_upgraded(world):
    world.lock()
    with pytest.raises(UsageError, match="'ohter'") as caught:
        world.lock(upgrade=["ohter"])
    assert caught.value.todo == "did you mean other?"


def test_a_dry_run_says_the_same_and_writes_nothing(world):
    world.lock()
    before = world.files()
    world.index.add("other", "1.1")
    out = world.lock(upgrade=["other"], dry_run=True).out
    assert "other  1.0 → 1.1" in out
    assert world.files() == before


def test_the_index_as_it_stood(world, monkeypatch):
    monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
    world.index.add("other", "1.1", uploaded=LATE)
    world.lock()
    assert world.versions()["other"] == "1.1"
    world.lock(as_of=lock.instant("2026-05-31"))
    assert world.versions()["other"] == "1.0"
    world.lock(as_of=lock.instant("2026-06-01"))
    assert world.versions()["other"] == "1.1"


def test_an_index_that_cannot_tell_when_is_refused(world):
    world.lock()
    before = world.files()
    world.index.tells_time = False
    with pytest.raises(ResolveError, match="time"):
        world.lock(as_of=lock.instant("2026-05-31"))
    assert world.files() == before


def test_a_time_to_come_cannot_be_meant(world):
    with pytest.raises(UsageError, match="yet to come"):
        world.lock(as_of=lock.instant("2999-01-01"))
    for text in ("yesterday", "20260901", "2026-W36", "9999-12-31", "2026-13-01", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="no date"):
            lock.instant(text)
    with pytest.raises(UsageError, match="looks nothing up"):
        world.lock(check=True, upgrade=[])


def test_a_patch_that_changes_a_pin_is_followed(world):
    world.lock()
    world.index.add("dep", "2.0")
    world.patch("0002-pin.patch", PIN_PATCH)
    out = world.lock().out
    assert "dep  1.0 → 2.0" in out
    (component,) = read_lock(world.repo, "demo").components
    assert [(item.before, item.after) for item in component.requires] == [("dep==1.0", "dep==2.0")]
    assert [(file.source, file.installed) for file in component.files] == [
        ("requirements/run.txt", ""),
        ("src/app.py", "app.py"),
    ]
    before = world.files()
    assert world.lock().out == "nothing changed\n"
    assert world.files() == before
    world.lock(check=True)


def test_a_requirement_that_a_patch_takes_out_is_not_installed(world):
    world.lock()
    gone = PIN_PATCH.replace("@@ -1,3 +1,3 @@", "@@ -1,3 +1,2 @@").replace("+dep==2.0\n", "")
    world.patch("0002-pin.patch", gone)
    assert "dep  1.0 → -" in world.lock().out
    assert world.versions() == {"app": "1.0", "other": "1.0"}
    before = world.files()
    assert world.lock().out == "nothing changed\n"
    assert world.files() == before
    world.lock(check=True)


def test_a_requirement_that_a_patch_adds_is_installed(world):
    world.index.add("more", "1.0")
    world.patch("0002-pin.patch", PIN_PATCH.replace("+1,3 @@", "+1,4 @@").replace("+dep==2.0\n", "+dep==1.0\n+more\n"))
    world.lock()
    assert world.versions()["more"] == "1.0"


def test_looser_requirements_of_the_same_wheels_are_written_anew(world):
    world.lock()
    path = world.repo / "lock" / "requires" / "demo.toml"
    old = path.read_bytes()
    world.patch("0002-pin.patch", PIN_PATCH.replace("+dep==2.0", "+dep>=1.0"))
    world.lock()
    assert path.read_bytes() != old
    path.write_bytes(old)
    with pytest.raises(LockError, match="stale"):
        world.lock(check=True)
    world.lock()
    assert path.read_bytes() != old


def test_the_epoch_is_the_releases(world):
    world.lock()
    assert read_lock(world.repo, "demo").epoch == int(lock.instant(EARLY).timestamp())


def test_a_pin_that_is_taken_back_is_followed_too(world):
    world.index.add("dep", "2.0")
    world.patch("0002-pin.patch", PIN_PATCH)
    world.lock()
    (world.repo / "patches" / "demo" / "app" / "0002-pin.patch").unlink()
    world.patch("0001-code.patch", CODE_PATCH)
    assert "dep  2.0 → 1.0" in world.lock().out


def test_a_followed_pin_that_another_wheel_forbids_is_refused(world):
    world.index.add("other", "0.9")
    world.index.files["other"].clear()
    world.index.add("other", "1.0", requires=["dep<2"])
    world.index.add("dep", "2.0")
    world.lock()
    before = world.files()
    world.patch("0002-pin.patch", PIN_PATCH)
    with pytest.raises(InconsistentLockError, match="not written") as caught:
        world.lock()
    assert "other requires dep<2" in caught.value.why
    after = world.files()
    assert after["lock/demo.toml"] == before["lock/demo.toml"]


def test_metadata_wins_and_the_difference_is_shown(world):
    world.archive(**{"requirements/run.txt": b"dep==1.0\nother>=5\n"})
    err = world.lock().err
    assert "other: the requirement files say other>=5, METADATA other>=1" in err
    assert world.versions()["other"] == "1.0"


def test_an_override_overrules_wheels_and_is_named(world):
    world.index.add("dep", "2.0")
    world.edit("constraints = []", 'constraints = []\noverrides = [{ requirement = "dep==2.0", reason = "a test" }]')
    world.lock()
    assert world.versions()["dep"] == "2.0"
    assert read_lock(world.repo, "demo").overrides[0].reason == "a test"
    world.lock(check=True)


def test_an_override_of_nothing_is_refused(world):
    world.index.add("lone", "1.0")
    world.edit("constraints = []", 'constraints = []\noverrides = [{ requirement = "lone==1.0", reason = "a test" }]')
    with pytest.raises(InconsistentLockError) as caught:
        world.lock()
    assert "overrides nothing" in caught.value.why


def test_where_one_target_cannot_be_locked_no_other_is_written(world):
    world.lock()
    text = world.intent.read_text()
    second = TARGET.replace("demo", "second", 1).replace("[targets.demo.", "[targets.second.")
    world.intent.write_text(text.replace("dep", "dep") + second.replace('"app==1.0"', '"app==1.0", "dep==9"'))
    world.edit("constraints = []\nsmoke", 'constraints = ["dep<9"]\nsmoke')
    before = world.files()
    with pytest.raises(ResolveError):
        world.lock()
    assert world.files() == before


def test_what_cannot_be_had_together_is_explained_and_changes_nothing(world):
    world.lock()
    before = world.files()
    world.edit('requirements = ["app==1.0"]', 'requirements = ["app==1.0", "dep==9"]')
    with pytest.raises(ResolveError) as caught:
        world.lock()
    assert "dep" in str(caught.value)
    assert {**world.files(), "lock/targets.toml": b""} == {**before, "lock/targets.toml": b""}


def test_a_stale_lock_stops_the_check(world):
    world.lock()
    world.edit("constraints = []", 'constraints = ["dep<9"]')
    with pytest.raises(LockError, match="stale"):
        world.lock(check=True)


def test_a_changed_patch_stops_the_check_and_is_locked_offline(world):
    world.lock()
    world.patch("0001-code.patch", CODE_PATCH.replace("return 2", "return 3"))
    with pytest.raises(LockError, match="stale"):
        world.lock(check=True)
    world.index.fault = "500"
    assert "patches: 0001-code.patch; the layer of patched files is made anew" in world.lock().out


def test_a_patch_that_does_not_apply_changes_nothing(world):
    world.lock()
    before = world.files()["lock/demo.toml"]
    world.patch("0001-code.patch", CODE_PATCH.replace("return 1", "return 7"))
    with pytest.raises(PatchError, match="0001-code"):
        world.lock()
    assert world.files()["lock/demo.toml"] == before


def test_wheels_that_are_not_in_the_store_need_the_network_and_say_so(world):
    world.lock()
    (world.repo / "lock" / "requires" / "demo.toml").unlink()
    shutil.rmtree(world.settings.store / "blobs")
    world.settings = Settings(repo=world.repo, store=world.settings.store, offline=True)
    with pytest.raises(OfflineError):
        world.lock()


def test_offline_is_kept_where_something_must_be_looked_up(world):
    world.lock()
    world.settings = Settings(repo=world.repo, store=world.settings.store, offline=True)
    assert world.lock().out == "nothing changed\n"
    for asked in ({"upgrade": ["dep"]}, {"upgrade": []}, {"as_of": lock.instant("2026-05-31")}):
        with pytest.raises(OfflineError, match="--offline"):
            world.lock(**asked)


def test_a_lock_of_a_newer_tool_is_not_written_over(world):
    world.lock()
    path = world.repo / "lock" / "demo.toml"
    path.write_text(path.read_text().replace("schema = 2", "schema = 9"))
    before = world.files()
    with pytest.raises(NewerLockError):
        world.lock()
    assert world.files() == before


def test_an_edited_lock_is_refused_by_the_check_and_made_anew_with_its_versions(world):
    world.lock()
    path = world.repo / "lock" / "demo.toml"
    whole = path.read_bytes()
    path.write_text(path.read_text().replace('"aarch64-manylinux_2_39"', '"aarch64-manylinux_2_38"'))
    with pytest.raises(LockError, match="edited by hand"):
        world.lock(check=True)
    world.index.add("other", "1.1")
    assert "its versions are kept" in world.lock().err
    assert path.read_bytes() == whole


def test_a_misspelt_key_is_named_with_its_place(world):
    world.edit("requirement-files", "requirements-files")
    with pytest.raises(IntentError) as caught:
        world.lock()
    assert (
        "targets.demo.components.app.requirements-files: unknown key; did you mean 'requirement-files'?"
        in caught.value.why
    )


def test_an_index_that_hands_out_no_parts_of_files_gives_the_whole_wheel(world):
    world.index.serves_ranges = False
    world.lock()
    world.lock(check=True)
    assert requireslock.read(world.repo, read_lock(world.repo, "demo"), ["app==1.0"])["app"] == (
        "dep==1.0",
        "other>=1",
    )


def test_requirements_that_are_not_the_wheels_are_read_again_and_stop_a_build(world):
    world.lock()
    locked = read_lock(world.repo, "demo")
    environment = Environment(platform=locked.platform, python=locked.python)
    steps.fetch_python(world.settings, locked.wheels, [environment])
    path = requireslock.path_of(world.repo, "demo")
    whole = path.read_text()
    path.write_text(requireslock.text(locked, ["app==1.0"], {"app": ("dep==1.0",)}))
    with pytest.raises(LockError, match="do not require what was locked") as caught:
        recipe.demand_requires(steps.load(world.settings, "demo"))
    assert "app requires dep==1.0 and other>=1; locked was dep==1.0" in caught.value.why
    world.lock()
    assert path.read_text() == whole
    recipe.demand_requires(steps.load(world.settings, "demo"))


def test_a_locked_version_that_the_target_itself_forbids_is_found(world):
    world.lock()
    intent = read_intent(world.repo)
    target = intent.targets["demo"].model_copy(update={"constraints": ("dep<1", "absent==1"), "requirements": ("app",)})
    found = list(lockcheck.lock_findings(read_lock(world.repo, "demo"), {}, target))
    assert "lock/targets.toml requires dep<1, and locked is 1.0" in found
    assert not any("absent" in text for text in found)


def test_json_tells_the_changes_and_the_findings(world):
    world.settings = Settings(repo=world.repo, store=world.settings.store, json=True)
    changes = json.loads(world.lock().out)["changes"]
    assert changes[0]["title"] == "demo"
    assert json.loads(world.lock(check=True).out) == {"targets": ["demo"], "findings": [], "unresolved": []}


# --- git -------------------------------------------------------------------------------------------------------------


def with_git(world, url, tag='tag = "v1"'):
    world.edit('distribution = "app"', f'distribution = "app"\ngit = "{url}"\n{tag}')


@pytest.fixture
def upstream(tmp_path):
    files = {"src/app.py": MODULE, "requirements/run.txt": PINS}
    return gitkit.repository(tmp_path / "upstream", files).tag("v1", annotated=True)


@pytest.mark.programs("git")
def test_a_tag_is_locked_as_commit_and_tree(world, upstream):
    with_git(world, upstream.url)
    world.lock()
    source = read_lock(world.repo, "demo").components[0].git
    assert (source.commit, source.tree, source.version) == (upstream.head, upstream.tree, "1.0")
    assert read_lock(world.repo, "demo").unresolved == ()
    assert world.lock().out == "nothing changed\n"


@pytest.mark.programs("git")
def test_a_tag_that_moved_is_refused_with_both_commits(world, upstream, monkeypatch):
    monkeypatch.setattr(drafts, "of_debs", lambda *_, **__: [])
    with_git(world, upstream.url)
    world.lock()
    old = upstream.head
    upstream.commit({"new": b"x"}).tag("v1", force=True)
    assert world.lock().out == "nothing changed\n", "a locked source is not asked for again"
    with pytest.raises(MovedTagError) as caught:
        world.lock(upgrade=[])
    assert old in caught.value.why
    assert upstream.head in caught.value.why
    with_git(world, upstream.url, f'commit = "{upstream.head}"\n')
    world.edit(f'git = "{upstream.url}"\ntag = "v1"\n', "")
    world.edit(f'commit = "{upstream.head}"', f'tag = "v1"\ncommit = "{upstream.head}"')
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git.commit == upstream.head


@pytest.mark.programs("git")
def test_an_edit_of_the_intent_keeps_the_locked_commit_though_the_tag_moved(world, upstream, tmp_path):
    with_git(world, upstream.url)
    world.lock()
    source = read_lock(world.repo, "demo").components[0].git
    upstream.commit({"new": b"x"}).tag("v1", force=True)
    world.edit("constraints = []", 'constraints = ["other<9"]')
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git == source
    upstream.folder.rename(tmp_path / "away")
    world.edit("other<9", "other<8")
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git == source
    path = world.repo / "lock" / "demo.toml"
    path.write_text(path.read_text().replace("schema = 2", "schema = 1"))
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git == source


@pytest.mark.programs("git")
def test_another_tag_is_asked_for(world, upstream):
    with_git(world, upstream.url)
    world.lock()
    upstream.commit({"new": b"x"}).tag("v2")
    world.edit('tag = "v1"', 'tag = "v2"')
    world.lock()
    assert read_lock(world.repo, "demo").components[0].git.commit == upstream.head


@pytest.mark.programs("git")
def test_a_commit_that_is_gone_ends_the_lock(world, upstream):
    with_git(world, upstream.url, f'commit = "{"1" * 40}"')
    with pytest.raises(GoneCommitError, match="1" * 12):
        world.lock()


@pytest.mark.programs("git")
def test_a_remote_that_cannot_be_reached_is_left_open_and_filled_later(world, upstream, tmp_path):
    away = tmp_path / "away"
    upstream.folder.rename(away)
    with_git(world, upstream.url)
    assert "left open" in world.lock().err
    assert [item.what for item in read_lock(world.repo, "demo").unresolved] == ["components.app.git"]
    assert "left open, and not needed to build: demo components.app.git" in world.lock(check=True).out
    before = world.files()
    world.lock()
    assert world.files() == before
    away.rename(upstream.folder)
    assert "app: commit " in world.lock().out
    assert read_lock(world.repo, "demo").unresolved == ()


@pytest.mark.programs("git")
def test_external_sources_are_locked_with_their_submodules(world, tmp_path):
    inner = gitkit.repository(tmp_path / "inner", {"i.h": b"i"})
    outer = gitkit.repository(tmp_path / "outer", {"o.h": b"o"}).submodule("deps/inner", inner.url, inner).tag("v4")
    world.intent.write_text(
        world.intent.read_text() + f'\n[targets.demo.externals.cutlass]\ngit = "{outer.url}"\ntag = "v4"\n'
    )
    world.lock()
    (external,) = read_lock(world.repo, "demo").externals
    assert (external.name, external.source.commit, external.source.tree) == ("cutlass", outer.head, outer.tree)
    (nested,) = external.source.submodules
    assert (nested.path, nested.commit, nested.tree) == ("deps/inner", inner.head, inner.tree)
    world.lock(check=True)


@pytest.mark.programs("git")
def test_without_git_a_source_is_left_open(world, upstream, tmp_path, monkeypatch):
    with_git(world, upstream.url)
    monkeypatch.setenv("PATH", str(gitkit.without_git(tmp_path / "bin")))
    assert "it is left open" in world.lock().err
    assert [item.what for item in read_lock(world.repo, "demo").unresolved] == ["components.app.git"]
