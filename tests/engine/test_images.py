"""`nox -s images` for real: an engine with the containerd store and one with overlay2 run the same image, or do not."""

import contextlib
import dataclasses
import shutil
import time

import pytest

from build import dockerapi, emulation, host, nodes, private, published, results, samenode
from build.models import Settings
from build.settings import REPO, default_store
from tests.engine import registrykit
from tests.engine.kit import own_settings
from tests.engine.test_build import built, client, verb

__all__ = ["built", "client"]  # fixtures

IMAGE = "spark-runtime:tiny"
FIXED = "tiny-111111111111"
READY_SECONDS = 60


@pytest.fixture(scope="module")
def classic(tmp_path_factory):
    """A second engine of our own, with the classic image store: its URL."""
    settings = own_settings(tmp_path_factory.mktemp("classic"))
    tools = host.tools(settings)
    where = private.places(settings.store)
    usual = private.daemon_json
    overlay2 = {"features": {"containerd-snapshotter": False}, "storage-driver": "overlay2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private, "daemon_json", lambda *told: {**usual(*told), **overlay2})
        private._start(settings.store, where, tools, {})
    try:
        deadline = time.monotonic() + READY_SECONDS
        while "no engine answers" in (lacks := dockerapi.ask(where.url).lacks)[0] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "does not use the containerd image store" in lacks[0], where.log.read_text()
        yield where.url
    finally:
        private.remove(settings.store)


@pytest.fixture(scope="module")
def second(classic, client):
    """A client of it; tiny was loaded there from what the first one saves."""
    found = dockerapi.connect(classic)
    found.images.load(client.images.get(IMAGE).save(named=True))
    yield found
    found.close()


@contextlib.contextmanager
def container(client, image=IMAGE):
    """A container of the image that the name stands for now, which sleeps."""
    emulation.ensure(default_store(), host.tools(Settings(repo=REPO, store=default_store())))
    made = client.containers.run(
        image, ["sleep", "600"], detach=True, network_mode="none", platform="linux/arm64"
    )  # fmt: skip
    try:
        yield made
    finally:
        made.remove(force=True)


def test_an_image_is_known_in_both_stores(built, client, second, classic):
    one, two = (nodes.look(url, lambda _: "") for url in (built["engine"], classic))
    assert (one.store, two.store) == (nodes.CONTAINERD, nodes.CLASSIC)
    (image,) = two.images
    assert image.id != built["digest"]
    told = verb("images", "--node", built["engine"], "--node", classic, "--json").json
    first = next(item for item in told["nodes"][0]["images"] if item["id"] == built["digest"])
    assert first["config"] == image.config == image.id, "the config is what both have"
    assert told["nodes"][1]["images"][0]["recorded"] == "tiny", "found in lock/results/ by its config"


def test_head_and_worker_run_the_same_image_whatever_the_store(built, client, second, classic):
    with container(client) as head, container(second) as worker:
        done = verb("images", "--node", classic)
        assert done.status == 0, done.err
        plain = " ".join(done.out.split())
        assert "the same image (the same config, sha256:" in plain
        assert head.name in plain
        assert worker.name in plain
        known_by_nobody = [nodes.look(url, lambda _: "") for url in (built["engine"], classic)]
        (pair,) = samenode.same(known_by_nobody)
        assert pair.verdict == samenode.ALIKE, f"both stores tell layers and settings alike: {pair.why}"


def test_a_name_that_stands_for_another_image_is_found_out(built, client, second, classic):
    with container(second) as old:
        tiny = second.images.get(IMAGE)
        other = old.commit(repository="spark-runtime", tag="tiny", changes="ENV A=1")
    try:
        with container(client), container(second):
            done = verb("images", "--node", classic)
            assert done.status == 53, done.err
            assert "different images" in " ".join(done.out.split())
            assert verb("images", "--node", classic, "--json").json["pairs"][0]["same"] is False
    finally:
        assert tiny.tag("spark-runtime", "tiny")
        second.images.remove(other.id)
    with container(client), container(second):
        assert verb("images", "--node", classic).status == 0


def test_a_worker_that_runs_nothing_and_one_that_is_not_there(built, client, second, classic, tmp_path):
    with container(client):
        idle = verb("images", "--node", classic)
        assert (idle.status, "does not run an image of ours" in idle.err) == (53, True)
        gone = verb("images", "--node", f"unix://{tmp_path}/none.sock")
        assert (gone.status, "no engine answers" in gone.err) == (40, True)


@pytest.fixture(scope="module")
def published_clone(built, client, tmp_path_factory):
    """A clone whose record says that tiny is in a registry; it is there, with its tags. Gives clone and registry."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("build", "lock", "patches", "dockerfiles"):
        ignored = shutil.ignore_patterns("__pycache__", "published")
        shutil.copytree(REPO / name, folder / "repo" / name, ignore=ignored)
    with registrykit.registry(folder / "registry") as registry:
        repository = f"{registry.place}/spark/tiny"
        for tag in (FIXED, "tiny"):
            assert client.images.get(IMAGE).tag(repository, tag)
            for line in client.api.push(repository, tag, stream=True, decode=True):
                assert "error" not in line, line
            client.api.remove_image(f"{repository}:{tag}")
        assert registry.tags("spark/tiny") == {FIXED: built["digest"], "tiny": built["digest"]}
        said = results.read(REPO, "tiny")
        place = published.Place(
            repository=repository, time="2026-11-26T10:00:00+00:00", tag=FIXED, commit="0" * 40, remarks=("a test",),
            signer=published.Signer(), documents=(),
        )  # fmt: skip
        fields = {field.name: getattr(said, field.name) for field in dataclasses.fields(said)} | {
            "layers": tuple(published.PublishedLayer(**dataclasses.asdict(layer)) for layer in said.layers)
        }
        published.write(folder / "repo", published.Record(**fields, places=(place,), reports=()))
        yield folder / "repo", registry


def test_what_was_published_is_asked_of_its_registry(built, published_clone, tmp_path):
    repo, registry = published_clone
    done = verb("images", "--remote", repo=repo)
    assert done.status == 0, done.err
    assert "in the engine a test" in " ".join(done.out.split())
    other = registrykit.layout(tmp_path / "other", [b"another image"])
    for tag, status in (("tiny", 0), (FIXED, 66)):
        registrykit.skopeo("copy", other.oci, f"docker://{registry.place}/spark/tiny:{tag}", "--dest-tls-verify=false")
        done = verb("images", "--remote", repo=repo)
        assert done.status == status, done.err
    assert f"stands for {other.digest}, and was published as {built['digest']}" in done.err


def test_a_pull_by_digest_is_the_same_image_in_the_classic_store(built, client, second, classic, published_clone):
    """No record and no result is asked: the classic store knows the manifest that it pulled."""
    _, registry = published_clone
    second.images.remove(IMAGE, force=True)
    try:
        pulled = second.images.pull(f"{registry.place}/spark/tiny@{built['digest']}", platform="linux/arm64")
        with container(client), container(second, pulled.id):
            found = [nodes.look(url, lambda _: "") for url in (built["engine"], classic)]
            (pair,) = samenode.same(found)
            assert (pair.verdict, pair.why) == (samenode.SAME, f"the same manifest, {built['digest']}")
    finally:
        second.images.remove(pulled.id, force=True)
        second.images.load(client.images.get(IMAGE).save(named=True))


def test_a_published_digest_is_a_word_of_diff(built, client, published_clone):
    repo, _ = published_clone
    done = verb("diff", built["digest"][7:19], "tiny", "--json", repo=repo)
    assert done.status == 0, done.err
    assert done.json["a"]["manifest"] == built["digest"]


def test_a_published_digest_that_no_engine_has_is_pulled_from_where_it_is(built, published_clone, tmp_path):
    repo, registry = published_clone
    store = own_settings(tmp_path).store
    try:
        done = verb("diff", built["digest"][7:19], built["digest"], "--json", "--store", str(store), repo=repo)
        assert done.status == 0, done.err
        assert done.json["b"]["manifest"] == built["digest"]
        found = dockerapi.connect(private.places(store).url)
        assert found.images.get(built["digest"]).tags == []
        assert found.images.get(f"{registry.place}/spark/tiny@{built['digest']}").id == built["digest"]
        found.close()
    finally:
        private.remove(store)


def test_without_any_engine_it_works(tmp_path):
    done = verb("images", "--store", str(tmp_path / "store"), "--json", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.status == 0, done.err
    assert "No such file" in done.json["engines"][0]["lack"]
