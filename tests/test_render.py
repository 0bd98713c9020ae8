"""The Dockerfile: the same text for the same lock, no network in any step, nothing undefined."""

import shutil

import jinja2
import pytest

from build import recipe, steps
from build.errors import ProfileError
from build.models import Settings
from build.render import image_env
from build.settings import REPO


@pytest.fixture(params=["tiny", "v0.22", "v0.32"])
def job(request, tmp_path):
    return steps.load(Settings(repo=REPO, store=tmp_path), request.param)


def test_the_same_lock_gives_the_same_text(job):
    text = recipe.dockerfile(job, chain="c" * 64)
    assert text == recipe.dockerfile(job, chain="c" * 64)
    assert f'spark-runtime.chain-id="{"c" * 64}"' in text
    assert str(REPO) not in text
    assert str(job.settings.store) not in text


def test_no_step_has_a_network_and_nothing_is_pulled(job):
    text = recipe.dockerfile(job, chain="")
    runs = [line for line in text.splitlines() if line.startswith("RUN")]
    assert runs
    assert all(line.startswith("RUN --network=none ") for line in runs)
    stages = {line.split(" AS ")[1] for line in text.splitlines() if line.startswith("FROM")}
    bases = {line.split(" AS ")[0].split()[-1] for line in text.splitlines() if line.startswith("FROM")}
    assert bases <= stages | {"scratch"}
    assert "# syntax" not in text


def test_each_layer_is_one_step_from_the_slowest_changing_to_the_fastest(job):
    text = recipe.dockerfile(job, chain="")
    order = [text.index(f"from=layer-{layer.name},") for layer in recipe.grouped(job)]
    order = [text.rindex(f"from=layer-{layer.name},") for layer in recipe.grouped(job)]
    assert order == sorted(order)
    assert order[-1] < text.index("/mnt/lane/ours.py") < text.index("/mnt/lane/patched.py")


def test_the_chain_id_follows_everything_that_enters_the_image(job, tmp_path, monkeypatch):
    before = recipe.chain_id(job)
    assert before == recipe.chain_id(job)
    copy = tmp_path / "repo"
    shutil.copytree(REPO / "dockerfiles", copy / "dockerfiles", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    from dataclasses import replace

    shutil.copytree(REPO / "lock" / "profiles", copy / "lock" / "profiles")
    moved = replace(job, settings=replace(job.settings, repo=copy))
    assert recipe.chain_id(moved) == before
    (copy / "dockerfiles" / "image" / "checks" / "new.py").write_text("x = 1\n")
    assert recipe.chain_id(moved) != before


def test_the_chain_id_follows_the_profiles_of_the_target_alone(job, tmp_path):
    from dataclasses import replace

    copy = tmp_path / "repo"
    shutil.copytree(REPO / "dockerfiles", copy / "dockerfiles", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    shutil.copytree(REPO / "lock" / "profiles", copy / "lock" / "profiles")
    moved = replace(job, settings=replace(job.settings, repo=copy))
    before = recipe.chain_id(moved)
    profile = copy / "lock" / "profiles" / "k144-nospec-200k.toml"
    profile.write_text(profile.read_text().replace("sequences = 1", "sequences = 2"))
    assert (recipe.chain_id(moved) != before) is (job.name != "tiny")
    profile.write_text(profile.read_text().replace("sequences = 2", "sequenzes = 2"))
    with pytest.raises(ProfileError, match="has 2 faults"):
        recipe.chain_id(moved)


def test_profiles_are_in_the_last_layer_of_the_images_that_they_are_for(job):
    text = recipe.dockerfile(job, chain="")
    steps_of = [line for line in text.splitlines() if "/mnt/lane/manifest.py" in line and "/mnt/profiles" in line]
    baked = recipe.baked(job)
    assert list(baked) == ([] if job.name == "tiny" else ["k144-nospec-200k.toml", "k160-mtp2-200k.toml"])
    assert ("source=profiles,target=/mnt/profiles" in text) is bool(steps_of) is bool(baked)
    assert list(recipe.manifest(job, chain="")["profiles"]) == list(baked)
    assert text.index("/mnt/lane/patched.py") < text.index("/mnt/lane/manifest.py")


def test_the_entry_point_and_the_health_check_run_no_shell(job):
    """In exec form, by Debian's Python in isolated mode; any other command is an argument of it."""
    lines = recipe.dockerfile(job, chain="").splitlines()
    program = f'["/usr/bin/python{job.lock.python}", "-I", "-S", "/opt/spark/serve"'
    assert f"ENTRYPOINT {program}]" in lines
    assert f'    CMD {program}, "health"]' in lines
    assert [line for line in lines if line.startswith("HEALTHCHECK ")] == [
        "HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=2 \\"
    ]
    assert lines[-1] == 'CMD ["bash"]'


def test_the_chain_id_follows_which_layer_a_wheel_is_in(job):
    from dataclasses import replace

    last, *others = reversed(job.intent.layers)
    moved = job.intent.model_copy(update={"layers": (*reversed(others), last.model_copy(update={"name": "renamed"}))})
    names = {layer.name for layer in recipe.grouped(job)}
    changed = recipe.chain_id(replace(job, intent=moved)) != recipe.chain_id(job)
    assert changed is (last.name in names)


def test_an_unknown_name_in_a_template_is_an_error(job, tmp_path):
    from dataclasses import replace

    copy = tmp_path / "repo"
    shutil.copytree(REPO / "dockerfiles", copy / "dockerfiles", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    with open(copy / "dockerfiles" / "builder.j2", "a", encoding="utf-8") as stream:
        stream.write("ENV X={{ no_such_thing }}\n")
    with pytest.raises(jinja2.UndefinedError, match="no_such_thing"):
        recipe.dockerfile(replace(job, settings=replace(job.settings, repo=copy)), chain="")


def test_an_image_without_cuda_says_nothing_of_it():
    assert "CUDA_HOME" not in image_env("3.13", cuda=False)
    env = image_env("3.13", cuda=True)
    assert env["CUDA_HOME"] + "/bin" in env["PATH"].split(":")
    assert env["NVIDIA_VISIBLE_DEVICES"] == "all"
