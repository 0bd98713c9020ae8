"""build/profiles.py and lock/profiles/: what the card says, every fault with its place, and the image reads the same."""

import json
import sys
import tomllib

import pytest

from build import intent, profiles
from build.errors import ProfileError
from build.settings import REPO
from tests import servekit

sys.path.insert(0, str(servekit.IMAGE))

from serve import exits, keys, profile

BAKED = {path.stem: path.read_text() for path in sorted(servekit.PROFILES.glob("*.toml"))}
SMALL = servekit.PROFILE


@pytest.fixture(scope="module")
def found():
    return profiles.read_all(REPO, intent.read_intent(REPO).targets)


def test_k144_is_as_the_card_has_it(found):
    """The seed's model card, "Exact working profile", and what its launcher is said to enable."""
    k144 = found["k144-nospec-200k"]
    assert (k144.model.repo, k144.model.revision, k144.model.served_name) == (
        "0xSero/DeepSeek-V4-Flash-162B", "d663e8fb16809f6619000648b187b257249ed824", "DeepSeek-V4-Flash-Spark-Mini",
    )  # fmt: skip
    assert (k144.model.bytes, k144.model.type, k144.model.routed_experts) == (94_000_000_000, "deepseek_v4", 144)
    serve = k144.serve
    assert (serve.context, serve.kv_cache_memory, serve.kv_cache_dtype) == (200_000, "14G", "fp8")
    assert (serve.batched_tokens, serve.sequences, serve.gpu_memory_utilization) == (8192, 1, "0.88")
    assert (serve.thinking, serve.speculative, serve.block_size) == (True, "", 256)
    assert (serve.prefix_caching, serve.auto_tool_choice, serve.cudagraph_mode) == (True, True, "FULL_AND_PIECEWISE")
    assert k144.watchdog.min_available_kb == 8_388_608
    assert k144.environment == {
        "VLLM_ENABLE_DEEPSEEK_V4_SPARSE_MLA_WARMUP": "0", "VLLM_TRITON_MLA_SPARSE_ALLOW_CUDAGRAPH": "1",
    }  # fmt: skip
    (measured,) = k144.measured
    assert (measured.prompt_tokens, measured.ttft_seconds) == (186_390, 345.834)
    assert (measured.prefill_tokens_per_second, measured.decode_tokens_per_second) == (538.958, 13.899)


def test_k160_is_as_its_repository_has_it(found):
    k160 = found["k160-mtp2-200k"]
    assert (k160.model.repo, k160.model.revision) == (
        "0xSero/DeepSeek-V4-Flash-180B", "7c360e1cd4a5168099dbc54d16d929bf6df04990",
    )  # fmt: skip
    serve = k160.serve
    assert (serve.context, serve.kv_cache_memory, serve.kv_cache_dtype) == (200_000, "6G", "fp8")
    assert (serve.batched_tokens, serve.sequences, serve.gpu_memory_utilization) == (4096, 1, "0.88")
    assert serve.thinking
    assert serve.speculative == '{"method":"deepseek_mtp","num_speculative_tokens":2}'
    assert k160.watchdog.min_available_kb == 6_291_456
    assert "the seed's card" not in "".join(item.source for item in k160.measured)
    assert {item.prefill_tokens_per_second for item in k160.measured} == {514.0, 514.075}


@pytest.mark.parametrize(
    ("size", "expected"), [("14G", 14 * 2**30), ("6g", 6 * 10**9), ("1.5g", 1_500_000_000), ("64M", 2**26), ("7", 7)]
)
def test_sizes_are_vllms(size, expected):
    """As vllm/utils/argparse_utils.py reads them: capital letters are powers of 1024."""
    text = SMALL.replace('kv-cache-memory = "1G"', f'kv-cache-memory = "{size}"')
    assert profiles.parse(text.encode(), "x").serve.kv_cache_bytes == expected


def test_every_fault_is_told_at_once_with_its_place():
    text = (
        SMALL.replace("context = 1000", "contxt = 1000").replace("block-size = 256", 'block-size = "256"')
        .replace("min-available-kb = 100000", "min-available-kb = -1").replace('VLLM_KNOWN = "1"', "VLLM_KNOWN = 1")
    )  # fmt: skip
    with pytest.raises(ProfileError) as caught:
        profiles.parse(text.encode(), "mine.toml")
    assert caught.value.what == "mine.toml has 5 faults"
    for part in (
        "serve.context: missing key", "serve.contxt: unknown key; did you mean 'context'?", "serve.block-size:",
        "watchdog.min-available-kb:", "environment.VLLM_KNOWN",
    ):  # fmt: skip
        assert part in caught.value.why
    assert caught.value.exit_code == exits.PROFILE


def test_no_toml_and_no_file(tmp_path):
    with pytest.raises(ProfileError, match="is not TOML"):
        profiles.parse(b"= 1", "x")
    with pytest.raises(ProfileError, match="cannot be read"):
        profiles.read_file(tmp_path / "none.toml")


def test_all_files_of_the_folder_are_told_together(tmp_path):
    folder = tmp_path / profiles.FOLDER
    folder.mkdir(parents=True)
    (folder / "other.toml").write_text(SMALL)
    (folder / "broken.toml").write_text(SMALL.replace("schema = 1", "schema = 2"))
    with pytest.raises(ProfileError) as caught:
        profiles.read_all(tmp_path, ["v0.32"])
    assert "broken.toml: schema" in caught.value.why
    assert "other.toml: name: the file is called otherwise (found 'small')" in caught.value.why
    assert "other.toml: targets.0: there is no target 'tiny'" in caught.value.why


def test_nearest_name(found):
    assert profiles.named(found, "k160-mtp2-200k").name == "k160-mtp2-200k"
    with pytest.raises(ProfileError) as caught:
        profiles.named(found, "k144-200k")
    assert "did you mean k144-nospec-200k?" in caught.value.todo


def test_nothing_of_a_profile_can_be_changed(found):
    with pytest.raises(ValueError, match="frozen"):
        found["k144-nospec-200k"].serve.context = 1


# The image's own reader


def image_reads(text):
    try:
        return profile.parse(text.encode(), "x")
    except exits.Fault:
        return None


def host_reads(text):
    try:
        return profiles.parse(text.encode(), "x")
    except ProfileError:
        return None


@pytest.mark.parametrize("text", [*BAKED.values(), SMALL], ids=[*BAKED, "small"])
def test_the_image_reads_the_same(text):
    read, known = image_reads(text), host_reads(text)
    told = json.loads(known.model_dump_json(by_alias=True))
    assert json.loads(json.dumps(read, default=str)) == told


def test_the_image_knows_the_same_keys():
    tables = {
        "": profiles.Profile, "model": profiles.ModelTable, "serve": profiles.ServeTable,
        "watchdog": profiles.WatchdogTable,
    }  # fmt: skip
    for name, table in tables.items():
        own = {field.alias or key for key, field in table.model_fields.items()} - {*tables, "environment", "measured"}
        assert keys.TABLES[name].keys() == own, name
    assert keys.MEASURED.keys() == {field.alias for field in profiles.MeasuredTable.model_fields.values()}


VALUES = (
    "true", "0", "-1", "1", "2", "1.5", '""', '"x"', '"X_1"', '"14G"', '"0.88"', '"1.5"', '"0.0"', '" 1"', '"{}"',
    '"[]"', '"{"', "[]", '["a"]', '[""]', "[1]", '["--a-b"]', "2026-01-01", "2026-01-01T00:00:00", "{}", '"a\\n"',
)  # fmt: skip
PLACES = [(table, key) for table in keys.TABLES for key in keys.TABLES[table]]


@pytest.mark.parametrize(("table", "key"), PLACES, ids=[f"{table}.{key}" for table, key in PLACES])
def test_host_and_image_take_and_refuse_the_same_values(table, key):
    data = tomllib.loads(SMALL)
    for value in VALUES:
        parts = {"": dict(data), **{name: dict(data[name]) for name in keys.TABLES if name}}
        parts[table].pop(key, None)
        lines = [*assigned({k: v for k, v in parts[""].items() if not isinstance(v, dict)})]
        lines += [f"{key} = {value}"] if not table else []
        for name in ("model", "serve", "watchdog"):
            lines += [f"[{name}]", *assigned(parts[name])]
            lines += [f"{key} = {value}"] if table == name else []
        text = "\n".join(lines)
        assert (image_reads(text) is None) == (host_reads(text) is None), f"{table}.{key} = {value}"


def assigned(table):
    return [f"{name} = {json.dumps(value)}" for name, value in table.items()]


@pytest.mark.parametrize(
    "change",
    [
        ("[watchdog]", "[watchdog]\nunknown = 1"),
        ("[watchdog]", "[other]\n[watchdog]"),
        ("critical-kb = 10000", "critical-kb = 200000"),
        ("critical-kb = 10000", "critical-kb = 10000\nstartup-min-available-kb = 5000"),
        ("[model]", "[[model]]"),
        ("VLLM_KNOWN", "vllm_known"),
        ("[watchdog]", "[[measured]]\nwhat = 1\n[watchdog]"),
        ("[watchdog]", "[measured]\n[watchdog]"),
    ],
)
def test_both_refuse(change):
    text = SMALL.replace(*change)
    assert text != SMALL
    assert image_reads(text) is None
    assert host_reads(text) is None


def test_the_image_names_every_fault_too(tmp_path):
    with pytest.raises(exits.Fault) as caught:
        profile.parse(SMALL.replace("context = 1000", "contxt = 1000").replace("= 256", "= true").encode(), "mine.toml")
    said = str(caught.value)
    assert caught.value.status == exits.PROFILE
    assert "serve.context: missing key" in said
    assert "serve.contxt: unknown key; did you mean 'context'?" in said
    assert "serve.block-size: a whole number from 1 is needed (found True)" in said
    (tmp_path / "a.toml").write_text(SMALL)
    with pytest.raises(exits.Fault, match="cannot be read") as caught:
        profile.read("b", str(tmp_path))
    assert "in this image: a" in str(caught.value)
    assert profile.read("a", str(tmp_path)) == profile.read(str(tmp_path / "a.toml"))
