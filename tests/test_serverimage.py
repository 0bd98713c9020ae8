"""Which image a profile is served with: records, what was built here, what was named."""

import contextlib
import dataclasses
import json

import pytest

from build import assemble, intent, profiles, published, serverengine, serverimage, trustedimage
from build.errors import ImageNotFoundError, OfflineError, ProfileError, UsageError
from build.models import Built, Settings
from build.published import Place, Record, Signer
from build.settings import REPO
from tests import enginekit
from tests.enginekit import Image, digest

BRIDGED = {"/networks": (200, [{"Name": "bridge", "Driver": "bridge"}])}
REPOSITORY = "ghcr.io/owner/name"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A clone with the real targets and profiles, and no records; a store of its own."""
    (tmp_path / "repo/lock").mkdir(parents=True)
    (tmp_path / "repo/lock/targets.toml").write_bytes((REPO / "lock/targets.toml").read_bytes())
    return Settings(repo=tmp_path / "repo", store=tmp_path / "store")


@pytest.fixture(scope="module")
def profile():
    known = profiles.read_all(REPO, intent.read_intent(REPO).targets)
    return known["k144-nospec-200k"]


@pytest.fixture
def engine(tmp_path):
    """An engine that holds these images, as a place."""
    with contextlib.ExitStack() as kept:

        def engine(*images):
            url = kept.enter_context(
                enginekit.served(Named(images=list(images), answers=dict(BRIDGED)), tmp_path / "e.sock")
            )
            place, _ = serverengine.look(Settings(repo=REPO, store=tmp_path / "store"), url, ours=False)
            return place

        yield engine


class Named(enginekit.Engine):
    """Images can be asked for by their names too."""

    def answer(self, path, query):
        for image in self.images:
            for name in (*image.tags, f"{REPOSITORY}@{image.manifest}"):
                if path.endswith(f"/images/{name}/json"):
                    return 200, self._inspected(image)
        return super().answer(path, query)


def record(target, time, *, manifest, remarks=()):
    signer = Signer(kind="key", identity="0" * 64)
    place = Place(
        repository=REPOSITORY, time=f"{time}T00:00:00+00:00", tag="t", commit="0" * 40, remarks=remarks, signer=signer,
        documents=(),
    )  # fmt: skip
    layer = published.PublishedLayer(diff_id=digest("d"), digest=digest("e"), size=4_000_000_000)
    return Record(
        target=target, chain_id="1" * 64, manifest=manifest, config=digest("c"), canonical_config="", rootfs="", engine="",
        buildkit="", places=(place,), reports=(), layers=(layer,),
    )  # fmt: skip


def built(settings, target, manifest, engine):
    folder = settings.store / "built"
    folder.mkdir(parents=True, exist_ok=True)
    made = Built(
        target=target,
        image=f"spark-runtime:{target}",
        digest=manifest,
        chain_id="1" * 64,
        base="",
        engine=engine,
        layers=(),
    )
    (folder / f"{target}.json").write_text(json.dumps(dataclasses.asdict(made)))
    assert assemble.read_built(settings.store, target)


def choose(settings, profile, *engines, **more):
    return serverimage.choose(settings, profile, **{"target": None, "image": None, "engines": engines, **more})


@pytest.fixture
def trusting(monkeypatch):
    """Every image is signed well; that is looked at for real in tests/engine/test_serve.py."""
    asked = []
    monkeypatch.setattr(trustedimage, "verified", lambda *told: asked.append(told[1].manifest) or "signed by the key 0")
    return asked


def test_the_newest_that_was_published(settings, profile, trusting):
    for day, letter in (("2026-11-01", "a"), ("2026-11-03", "b"), ("2026-11-02", "d")):
        published.write(settings.repo, record("v0.32", day, manifest=digest(letter)))
    published.write(settings.repo, record("v0.32", "2026-11-09", manifest=digest("e"), remarks=("dirty checkout",)))
    published.write(settings.repo, record("v0.22", "2026-11-08", manifest=digest("f")))
    found = choose(settings, profile)
    assert found.name == f"{REPOSITORY}@{digest('b')}"
    assert (found.target, found.size, found.source) == ("v0.32", 4_000_000_000, "")
    assert found.said == "published 2026-11-03, signed by the key 0"
    assert trusting == [digest("b")]
    assert choose(settings, profile, target="v0.22").name == f"{REPOSITORY}@{digest('f')}"
    assert serverimage.disk_needed(found, "unix://x") == 12_000_000_000


def test_another_target_s_where_the_default_s_is_not_published(settings, profile, trusting):
    published.write(settings.repo, record("v0.22", "2026-11-08", manifest=digest("f")))
    assert choose(settings, profile).target == "v0.22"


def test_what_an_engine_has_already_is_not_pulled(settings, profile, trusting, engine):
    published.write(settings.repo, record("v0.32", "2026-11-01", manifest=digest("a")))
    place = engine(Image(manifest=digest("a"), target="v0.32", tags=()))
    found = choose(settings, profile, place)
    assert found.source == place.url
    assert serverimage.disk_needed(found, place.url) == 0
    assert serverimage.disk_needed(found, "unix://another") > 0


def test_the_one_that_was_built_here_where_nothing_is_published(settings, profile, engine):
    place = engine(Image(manifest=digest("a"), target="v0.22", tags=("spark-runtime:v0.22",)))
    built(settings, "v0.22", digest("a"), place.url)
    built(settings, "v0.32", digest("b"), place.url)
    found = choose(settings, profile, place)
    assert (found.target, found.name, found.said) == ("v0.22", digest("a"), serverimage.BUILT)


def test_there_is_none(settings, profile, engine):
    with pytest.raises(ImageNotFoundError) as caught:
        choose(settings, profile, engine())
    assert "nothing is published of v0.32, g27, v0.22; none was built here" in caught.value.why
    assert "nox -s build -- --target v0.32" in caught.value.todo


def test_it_was_built_in_an_engine_that_sleeps(settings, profile, engine):
    built(settings, "v0.32", digest("b"), "unix:///run/sleeping.sock")
    with pytest.raises(ImageNotFoundError) as caught:
        choose(settings, profile, engine())
    assert "v0.32 was built, in an engine that does not answer (unix:///run/sleeping.sock)" in caught.value.why
    assert "nox -s engine -- up" in caught.value.todo


def test_the_one_that_was_named(settings, profile, engine):
    place = engine(Image(manifest=digest("a"), target="v0.32", tags=("mine:1",)))
    found = choose(settings, profile, place, image="mine:1")
    assert (found.name, found.target, found.source) == ("mine:1", "v0.32", place.url)
    assert choose(settings, profile, place, image="other:1").source == ""


def test_a_target_that_the_profile_is_not_for(settings, profile):
    with pytest.raises(ProfileError) as caught:
        choose(settings, profile, target="tiny")
    assert "is not for the target tiny" in caught.value.what
    assert caught.value.why == "it is for g27, v0.22, v0.32"


def test_who_signs_must_be_known(settings, profile):
    published.write(settings.repo, record("v0.32", "2026-11-01", manifest=digest("a")))
    with pytest.raises(UsageError, match="not in this clone"):
        choose(settings, profile)


def test_what_was_verified_once_is_believed_of_the_same_signer(settings, monkeypatch):
    one = record("v0.32", "2026-11-01", manifest=digest("a"))
    monkeypatch.setattr(trustedimage.trusting, "chosen", lambda *_, **__: None)
    monkeypatch.setattr(trustedimage.trusting, "who", lambda _: "the key 0")
    note = trustedimage._note(settings, one)
    offline = dataclasses.replace(settings, offline=True)
    for text in (None, "no JSON", '{"by": "another"}'):
        if text is not None:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(text)
        with pytest.raises(OfflineError):
            trustedimage.verified(offline, one, one.places[0])
    note.write_text('{"by": "the key 0"}')
    assert trustedimage.verified(offline, one, one.places[0]) == "signed by the key 0"
