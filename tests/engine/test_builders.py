"""Builders that are not the engine's own, and caches in a registry: a second engine on loopback builds for a client.

What is emulated takes half a minute or two: `./nox -s tests -- --engine --slow tests/engine/test_builders.py`.
"""

import base64
import json

import pytest

from build import engine, host, ociimage, results, roots
from build.models import Settings
from build.settings import REPO, default_store
from tests.engine import builderkit, registrykit

STEPS = 7  # of tiny's Dockerfile
USERS = {"builder": "a-registry's-pass"}
RECORDED = results.read(REPO, "tiny")


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    with builderkit.second_engine(tmp_path_factory.mktemp("farm")) as place:
        yield place


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with registrykit.registry(tmp_path_factory.mktemp("registry")) as real:
        yield real


@pytest.fixture
def closed(tmp_path):
    with registrykit.registry(tmp_path / "closed", htpasswd=USERS) as real:
        yield real


def to_file(folder):
    return f"type=oci,dest={folder}/image.tar"


def test_another_engine_gives_the_recorded_image_as_a_file(farm, tmp_path):
    done = farm.build("--builder", "farm", "--output", to_file(tmp_path), "--expect")
    assert done.status == 0, done.err
    assert "as recorded in lock/results/: the same manifest" in done.err
    assert f"builds on {roots.host_architecture()}: its steps run programs for that" in done.err
    assert set(done.steps().values()) == {"run"}
    assert len(done.steps()) == STEPS
    assert done.json["digest"] == ociimage.read("x", tmp_path / "image.tar").manifest == RECORDED.manifest


def test_by_tcp_and_certificates_it_is_the_same_engine(farm):
    done = farm.build("--builder", "farm-tls", "--output", "type=cacheonly", DOCKER_HOST="tcp://127.0.0.1:9")
    assert done.status == 0, done.err
    assert set(done.steps().values()) == {"cached"}


def test_what_one_engine_built_another_takes_from_a_registry(farm, registry):
    """The first is the engine that the other tests use; the second has nothing but the cache."""
    first = engine.up(Settings(repo=REPO, store=default_store()))
    sent = farm.build("--cache-to", f"{registry.place}/team/cache", DOCKER_HOST=first.url)
    assert sent.status == 0, sent.err
    assert registry.tags("team/cache").keys() == {"cache-tiny"}
    farm.prune()
    place = f"{registry.place}/team/image:x"
    done = farm.build(
        "--builder", "farm", "--cache-from", f"{registry.place}/team/cache", "--expect",
        "--output", f"type=registry,name={place}",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "the same manifest" in done.err
    assert "run" not in done.steps().values(), done.log
    assert len(done.steps()) == STEPS
    assert registry.tags("team/image") == {"x": RECORDED.manifest}
    layers = {layer.digest for layer in RECORDED.layers}
    assert layers <= registry.blobs("team/cache"), "compressed as the image's: a registry holds them once"


def test_a_cache_that_compresses_otherwise_gives_the_same_image(farm, registry, tmp_path):
    spec = f"type=registry,ref={registry.place}/team/gzip:1,mode=max,compression=gzip,force-compression=true"
    sent = farm.build("--builder", "farm", "--cache-to", spec, "--output", "type=cacheonly")
    assert sent.status == 0, sent.err
    assert not registry.blobs("team/gzip") & {layer.digest for layer in RECORDED.layers}
    farm.prune()
    done = farm.build(
        "--builder", "farm", "--cache-from", f"{registry.place}/team/gzip:1", "--output", to_file(tmp_path), "--expect"
    )
    assert done.status == 0, done.err
    assert "the same manifest" in done.err
    assert "run" not in done.steps().values(), done.log


def test_another_compression_is_the_same_image_by_its_configuration(farm, registry):
    spec = f"type=registry,name={registry.place}/team/image:gzip,compression=gzip,force-compression=true"
    done = farm.build("--builder", "farm", "--output", spec, "--expect")
    assert done.status == 0, done.err
    assert "the same configuration, and so the same diff ids; the manifest is sha256:" in done.err
    assert registry.tags("team/image")["gzip"] == done.json["digest"] != RECORDED.manifest


def test_a_cache_that_is_not_there_is_told_and_the_build_goes_on(farm, registry):
    done = farm.build(
        "--builder", "farm", "--output", "type=cacheonly", "--cache-from", f"{registry.place}/team/none",
        "--cache-from", "127.0.0.1:9/team/none",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert f"warning: nothing is taken from a cache: importing cache manifest from {registry.place}" in done.err
    assert "connection refused" in done.err


def test_a_registry_that_does_not_know_us_gets_no_cache(farm, closed):
    place = f"{closed.place}/team/cache"
    done = farm.build("--builder", "farm", "--output", "type=cacheonly", "--cache-to", place, "--cache-from", place)
    assert done.status == 51
    assert "warning: nothing is taken from a cache" in done.err
    assert "the image was built, and its build cache could not be sent" in done.err
    assert closed.tags("team/cache") == {}


def test_it_lets_in_who_docker_or_the_environment_knows_and_shows_nothing(farm, closed, tmp_path):
    told = base64.b64encode(f"builder:{USERS['builder']}".encode()).decode()
    file = farm.config / "config.json"
    file.write_text(json.dumps({"auths": {closed.place: {"auth": told}}}))
    ways = [{}, {"REGISTRY_USER": "builder", "REGISTRY_TOKEN": USERS["builder"]}]
    for number, way in enumerate(ways):
        tag = f"{closed.place}/team/cache:{number}"
        done = farm.build("-v", "--builder", "farm", "--output", "type=cacheonly", "--cache-to", tag, **way)
        assert done.status == 0, done.err
        for secret in (USERS["builder"], told):
            assert secret not in done.err + done.log
        file.unlink(missing_ok=True)
    assert closed.tags("team/cache").keys() == {"0", "1"}
    assert list((farm.settings.store / "scratch").iterdir()) == []


def test_a_builder_that_cannot_be_used_is_named_before_anything_is_made(farm):
    farm.context("gone", "unix:///nowhere/docker.sock")
    farm.context("stranger", farm.tcp)
    for name, why in (("gone", "Cannot connect"), ("none", "no builder"), ("stranger", "HTTPS")):
        done = farm.build("--builder", name, "--output", "type=cacheonly")
        assert done.status == 40, done.err
        assert f"the builder {name} cannot be used" in done.err
        assert why in done.err
        assert not done.log


def test_an_engine_that_writes_layers_otherwise_is_refused(farm, tmp_path):
    """The old store's layers have other diff ids: `type=registry` would not have told."""
    with builderkit.old_engine(tmp_path, farm):
        done = farm.build("--builder", "old", "--output", "type=registry,name=127.0.0.1:9/x")
    assert done.status == 40, done.err
    assert "the builder old is a Docker Engine with its old image store" in done.err


@pytest.mark.slow
@pytest.mark.skipif(roots.host_architecture() == "arm64", reason="arm64 is what this machine's programs are for")
def test_steps_run_the_programs_of_the_machine_that_builds(farm, tmp_path):
    """This machine emulates the other: whatever ran, the image is the same; the context tells what did."""
    done = farm.build("--builder", "farm", "--machine", "arm64", "--output", to_file(tmp_path), "--expect")
    assert done.status == 0, done.err
    assert "the same manifest" in done.err
    assert "its steps run programs for arm64" in done.err
    foreign(farm.settings)
    assert done.steps()["[runtime 1/4]"] == "run"


@pytest.mark.slow
@pytest.mark.skipif(roots.host_architecture() == "arm64", reason="an engine of arm64 is this machine's own")
def test_an_engine_of_arm64_is_found_out_and_gives_the_recorded_image(tmp_path):
    with builderkit.arm_engine(tmp_path) as place:
        done = place.build("--builder", "arm", "--output", to_file(tmp_path), "--expect")
        assert done.status == 0, done.err
        assert "the builder arm builds on arm64" in done.err
        assert "the same manifest" in done.err
        foreign(place.settings)


def foreign(settings):
    """The context holds Python and uv for arm64."""
    main = settings.store / "contexts" / "tiny" / "main"
    debset = host.locked_debs(settings, host.BUILDER, "arm64")
    assert main.joinpath("builder.tar").samefile(roots.ensure_tar(settings.store, debset))
    assert main.joinpath("uv").read_bytes()[18] == 183, "an ELF file for AArch64"
