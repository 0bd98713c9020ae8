"""What must be so before an image is published: asked of real checkouts, real images, and reports of any kind."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from build import ociimage, publishing, recipe, results
from build.errors import LockError, PublishError
from build.models import Settings
from tests import gitkit
from tests.imagekit import entry, image, tar

CHAIN = "c" * 64
LAYER = tar(entry("etc/a", b"a\n"))
git = pytest.mark.programs("git")


@pytest.fixture
def clone(tmp_path):
    """A clean checkout."""
    files = {
        "README.md": b"read\n", "build/a.py": b"a\n", "lock/results/v0.toml": b"old\n", "lock/v0.toml": b"l\n",
        ".gitignore": b"/out/\n*.pyc\n",
    }  # fmt: skip
    return gitkit.repository(tmp_path / "clone", files).folder


def settings_of(folder):
    return Settings(repo=folder, store=folder / "store")


def write(folder, path, text="new\n"):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


# the checkout


@git
def test_a_clean_checkout_and_its_commit(clone):
    assert publishing.changed(clone) == ()
    assert publishing.require_clean(settings_of(clone), allowed=False) == ()
    assert publishing.commit(clone) == gitkit.git("rev-parse", "HEAD", cwd=clone)


@git
@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "lock/results/v0.toml",
        "lock/results/v1.toml",
        "lock/published/sha256-aa.toml",
        "out/smoke/x.json",
        "a.pyc",
    ],
)
def test_what_a_push_or_a_build_writes_is_no_dirt(clone, path):
    write(clone, path)
    assert publishing.require_clean(settings_of(clone), allowed=False) == ()


@git
@pytest.mark.parametrize(
    "path",
    ["build/a.py", "build/new.py", "lock/v0.toml", "README.md.py", "lock/results2/x.toml", "lock/published.toml",
     "sub/README.md", "a\nb", 'a "quoted" näme', "-x", "lock/publishedx/y"],
)  # fmt: skip
def test_all_else_is(clone, path):
    write(clone, path)
    assert publishing.changed(clone) == (path,)
    with pytest.raises(PublishError, match="the checkout is dirty") as caught:
        publishing.require_clean(settings_of(clone), allowed=False)
    assert caught.value.why == path
    assert publishing.require_clean(settings_of(clone), allowed=True) == ("dirty checkout",)


@git
def test_what_is_gone_moved_or_staged_is_dirt_too(clone):
    (clone / "build/a.py").rename(clone / "build/b.py")
    assert set(publishing.changed(clone)) == {"build/a.py", "build/b.py"}
    gitkit.git("add", "--all", cwd=clone)
    assert set(publishing.changed(clone)) == {"build/a.py", "build/b.py"}
    (clone / "build/b.py").unlink()
    assert set(publishing.changed(clone)) == {"build/a.py", "build/b.py"}


@git
def test_a_long_list_is_cut(clone):
    for number in range(12):
        write(clone, f"build/n{number:02}.py")
    with pytest.raises(PublishError) as caught:
        publishing.require_clean(settings_of(clone), allowed=False)
    assert caught.value.why.endswith("build/n07.py and 4 more")


@git
def test_what_its_user_tells_git_to_pass_over_is_dirt(clone, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "excludes").write_text("*\n")
    (tmp_path / "program").write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    (tmp_path / "program").chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f"[core]\nexcludesFile = {tmp_path}/excludes\nfsmonitor = {tmp_path}/program\n"
        "[status]\nshowUntrackedFiles = no\nrelativePaths = true\nrenames = copies\n"
    )
    assert publishing.changed(clone) == ()
    write(clone, "build/new.py")
    write(clone, "build/a.py")
    assert publishing.changed(clone) == ("build/a.py", "build/new.py")
    assert not (tmp_path / "was-run").exists()


@git
def test_no_checkout_and_no_commit(tmp_path):
    for folder in (tmp_path / "none", tmp_path / "empty"):
        folder.mkdir()
        if folder.name == "empty":
            gitkit.git("init", "--quiet", ".", cwd=folder)
        with pytest.raises(PublishError, match="no checkout with a commit"):
            publishing.commit(folder)
        with pytest.raises(PublishError, match="no checkout with a commit"):
            publishing.require_clean(settings_of(folder), allowed=True)


# the target


def job(tmp_path, *, wheels=("vllm",), native=None):
    return SimpleNamespace(
        name="v0", settings=settings_of(tmp_path), target=SimpleNamespace(native=native),
        lock=SimpleNamespace(wheels=[SimpleNamespace(name=name) for name in wheels]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"wheels": ("torch", "vllm-extra")}, "there is no vLLM in it"),
        ({"native": SimpleNamespace(complete=False)}, "only a part of vLLM's native code"),
    ],
)
def test_a_target_that_cannot_serve_is_not_published(tmp_path, facts, why):
    with pytest.raises(PublishError, match="v0 is not for use") as caught:
        publishing.require_fit(job(tmp_path, **facts), allowed=False)
    assert why in caught.value.why
    assert publishing.require_fit(job(tmp_path, **facts), allowed=True) == ("not for use",)


def test_one_that_can_is(tmp_path):
    assert publishing.require_fit(job(tmp_path), allowed=False) == ()
    assert publishing.require_fit(job(tmp_path, native=SimpleNamespace(complete=True)), allowed=False) == ()


# the image


@pytest.fixture
def made(tmp_path, monkeypatch):
    """An image of this chain id."""
    monkeypatch.setattr(recipe, "chain_id", lambda _: CHAIN)
    config = {"config": {"Labels": {"spark-runtime.chain-id": CHAIN}}}
    return ociimage.read("it", image(LAYER, packed=bytes, config=config).folder(tmp_path / "image"))


def recorded(tmp_path, made, **change):
    layers = tuple(results.LayerResult(diff_id=row.diff_id, digest=row.digest, size=row.size) for row in made.layers)
    result = results.Result(
        target="v0", chain_id=CHAIN, engine="docker.io 1", buildkit="v1", rootfs="r", config=made.config_digest,
        canonical_config=results.canonical_config(made.config), manifest=made.manifest, layers=layers,
    )  # fmt: skip
    results.write(tmp_path, replace(result, **change))


def test_the_image_is_the_recorded_one(tmp_path, made):
    recorded(tmp_path, made)
    found = publishing.require_image(job(tmp_path), made)
    assert (found.manifest, found.engine, found.chain_id) == (made.manifest, "docker.io 1", CHAIN)


def test_one_that_another_engine_compressed_is_not_called_the_recorded_engines(tmp_path, made):
    recorded(tmp_path, made, manifest="sha256:other", layers=tuple(
        results.LayerResult(diff_id=row.diff_id, digest="sha256:other", size=1) for row in made.layers
    ))  # fmt: skip
    assert publishing.require_image(job(tmp_path), made).engine == "another engine"


def test_an_image_of_other_inputs_is_refused(tmp_path, made, monkeypatch):
    recorded(tmp_path, made)
    monkeypatch.setattr(recipe, "chain_id", lambda _: "d" * 64)
    with pytest.raises(PublishError, match="not of this clone's inputs") as caught:
        publishing.require_image(job(tmp_path), made)
    assert caught.value.why == f"its chain id is {CHAIN[:12]}, this clone's is {'d' * 12}"
    with pytest.raises(PublishError, match="not of this clone's inputs"):
        publishing.require_image(job(tmp_path), replace(made, config={}))


@pytest.mark.parametrize("change", [{"chain_id": "d" * 64}, None])
def test_an_image_that_nobody_recorded_is_refused(tmp_path, made, change):
    if change:
        recorded(tmp_path, made, **change)
    with pytest.raises(PublishError, match="does not say what v0 should be"):
        publishing.require_image(job(tmp_path), made)


@pytest.mark.parametrize("change", [{"canonical_config": "x"}, {"layers": ()}])
def test_an_image_that_is_not_the_recorded_one_is_refused(tmp_path, made, change):
    recorded(tmp_path, made, **change)
    with pytest.raises(PublishError, match="not what lock/results/ says"):
        publishing.require_image(job(tmp_path), made)


def test_an_edited_result_is_refused(tmp_path, made):
    recorded(tmp_path, made)
    path = results.path_of(tmp_path, "v0")
    path.write_text(path.read_text().replace("docker.io 1", "docker.io 2"))
    with pytest.raises(LockError, match="edited by hand"):
        publishing.require_image(job(tmp_path), made)


# its smoke report

GREEN = [
    {"name": "import", "status": "passed", "reason": ""},
    {"name": "gpu-x", "status": "skipped", "reason": "no GPU"},
]


def report(tmp_path, made, told=None, *, data=None, **change):
    """Write a report where it is looked for."""
    path = tmp_path / "out/smoke" / f"v0-{made.manifest.removeprefix('sha256:')[:12]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = told or {"digest": made.manifest, "chain_id": CHAIN, "checks": GREEN, **change}
    path.write_bytes(json.dumps(told).encode() if data is None else data)
    return path


def smoked(tmp_path, made, named=None):
    return publishing.require_smoked(settings_of(tmp_path), "v0", made, named)


def test_a_green_report_of_this_image(tmp_path, made):
    path = report(tmp_path, made)
    found = smoked(tmp_path, made)
    assert found == path.read_bytes()
    other = path.rename(tmp_path / "mine.json")
    assert smoked(tmp_path, made, other) == found
    with pytest.raises(PublishError, match="v0 was not smoked"):
        smoked(tmp_path, made)
    with pytest.raises(PublishError, match="v0 was not smoked"):
        smoked(tmp_path, made, tmp_path / "none.json")


@pytest.mark.parametrize(
    "checks",
    [
        [*GREEN, {"name": "serve", "status": "failed", "reason": "it died"}],
        [*GREEN, {"name": "serve", "status": "error", "reason": ""}],
        [*GREEN, {"name": "serve", "status": "PASSED", "reason": ""}],
        [GREEN[1]], [],
    ],
)  # fmt: skip
def test_a_red_report_is_refused(tmp_path, made, checks):
    report(tmp_path, made, checks=checks)
    with pytest.raises(PublishError, match="is not green") as caught:
        smoked(tmp_path, made)
    assert ("serve: " in caught.value.why) or caught.value.why == "no check passed"


@pytest.mark.parametrize("change", [{"digest": f"sha256:{'0' * 64}"}, {"chain_id": "d" * 64}, {"digest": None}])
def test_a_report_of_another_image_is_refused(tmp_path, made, change):
    report(tmp_path, made, **change)
    with pytest.raises(PublishError, match="of another image"):
        smoked(tmp_path, made)


def test_an_image_without_a_chain_id_has_no_report(tmp_path, made):
    report(tmp_path, made, chain_id=None)
    with pytest.raises(PublishError, match="of another image"):
        smoked(tmp_path, replace(made, config={}))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"5", b"null", b"\xff", b"{}", b"[" * 100_000, b'{"checks": 5}', b'{"checks": [5]}',
     b'{"checks": [{"name": "a"}]}', b'{"checks": null}', b'{"checks": [], "digest": "x"}'],
)  # fmt: skip
def test_what_is_no_report_is_refused(tmp_path, made, data):
    report(tmp_path, made, data=data)
    with pytest.raises(PublishError, match="is no smoke report"):
        smoked(tmp_path, made)


def test_a_folder_is_no_report(tmp_path, made):
    with pytest.raises(PublishError, match="is no smoke report"):
        smoked(tmp_path, made, tmp_path)
