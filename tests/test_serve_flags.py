"""What vLLM knows: dockerfiles/image/serve/ask.py and flags.py on a stand-in package, by the real entry point."""

import json
import sys

import pytest

from tests import servekit

sys.path.insert(0, str(servekit.IMAGE))

from serve import ask, exits, flags
from serve.compose import Option


@pytest.fixture
def world(tmp_path):
    return servekit.World(tmp_path)


def test_a_dry_run_prints_and_starts_nothing(world):
    done = world.run("--dry-run")
    assert done.status == 0, done.err
    assert "vllm serve " in done.out
    assert "--kv-cache-memory-bytes 1G" in done.out
    assert not world.log.exists()


def test_variables_that_this_vllm_does_not_know_are_ignored_and_named(world):
    done = world.run("--dry-run")
    assert "note: VLLM_OF_THE_FORK is ignored: this vLLM does not know it" in done.err
    assert "VLLM_KNOWN=1" in done.out
    assert "VLLM_IN_A_KERNEL=0" in done.out, "read by a file of vLLM's own, though its table has it not"
    assert "VLLM_OF_THE_FORK" not in done.out


def test_a_variable_of_the_container_counts(world):
    done = world.run("--dry-run", VLLM_KNOWN="7")
    assert "note: VLLM_KNOWN stays '7', as the container has it" in done.err
    assert "VLLM_KNOWN=1" not in done.out


def lacking(world, *names):
    parser = "entrypoints/launchers/cli_args.py"
    text = servekit.PACKAGE[parser]
    for name in names:
        assert name in text
        text = text.replace(name, f"other-{name}")
    servekit.write_package(world.site, {parser: text})


def test_an_option_that_this_vllm_lacks(world):
    lacking(world, "kv-cache-memory-bytes", "enable-auto-tool-choice")
    done = world.run("--dry-run")
    assert done.status == exits.OPTIONS
    assert "--kv-cache-memory-bytes (it has --other-kv-cache-memory-bytes)" in done.err
    assert "--enable-auto-tool-choice" in done.err, "all of them"


def test_an_option_that_the_profile_can_do_without(world):
    lacking(world, "kv-cache-memory-bytes")
    world.change(optional='["--kv-cache-memory-bytes"]')
    done = world.run("--dry-run")
    assert done.status == 0, done.err
    assert "this vLLM has no --kv-cache-memory-bytes; the profile can do without" in done.err
    assert "--kv-cache-memory-bytes" not in done.out


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("kv_cache_dtype", '"fp9"', "argument --kv-cache-dtype: invalid choice: 'fp9'"),
        ("tool_call_parser", '"hermes"', "argument --tool-call-parser: 'hermes' is none of deepseek_v4"),
        ("reasoning_parser", '"deep"', "argument --reasoning-parser: 'deep' is none of deepseek_v4, qwen3"),
    ],
)
def test_a_value_that_this_vllm_does_not_take(world, key, value, fault):
    world.change(**{key: value})
    done = world.run("--dry-run")
    assert done.status == exits.OPTIONS
    assert "does not take the command" in done.err
    assert fault in done.err


def test_more_arguments_go_through_and_are_checked(world):
    done = world.run("--dry-run", "--", "--seed", "7", "--port", "9999")
    assert done.status == 0, done.err
    assert done.out.rstrip().endswith("--seed 7 \\\n  --port 9999")
    done = world.run("--dry-run", "--", "--sead", "7")
    assert done.status == exits.OPTIONS
    assert "--sead (it has --seed)" in done.err
    assert world.run("--dry-run", "--", "--port", "x").status == exits.OPTIONS
    assert "end vLLM at once" in world.run("--dry-run", "--", "--help").err


def test_no_vllm(world):
    (world.folder / "venv" / "bin" / "vllm").unlink()
    done = world.run("--dry-run")
    assert done.status == exits.NO_VLLM
    assert "there is no vLLM in this image" in done.err


def test_a_vllm_that_breaks(world):
    """A dry run says so and prints; to serve, it has to answer."""
    servekit.write_package(world.site, {"__init__.py": "import does_not_exist\n"})
    done = world.run("--dry-run")
    assert done.status == 0
    assert "note: not checked against vLLM" in done.err
    assert "does_not_exist" in done.err
    done = world.run()
    assert done.status == exits.NO_VLLM
    assert "does_not_exist" in done.err
    assert not world.log.exists()


def test_a_vllm_that_finds_no_device(world):
    """Without a driver vLLM cannot even say its options; it is told that there is one."""
    servekit.write_package(
        world.site,
        {
            "platforms.py": servekit.PACKAGE["platforms.py"].replace('"cuda"', '""'),
            "entrypoints/launchers/cli_args.py": "from vllm.platforms import current_platform\n"
            "if not current_platform.device_type:\n    raise RuntimeError('no device')\n"
            + servekit.PACKAGE["entrypoints/launchers/cli_args.py"],
        },
    )
    done = world.run("--dry-run")
    assert done.status == 0, done.err
    assert "not checked" not in done.err


# What is kept


def asked(world):
    """Whether vLLM is imported in a start, as a broken one shows."""
    servekit.write_package(world.site, {"__init__.py": "raise SystemExit('asked')\n"})
    return "asked" in world.run("--dry-run").err


def test_it_is_asked_once(world):
    assert world.run("--dry-run").status == 0
    (kept,) = (world.cache / "spark-serve").iterdir()
    assert kept.name == "c0ffee.json"
    assert "--block-size" in json.loads(kept.read_text())["options"]
    assert not asked(world)


def test_another_image_is_asked_anew(world):
    world.run("--dry-run")
    world.manifest.write_text(json.dumps({"chain_id": "beef"}))
    assert asked(world)


def test_another_command_is_asked_anew(world):
    world.run("--dry-run")
    world.change(context=2000)
    assert asked(world)


def test_a_command_that_was_refused_is_not_remembered(world):
    world.change(kv_cache_dtype='"fp9"')
    for _ in range(2):
        assert world.run("--dry-run").status == exits.OPTIONS


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 0}', '{"form": 1, "options": []}'])
def test_what_is_kept_may_be_broken(world, content):
    place = world.cache / "spark-serve" / "c0ffee.json"
    place.parent.mkdir()
    place.write_text(content)
    assert world.run("--dry-run").status == 0
    assert json.loads(place.read_text())["form"] == flags.FORM


def test_nothing_is_kept_without_a_place_or_a_chain_id(world, tmp_path):
    world.manifest.unlink()
    assert world.run("--dry-run").status == 0
    assert list(world.cache.iterdir()) == []
    kept = flags.Kept(str(tmp_path / "none"), str(world.manifest))
    kept.keep({"options": ["--a"]}, ["x"])
    assert kept.accepted(["x"])
    assert not kept.accepted(["x", ""])


# Pieces


def test_ways_to_write_an_option():
    known = ["--compilation-config", "--a-b"]
    words = ["--a_b", "--a-b=1", "--compilation-config.mode", "3", "-tp", "--", "plain", "--nope", "--nope=1"]
    assert flags.unknown(words, known) == ["--nope", "--nope"]


def test_fitting_names_all_that_is_lacking():
    wanted = [Option("--first"), Option("--second", "1"), Option("--last")]
    known = ["--first", "--last"]
    assert flags.fitting(wanted, ["--second"], known) == ([Option("--first"), Option("--last")], ["--second"])
    with pytest.raises(exits.Fault) as caught:
        flags.fitting(wanted, [], ["--unlike"])
    assert caught.value.faults == ["--first", "--second", "--last"]


@pytest.mark.parametrize(
    "text", ['environment_variables = {"A": 1, "B": 2}\n', 'x = {}\nenvironment_variables: dict = {"A": 1, "B": 2}\n']
)
def test_the_table_of_variables_is_read_not_run(tmp_path, text):
    path = tmp_path / "envs.py"
    path.write_text(f"{text}\nraise SystemExit('was run')\n")
    assert ask.variables(str(path)) == ["A", "B"]
    path.write_text("other = 1\n")
    with pytest.raises(LookupError, match="environment_variables"):
        ask.variables(str(path))
