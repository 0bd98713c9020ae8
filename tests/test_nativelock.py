"""build/nativelock.py and the runs of `lock` in the source lane: what a native build takes in, all of it named."""

import shutil
import tomllib
from dataclasses import replace

import pytest

from build import (
    gitsource,
    index,
    kept,
    lockfile,
    madewheel,
    nativebuild,
    nativelock,
    patched,
    sourcetree,
    steps,
    store,
    wheeltree,
)
from build.canonical import digest
from build.errors import (
    GoneCommitError,
    LockError,
    MovedTagError,
    NetworkError,
    OfflineError,
    ResolveError,
    UnresolvedError,
)
from build.intent import read_intent
from build.lockfile import lock_path, lock_text, read_lock
from build.models import RequirementChange
from build.settings import REPO
from tests import gitkit, indexkit, lockkit, nativekit
from tests.nativekit import CMAKE, FILES, MORE, NOWHERE, account, patch, target

FETCHED = [
    ("alpha", "https://git.example/alpha.git", "v4"), ("beta", "https://git.example/beta", "0123abcd"),
    ("gamma", "https://git.example/gamma.tgz", "SHA256=00"), ("onednn", "https://git.example/onednn", "v3"),
]  # fmt: skip
MADE = "app-1.0-py3-none-any.whl"
COMMITTED = 1767323045  # gitkit's 2026-01-02T03:04:05Z


# --- what the component's CMake files would fetch, and its target names --------------------------------------------


def refused(tmp_path, wanted, patches=None, files=FILES):
    with pytest.raises(LockError) as caught:
        account(tmp_path, wanted, patches, files)
    return caught.value


def test_all_that_is_declared_is_noted(tmp_path):
    assert account(tmp_path, target()) == FETCHED


def test_a_source_that_the_target_does_not_name_stops_the_lock_with_its_place(tmp_path):
    error = refused(tmp_path, target(unused={"onednn": "why not", "gamma": "why not"}))
    assert error.what == "app would fetch what its target does not name"
    assert error.why == "beta (cmake/more.cmake:2, https://git.example/beta 0123abcd)"
    assert "externals.NAME" in error.todo


def test_all_such_sources_are_told_each_place_of_them(tmp_path):
    files = {**FILES, "csrc/CMakeLists.txt": b"\nFetchContent_Declare(beta GIT_REPOSITORY https://evil.example/b)\n"}
    error = refused(tmp_path, target(unused={"gamma": "why not"}), files=files)
    assert error.why.split("\n       ") == [
        "beta (cmake/more.cmake:2, https://git.example/beta 0123abcd)",
        "beta (csrc/CMakeLists.txt:2, https://evil.example/b)",
        "onednn (cmake/more.cmake:4, https://git.example/onednn v3)",
    ]


def test_a_name_that_cannot_be_told_stops_it_too(tmp_path):
    more = (
        MORE + b"foreach(X a b)\n  FetchContent_Declare(${X} GIT_REPOSITORY https://git.example/${X})\nendforeach()\n"
    )
    assert "${x} (cmake/more.cmake:8, " in refused(tmp_path, target(), files={**FILES, "cmake/more.cmake": more}).why


@pytest.mark.parametrize("kind", ["externals", "substitutes", "stubs", "unused"])
def test_a_source_that_is_named_in_vain_stops_it(tmp_path, kind):
    tables = {
        "externals": {
            "alpha": {"git": "https://git.example/alpha", "tag": "v4"},
            "zeta": {"git": "https://x.example/z", "tag": "v1"},
        },
        "substitutes": {"zeta": {"wheel": "kit==1.0", "path": "kit", "reason": "r"}},
        "stubs": {"zeta": {"files": {"README": ""}, "reason": "r"}},
        "unused": dict.fromkeys(("beta", "gamma", "onednn", "zeta"), "why not"),
    }
    error = refused(tmp_path, target(**{kind: tables[kind]}))
    assert error.what == "app does not fetch what its target names: zeta"


@pytest.mark.parametrize(
    ("named", "shown"),
    [
        ({"tag": "v5"}, "v5"),
        ({"commit": "ab" * 20}, "ab" * 20),
        ({"tag": "v4.0", "commit": "ab" * 20}, f"{'ab' * 20} v4.0"),
    ],
)
def test_an_external_that_is_another_than_is_wanted_stops_it(tmp_path, named, shown):
    error = refused(tmp_path, target(externals={"alpha": {"git": "https://git.example/alpha", **named}}))
    assert error.what == "app wants other sources than its target names"
    assert error.why == f"alpha (CMakeLists.txt:4, https://git.example/alpha.git v4); named is {shown}"


def test_an_external_may_be_named_by_tag_or_commit_as_it_is_wanted(tmp_path):
    commit = "ab" * 20
    both = {"alpha": {"git": "https://mirror.example/alpha", "tag": "v4", "commit": commit}}
    assert account(tmp_path / "tag", target(externals=both)) == FETCHED
    files = {**FILES, "CMakeLists.txt": CMAKE.replace(b"GIT_TAG v4", b"GIT_TAG " + commit.encode())}
    assert account(tmp_path / "commit", target(externals=both), files=files)[0][2] == commit


def test_one_that_is_wanted_in_two_ways_is_told_by_the_place_that_differs(tmp_path):
    files = {**FILES, "cmake/z.cmake": CMAKE, "CMakeLists.txt": CMAKE.replace(b"v4", b"v3")}
    error = refused(tmp_path, target(), files=files)
    assert error.why == "alpha (CMakeLists.txt:4, https://git.example/alpha.git v3); named is v4"


def test_a_file_that_is_not_cmake_s_language_is_told(tmp_path):
    error = refused(tmp_path, target(), files={**FILES, "cmake/broken.cmake": b"set(A\n"})
    assert "cmake/broken.cmake: line 1" in f"{error.what} {error.why}"


@pytest.mark.parametrize("part", ["rust", "rust/"])
def test_what_is_in_rust_is_left_off_by_name(tmp_path, part):
    files = {**FILES, "rust/Cargo.toml": b"[workspace]\n", "rust/a/Cargo.toml": b"[package]\n"}
    assert (
        "parts in Rust that its target does not speak of: rust" in refused(tmp_path / "one", target(), files=files).what
    )
    left = target(**{"left-off": [{"part": part, "reason": "nobody asks for it"}]})
    assert account(tmp_path / "two", left, files=files) == FETCHED


# A series over those files: what it makes of them counts, not what the archive has.


def test_a_series_that_would_fetch_another_commit_is_seen(tmp_path):
    other = patch("CMakeLists.txt", CMAKE, CMAKE.replace(b"v4", b"v5"))
    error = refused(tmp_path / "one", target(), {"0001-other.patch": other})
    assert error.why == "alpha (CMakeLists.txt:4, https://git.example/alpha.git v5); named is v4"
    taken_over = target(externals={"alpha": {"git": "https://git.example/alpha", "tag": "v5"}})
    assert account(tmp_path / "two", taken_over, {"0001-other.patch": other})[0][2] == "v5"


def test_a_series_that_would_fetch_from_elsewhere_is_noted_in_the_lock(tmp_path):
    other = patch("CMakeLists.txt", CMAKE, CMAKE.replace(b"git.example", b"evil.example"))
    assert account(tmp_path, target(), {"0001-other.patch": other})[0][1] == "https://evil.example/alpha.git"


def test_a_series_that_would_fetch_one_more_is_seen(tmp_path):
    added = b"FetchContent_Declare(evil GIT_REPOSITORY https://evil.example/e GIT_TAG v1)\n"
    for name, text in {
        "new": patch("cmake/new.cmake", None, added),
        "old": patch("cmake/more.cmake", MORE, MORE + added),
        "outside": patch("csrc/deep/CMakeLists.txt", None, added),
    }.items():
        error = refused(tmp_path / name, target(), {"0001-one.patch": text})
        assert "evil (" in error.why
        assert "https://evil.example/e v1)" in error.why


def test_a_series_that_takes_one_out_is_seen(tmp_path):
    lines = MORE.splitlines(keepends=True)
    text = patch("cmake/more.cmake", MORE, b"".join(line for line in lines if b"gamma" not in line))
    assert "names: gamma" in refused(tmp_path / "one", target(), {"0001-less.patch": text}).what
    less = target(unused={"beta": "why not", "onednn": "why not"})
    assert account(tmp_path / "two", less, {"0001-less.patch": text}) == [row for row in FETCHED if row[0] != "gamma"]


# --- the runs of `lock` --------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path, monkeypatch, capsys):
    """Makes a `World` of the source lane."""
    with indexkit.serve() as served:
        for name, value in indexkit.environment(served, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield lambda **more: nativekit.World(tmp_path, served, capsys, **more)


def locked(world):
    return read_lock(world.repo, "demo")


def component(lock):
    (found,) = lock.components
    return found


def load(world, store_folder=None, **more):
    """The target on a machine whose store is another one, where one is named."""
    settings = replace(world.settings, store=store_folder or world.settings.store, **more)
    return steps.load(settings, "demo")


@pytest.mark.programs("git")
def test_a_target_over_a_release_archive(made, tmp_path, monkeypatch):
    world = made()
    world.reach(monkeypatch, world.srv.as_uri())
    world.lock()
    lock = locked(world)
    native = lock.native
    assert (native.component, native.sources, native.requires) == ("app", nativekit.SOURCES, ("dep==1.0", "other>=1"))
    assert [(item.name, item.url, item.tag) for item in native.fetched] == FETCHED
    assert [item.file for item in native.tools] == ["cmake-4.1.2-py3-none-manylinux_2_17_aarch64.whl"]
    assert [item.file for item in native.hosts] == [
        f"{name}-13.0.1-py3-none-manylinux_2_17_x86_64.whl" for name in ("nvidia_cuda_nvcc", "nvidia_nvvm")
    ]
    (beta,) = native.substitutes
    assert (beta.name, beta.path, beta.wheel.file) == ("beta", "kit/beta", "kit-1.0-py3-none-any.whl")
    assert beta.tree == gitkit.repository(tmp_path / "beta", nativekit.BETA).tree
    (alpha,) = lock.externals
    assert (alpha.name, alpha.source.commit, alpha.source.tree) == ("alpha", world.alpha.head, world.alpha.tree)
    assert [(item.path, item.url) for item in alpha.source.submodules] == [("deps/in", f"{NOWHERE}/inner")]
    assert (component(lock).archive.file, component(lock).git) == ("app-1.0.tar.gz", None)
    assert [(item.source, item.installed, item.compiled) for item in component(lock).files] == [
        ("csrc/one.cpp", "", True), ("src/app.py", "app.py", False),
    ]  # fmt: skip
    assert set(world.versions()) == {
        "app", "cuda-toolkit", "dep", "nvidia-cuda-nvcc", "nvidia-nvvm", "other", "torch",
    }  # fmt: skip
    assert lock.epoch == 1767225600, "the archive's upload"
    assert lock.unresolved == ()
    assert world.lock().out == "nothing changed\n"
    assert world.lock(check=True).out == "fresh, whole and consistent: demo\n"


@pytest.mark.programs("git")
def test_what_is_made_is_asked_of_no_index_and_named_by_the_lock(made, monkeypatch):
    world = made()
    world.reach(monkeypatch, world.srv.as_uri())
    (published,) = [item for item in world.index.files["app"] if item.name == MADE]
    world.lock()
    job = load(world)
    (wheel,) = [item for item in job.lock.wheels if item.made]
    assert (wheel.file, wheel.version) == (MADE, "1.0")
    assert wheel.sha256 != published.sha256
    assert not store.blob(world.settings.store, published.sha256).exists()
    files = {item.file for machine in steps.MACHINES for item in steps.python_files(job, [machine])}
    assert MADE not in files
    assert {"app-1.0.tar.gz", "kit-1.0-py3-none-any.whl"} < files
    for machine, count in {"amd64": 2, "arm64": 0}.items():  # the image's own compilers are for arm64
        found = [
            item.file for item in steps.python_files(job, [machine]) if "nv" in item.file and "x86_64" in item.file
        ]
        assert len(found) == count, machine
    assert wheel.sha256 not in {item.sha256 for item in steps.missing_files(job)}
    named, native = kept.read(world.settings), job.lock.native
    assert named.blobs[wheel.sha256] == MADE
    others = (*native.tools, *native.hosts, native.substitutes[0].wheel)
    assert {item.sha256 for item in others} < named.blobs.keys()
    trees = [wheeltree.name(native.tools), wheeltree.name(native.hosts), wheeltree.name([others[-1]], "kit/beta")]
    trees += [gitsource.tree_id(job.lock.externals[0].source)]
    trees += [patched.name(world.settings, job.lock, job.series, git=False)]
    assert {*trees, f"{trees[-1]}.json"} < named.entries["trees"]
    assert world.trees() <= named.entries["trees"]


@pytest.mark.programs("git")
def test_the_text_of_a_lock_says_what_is_made_and_what_is_compiled(made):
    world = made()
    world.lock()
    text = lock_path(world.repo, "demo").read_text()
    assert lock_text(read_lock(world.repo, "demo")) == text
    data = tomllib.loads(text)
    assert [row["name"] for row in data["wheels"] if row.get("made") is True] == ["app"]
    assert [row["source"] for row in data["components"]["app"]["files"] if row.get("compiled")] == ["csrc/one.cpp"]
    assert all("made" not in row for row in (*data["wheels"], *data["tools"]) if row["name"] != "app")
    assert data["native"]["substitutes"]["beta"].keys() == {"path", "tree", "wheel"}
    assert "hosts" in data["native"]
    lock = locked(world)
    bare = replace(lock.native, substitutes=(), fetched=(), hosts=())
    for other in (replace(lock, native=bare), replace(lock, native=None)):
        lockfile.write_lock(world.repo, other)
        assert locked(world) == other
        assert lock_text(other) != text


def test_the_wheel_lane_s_locks_say_nothing_of_it():
    intent = read_intent(REPO)
    names = [name for name, table in intent.targets.items() if table.native is None]
    assert {"v0.32", "v0.22", "tiny"} <= set(names)
    for name in names:
        data = tomllib.loads(lock_path(REPO, name).read_text())
        assert "native" not in data
        files = [row for table in data["components"].values() for row in table["files"]]
        assert [row for row in (*data["wheels"], *data["tools"], *files) if {"made", "compiled"} & row.keys()] == []
        said = {key: value for key, value in data.items() if key != "checksum"}
        assert digest(said) == data["checksum"]


@pytest.mark.programs("git")
def test_a_target_over_a_commit_of_a_server(made, tmp_path):
    with gitkit.http(tmp_path / "srv") as server:
        world = made(origin="git", at=server.url)
        world.lock()
        lock = locked(world)
        app, external = component(lock), lock.externals[0].source
        assert (app.archive, app.git.commit, app.git.tree) == (None, world.app.head, world.app.tree)
        assert (lock.epoch, app.git.time) == (COMMITTED, COMMITTED)
        assert [item.url for item in external.submodules] == [f"{server.url}/inner"]
        assert app.tree == world.app.tree
        world.app.commit(
            {path: FILES[path].replace(b"return 1", b"return 2") for path in ("src/app.py", "csrc/one.cpp")}
        )
        assert app.patched_tree == world.app.tree
        assert world.lock(check=True).out == "fresh, whole and consistent: demo\n"
        job = load(world, tmp_path / "other")  # another machine
        steps.require_resolved(job)
        steps.fetch_sources(job)
    madewheel.ensure(job.settings, job.lock)
    (wheel,) = [item for item in lock.wheels if item.made]
    assert store.has(job.settings.store, wheel.sha256, wheel.size)
    seen = nativebuild.source(job)
    assert set(seen) == {"CMakeLists.txt", "cmake/more.cmake", "csrc/one.cpp"}
    assert seen["csrc/one.cpp"].read_bytes() == FILES["csrc/one.cpp"].replace(b"return 1", b"return 2")
    tree = job.settings.store / "trees" / gitsource.tree_id(external)
    assert (tree / "deps/in/inner.h").read_bytes() == b"i\n"


@pytest.mark.programs("git")
def test_what_cannot_be_reached_is_left_open_by_name_and_filled_once_it_is(made, monkeypatch):
    world = made(origin="git")
    said = world.lock().err
    assert "components.app.git: it is left open" in said
    assert "externals.alpha: it is left open" in said
    lock = locked(world)
    wanted = {"components.app.git": f"{NOWHERE}/app {world.app.head}", "externals.alpha": f"{NOWHERE}/alpha v4"}
    assert {item.what: item.wanted for item in lock.unresolved} == wanted
    assert (component(lock).files, component(lock).tree, lock.native.fetched) == ((), "", ())
    assert [item for item in lock.wheels if item.made] == []
    assert {"dep", "other", "torch"} < set(world.versions()), "what it will require is locked before it is there"
    assert world.lock().out == "nothing changed\n"
    told = world.lock(check=True).out
    for what, text in wanted.items():
        assert f"left open, and NEEDED to build: demo {what}: {text}" in told
    assert "demo cannot be built until `nox -s lock -- --target demo` ran" in told
    for step in (steps.require_resolved, steps.fetch_all):
        with pytest.raises(UnresolvedError, match="leaves 2 of its sources open") as caught:
            step(load(world))
        for what, text in wanted.items():
            assert f"{what}: {text}" in caught.value.why
    assert world.trees() == {wheeltree.name(lock.native.tools), wheeltree.name(lock.native.hosts), *archives(world)}

    world.reach(monkeypatch, world.srv.as_uri())
    assert "left open: nothing any more" in world.lock().out
    filled = locked(world)
    app = component(filled)
    assert (filled.unresolved, filled.epoch) == ((), COMMITTED)
    assert (app.git.commit, app.tree) == (world.app.head, world.app.tree)
    assert app.patched_tree not in ("", app.tree)
    assert [item.source for item in app.files] == ["csrc/one.cpp", "src/app.py"]
    assert [item.file for item in filled.wheels if item.made] == [MADE]
    assert [item for item in filled.wheels if not item.made] == list(lock.wheels), "nothing else was resolved anew"
    assert [(item.name, item.url, item.tag) for item in filled.native.fetched] == FETCHED
    steps.require_resolved(load(world))
    assert world.lock(check=True).out == "fresh, whole and consistent: demo\n"
    assert world.lock().out == "nothing changed\n"


def archives(world):
    """The tree of the archive that a git target's requirement files are read from."""
    return {path.name for path in (world.settings.store / "trees").glob("*") if (path / "requirements").is_dir()}


@pytest.mark.programs("git")
def test_one_of_two_that_cannot_be_reached(made, monkeypatch, tmp_path):
    world = made(origin="git")
    world.reach(monkeypatch, world.srv.as_uri())
    world.alpha.folder.rename(tmp_path / "away")
    world.lock()
    lock = locked(world)
    assert [item.what for item in lock.unresolved] == ["externals.alpha"]
    assert [item.file for item in lock.wheels if item.made] == [MADE]
    assert [item.name for item in lock.native.fetched] == ["alpha", "beta", "gamma", "onednn"]
    with pytest.raises(UnresolvedError, match="leaves 1 of its sources open") as caught:
        steps.require_resolved(load(world))
    assert caught.value.why.startswith(f"externals.alpha: {NOWHERE}/alpha v4 (")
    (tmp_path / "away").rename(world.alpha.folder)
    world.lock()
    assert replace(locked(world), externals=(), unresolved=lock.unresolved) == lock


@pytest.mark.programs("git")
def test_a_commit_whose_files_want_another_external_is_not_locked(made, monkeypatch):
    """As g27: its externals are named before anybody could read what it wants."""
    world = made(origin="git")
    world.lock()
    before = world.files()
    world.app.commit({"CMakeLists.txt": CMAKE.replace(b"v4", b"v5")})
    text = world.intent.read_text().split('commit = "')[1][:40]
    world.edit(text, world.app.head)
    world.reach(monkeypatch, world.srv.as_uri())
    with pytest.raises(LockError, match="wants other sources than its target names") as caught:
        world.lock()
    assert caught.value.why == "alpha (CMakeLists.txt:4, https://git.example/alpha.git v5); named is v4"
    assert {**world.files(), "lock/targets.toml": b""} == {**before, "lock/targets.toml": b""}


@pytest.mark.programs("git")
def test_what_the_index_cannot_give_is_told_and_nothing_written(made):
    world = made()
    before = world.files()
    for old, new, error, said in (
        ('path = "kit/beta"', 'path = "kit/gone"', LockError, "kit-1.0-py3-none-any.whl has nothing below kit/gone/"),
        ('wheel = "kit==1.0"', 'wheel = "kit==9.9"', ResolveError, "kit==9.9"),
        ("cuda-toolkit[nvcc,nvvm]", "cuda-toolkit[nvcc]", ResolveError, "do not bring CUDA's compilers"),
        ('project = "demo_ext"', 'project = "demo_ext"\nrequires-of = "0.9"', ResolveError, "0.9"),
    ):
        world.edit(old, new)
        with pytest.raises(error) as caught:
            world.lock()
        assert said in str(caught.value)
        world.edit(new, old)
    assert world.files() == before


@pytest.mark.programs("git")
def test_the_requirements_of_another_release_count_where_it_is_named(made):
    """A commit's own ones cannot be read before its remote was."""
    world = made(origin="git")
    world.index.add("app", "0.9")
    data = lockkit.sdist(
        "app", "0.9", {"requirements/run.txt": b"other>=0.5 # less\n-r more.txt\n", "requirements/more.txt": b"dep\n"}
    )
    world.index.files["app"].append(
        indexkit.File(name="app-0.9.tar.gz", data=data, uploaded=lockkit.EARLY, metadata=b"")
    )
    environment = index.Environment(platform="aarch64-manylinux_2_39", python="3.13")
    intent = read_intent(world.repo).targets["demo"]
    assert nativelock.stated(world.settings, intent, environment) == ("dep==1.0", "other>=1")
    world.edit('project = "demo_ext"', 'project = "demo_ext"\nrequires-of = "0.9"')
    other = read_intent(world.repo).targets["demo"]
    assert nativelock.stated(world.settings, other, environment) == ("other>=0.5", "dep")
    bare = intent.model_copy(update={"components": nativekit.target().components})
    assert nativelock.stated(world.settings, bare, environment) == (), "its requirement files are not named"


@pytest.mark.programs("git")
def test_what_a_build_is_given_is_what_was_locked(made, monkeypatch, tmp_path):
    world = made()
    world.reach(monkeypatch, world.srv.as_uri())
    world.lock()
    job = load(world)
    steps.fetch_sources(job)
    steps.fetch_python(job.settings, steps.python_files(job), steps.environments(job))
    assert steps.open_and_needed(job) == ()
    given = dict(nativebuild.named(job, tmp_path / "context"))
    assert (
        set(given)
        == {"native-source", "native-tools", "native-host", "dep-alpha", "dep-beta"}
        == set(nativebuild.context_names(job))
    )
    assert (given["native-source"] / "csrc/one.cpp").read_bytes() == FILES["csrc/one.cpp"].replace(b"1;", b"2;")
    assert (given["native-tools"] / "cmake.py").is_file()
    assert (given["dep-beta"] / "include/beta.h").read_bytes() == nativekit.BETA["include/beta.h"]
    tree = sourcetree.ensure(job.settings, component(job.lock))
    for place in (given["dep-alpha"] / "alpha.h", given["dep-beta"] / "include/beta.h", tree / "csrc/more.cpp"):
        before = place.read_bytes() if place.exists() else None
        place.write_bytes(b"evil\n")
        with pytest.raises(LockError, match="is not what was locked"):
            nativebuild.named(job, tmp_path / "context")
        place.unlink() if before is None else place.write_bytes(before)
    nativebuild.named(job, tmp_path / "context")


@pytest.mark.programs("git")
def test_nothing_is_written_where_the_archive_would_fetch_more(made, monkeypatch):
    world = made()
    world.reach(monkeypatch, world.srv.as_uri())
    more = MORE + b"ExternalProject_Add(evil URL https://evil.example/e.tgz)\n"
    world.archive(**{**FILES, "cmake/more.cmake": more})
    before = world.files()
    with pytest.raises(LockError, match="would fetch what its target does not name") as caught:
        world.lock()
    assert caught.value.why == "evil (cmake/more.cmake:7, https://evil.example/e.tgz)"
    assert world.files() == before


@pytest.mark.programs("git")
def test_a_pin_that_the_series_changes_is_followed_and_the_sources_stay(made, monkeypatch):
    world = made(origin="git")
    world.reach(monkeypatch, world.srv.as_uri())
    world.index.add("dep", "2.0")
    world.patch("0003-pin.patch", lockkit.PIN_PATCH)
    asked = []
    resolve = gitsource.resolve
    monkeypatch.setattr(gitsource, "resolve", lambda *args, **more: asked.append(args[1]) or resolve(*args, **more))
    world.lock()
    assert asked == ["components.app.git", "externals.alpha"], "each once, though wheels were resolved twice"
    lock = locked(world)
    assert world.versions()["dep"] == "2.0"
    assert component(lock).requires == (RequirementChange(before="dep==1.0", after="dep==2.0"),)
    assert (lock.epoch, component(lock).git.commit) == (COMMITTED, world.app.head)
    assert [item.name for item in lock.externals] == ["alpha"]
    assert [item.source for item in component(lock).files if not item.installed] == [
        "csrc/one.cpp", "requirements/run.txt",
    ]  # fmt: skip
    assert [item.name for item in lock.wheels if item.made] == ["app"]
    world.lock(check=True)
    assert world.lock().out == "nothing changed\n"


@pytest.mark.programs("git")
def test_a_wheel_that_wants_the_published_one_does_not_bring_it(made, monkeypatch):
    """Some wheels require the very distribution that is compiled here; its source stays the commit."""
    world = made(origin="git")
    world.reach(monkeypatch, world.srv.as_uri())
    world.index.add("plugin", "1.0", requires=["app>=1.0"])
    world.edit('requirements = ["torch==2.0", ', 'requirements = ["plugin==1.0", "torch==2.0", ')
    world.lock()
    lock = locked(world)
    assert (component(lock).archive, component(lock).git.commit) == (None, world.app.head)
    assert [item.made for item in lock.wheels if item.name == "app"] == [True]
    assert lock.epoch == COMMITTED
    world.lock(check=True)
    assert world.lock().out == "nothing changed\n"


@pytest.mark.programs("git")
def test_an_archive_keeps_its_tree_though_its_commit_becomes_known(made, monkeypatch):
    """An archive holds the files of submodules, a commit's tree their commits: the locked tree is the archive's."""
    world = made()
    sub = gitkit.repository(world.srv / "sub", {"s.h": b"s\n"})
    world.app.submodule("csrc/sub", "../sub", sub)
    world.archive(**{**FILES, "csrc/sub/s.h": b"s\n"})
    world.name_commit(NOWHERE, world.app.head)
    world.lock()
    before = component(locked(world))
    assert before.git is None
    world.reach(monkeypatch, world.srv.as_uri())
    world.lock()
    after = component(locked(world))
    assert [item.path for item in after.git.submodules] == ["csrc/sub"]
    assert (after.tree, after.patched_tree) == (before.tree, before.patched_tree)
    job = load(world)
    shutil.rmtree(world.settings.store / "trees")
    assert nativebuild.source(job)["csrc/sub/s.h"].read_bytes() == b"s\n"
    assert world.lock().out == "nothing changed\n"


# --- another repository behind the URL -----------------------------------------------------------------------------


@pytest.fixture
def evil(tmp_path):
    """Other repositories of the same names, below another folder, tags and all."""
    root = tmp_path / "evil"
    for name in ("app", "alpha", "inner"):
        files = {**FILES, "src/app.py": b"import evil\n", "deps/in/evil.h": b"evil\n"}
        gitkit.repository(root / name, files).tag("v4")
    return root


def has_evil(folder):
    return [path for path in folder.rglob("*") if path.is_file() and b"evil" in path.read_bytes()]


@pytest.mark.programs("git")
def test_before_it_was_ever_locked_another_repository_lacks_the_commit(made, monkeypatch, evil):
    world = made(origin="git")
    world.lock()
    before, trees = world.files(), world.trees()
    world.reach(monkeypatch, evil.as_uri())
    with pytest.raises(GoneCommitError, match=world.app.head) as caught:
        world.lock()
    assert f"{NOWHERE}/app" in caught.value.why
    assert (world.files(), world.trees()) == (before, trees)
    assert has_evil(world.settings.store) == []


@pytest.mark.programs("git")
def test_an_external_that_is_named_by_commit_too_is_not_taken_from_another_repository(made, monkeypatch, evil):
    world = made(origin="git")
    world.edit('/alpha"\ntag = "v4"', f'/alpha"\ntag = "v4"\ncommit = "{world.alpha.head}"')
    world.reach(monkeypatch, evil.as_uri())
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")  # but for app
    monkeypatch.setenv("GIT_CONFIG_KEY_1", f"url.{world.app.url}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_1", f"{NOWHERE}/app")
    with pytest.raises(MovedTagError, match="the tag v4 of externals.alpha has moved") as caught:
        world.lock()
    assert world.alpha.head in caught.value.why
    assert not lock_path(world.repo, "demo").exists()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A target over a commit whose remotes answered, locked once: nothing in it says in which folder."""
    if shutil.which("git") is None:
        pytest.skip("not installed here: git")
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patched_env, indexkit.serve() as served:
        for name, value in {**indexkit.environment(served, folder), "HOME": str(folder)}.items():
            patched_env.setenv(name, value)
        world = nativekit.World(folder, served, None, origin="git")
        world.reach(patched_env, world.srv.as_uri())
        world.lock()
        yield world


@pytest.fixture
def ready(prepared, tmp_path, monkeypatch):
    """A copy of it, whose remotes answer too."""
    world = prepared.copied(tmp_path / "copy")
    world.reach(monkeypatch, world.srv.as_uri())
    return world


@pytest.mark.programs("git")
@pytest.mark.parametrize("way", ["insteadOf", "another repository at the path", "history rewritten", "tag moved"])
def test_once_locked_another_repository_is_refused_and_nothing_kept(ready, monkeypatch, evil, tmp_path, way):
    locks = ready.files()
    if way == "insteadOf":
        ready.reach(monkeypatch, evil.as_uri())
    elif way == "another repository at the path":
        shutil.rmtree(ready.srv)
        evil.rename(ready.srv)
    else:
        ready.app.commit({"src/app.py": b"import evil\n"})
        if way == "history rewritten":
            ready.app.drop_history()
        ready.alpha.commit({"alpha.h": b"evil\n"}).tag("v4", force=True)
    fresh = tmp_path / "fresh"
    job = load(ready, fresh)
    if way == "tag moved":  # the commit is there as before, and no tag is asked
        steps.fetch_sources(job)
        madewheel.ensure(job.settings, job.lock)
        assert has_evil(fresh) == []
        return
    for step in (steps.fetch_sources, lambda job: madewheel.ensure(job.settings, job.lock)):
        with pytest.raises(GoneCommitError, match=component(job.lock).git.commit):
            step(job)
    ready.settings = replace(ready.settings, store=fresh)
    with pytest.raises(GoneCommitError):
        ready.lock()
    assert ready.files() == locks
    assert ready.trees() == set()
    assert has_evil(fresh) == []
    assert list((fresh / "scratch").iterdir()) == []


@pytest.mark.programs("git")
def test_a_submodule_from_another_repository_is_refused_and_nothing_kept(ready, monkeypatch, evil, tmp_path):
    shutil.rmtree(ready.srv / "inner")
    (evil / "inner").rename(ready.srv / "inner")
    job = load(ready, tmp_path / "fresh")
    with pytest.raises(GoneCommitError, match="submodule deps/in"):
        steps.fetch_sources(job)
    assert {path.name for path in (tmp_path / "fresh/trees").iterdir()} == {gitsource.tree_id(component(job.lock).git)}


@pytest.mark.programs("git")
def test_a_lock_that_names_another_tree_of_the_commit_is_refused(ready, tmp_path):
    lock = locked(ready)
    app = component(lock)
    other = replace(app, git=replace(app.git, tree=ready.alpha.tree))
    lockfile.write_lock(ready.repo, replace(lock, components=(other,)))
    with pytest.raises(LockError, match="has another tree than was locked") as caught:
        steps.fetch_sources(load(ready, tmp_path / "fresh"))
    assert ready.app.tree in caught.value.why
    assert not (tmp_path / "fresh/trees").exists()


@pytest.mark.programs("git")
def test_an_exported_folder_with_another_tree_is_refused_and_nothing_kept(ready, monkeypatch, evil, tmp_path, capsys):
    exported, fresh = tmp_path / "exported", tmp_path / "fresh"
    source = component(locked(ready)).git
    packed = gitsource.pack(ready.settings, source, exported)
    honest = packed.read_bytes()
    packed.write_bytes(honest.replace(b"return 1", b"evil + 1"))
    assert packed.read_bytes() != honest
    job = load(ready, fresh, exported=(exported,), offline=True)
    with pytest.raises(OfflineError) as caught:
        steps.fetch_sources(job)
    assert "holds another tree" in caught.value.why
    monkeypatch.setenv("GIT_CONFIG_COUNT", "0")
    with pytest.raises(NetworkError):
        steps.fetch_sources(replace(job, settings=replace(job.settings, offline=False)))
    assert str(packed) in capsys.readouterr().err
    assert not (fresh / "trees").exists()
    assert has_evil(fresh) == []
    packed.write_bytes(honest)
    with pytest.raises(OfflineError, match=locked(ready).externals[0].source.commit[:12]):  # the next one
        steps.fetch_sources(job)
    assert {path.name for path in (fresh / "trees").iterdir()} == {gitsource.tree_id(source)}


@pytest.mark.programs("git")
def test_what_the_build_runs_stays_as_it_is_locked_until_it_is_upgraded(made):
    world = made()
    world.edit('requirements = ["cmake==4.1.2"]', 'requirements = ["cmake==4.1.2", "helper"]')
    world.index.add("helper", "1.0")
    world.lock()
    world.index.add("helper", "2.0")
    world.edit('architectures = "12.1a"', 'architectures = "12.0a"')
    world.lock()
    assert {wheel.name: wheel.version for wheel in locked(world).native.tools}["helper"] == "1.0"
    world.lock(upgrade=["helper"])
    assert {wheel.name: wheel.version for wheel in locked(world).native.tools}["helper"] == "2.0"
