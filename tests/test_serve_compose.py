"""dockerfiles/image/serve/compose.py and model.py: the command of a profile, its environment, and whether a model fits."""

import json
import subprocess
import sys

import pytest

from tests import servekit

sys.path.insert(0, str(servekit.IMAGE))

from serve import compose, exits, model, profile


def baked(name, **serve):
    said = profile.read(str(servekit.PROFILES / f"{name}.toml"))
    return {**said, "serve": {**said["serve"], **{key.replace("_", "-"): value for key, value in serve.items()}}}


def given(said):
    return dict(compose.options(said))


def test_the_command_of_k144():
    assert [(name, value) for name, value in compose.options(baked("k144-nospec-200k"))] == [
        ("--served-model-name", "DeepSeek-V4-Flash-Spark-Mini"),
        ("--host", "0.0.0.0"),
        ("--port", "8000"),
        ("--max-model-len", "200000"),
        ("--max-num-seqs", "1"),
        ("--max-num-batched-tokens", "8192"),
        ("--kv-cache-dtype", "fp8"),
        ("--kv-cache-memory-bytes", "14G"),
        ("--block-size", "256"),
        ("--gpu-memory-utilization", "0.88"),
        ("--enable-prefix-caching", None),
        ("--compilation-config", '{"cudagraph_mode":"FULL_AND_PIECEWISE","custom_ops":["all"]}'),
        ("--tokenizer-mode", "deepseek_v4"),
        ("--reasoning-parser", "deepseek_v4"),
        (
            "--reasoning-config",
            '{"reasoning_parser":"deepseek_v4","reasoning_start_str":"<think>","reasoning_end_str":"</think>"}',
        ),
        ("--enable-auto-tool-choice", None),
        ("--tool-call-parser", "deepseek_v4"),
        ("--default-chat-template-kwargs", '{"thinking":true}'),
    ]


def test_what_k160_has_besides():
    k144, k160 = given(baked("k144-nospec-200k")), given(baked("k160-mtp2-200k"))
    assert k160["--speculative-config"] == '{"method":"deepseek_mtp","num_speculative_tokens":2}'
    assert {name for name in k160 if k160[name] != k144.get(name, "")} == {
        "--served-model-name", "--max-num-batched-tokens", "--kv-cache-memory-bytes", "--speculative-config",
    }  # fmt: skip


def test_what_a_profile_turns_off():
    said = given(
        baked("k144-nospec-200k", thinking=False, prefix_caching=False, auto_tool_choice=False, reasoning_config="")
    )
    assert "--no-enable-prefix-caching" in said
    assert json.loads(said["--default-chat-template-kwargs"]) == {"thinking": False}
    assert not {"--enable-prefix-caching", "--enable-auto-tool-choice", "--reasoning-config"} & said.keys()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], ("0.0.0.0", 8000, False)),
        (["--port", "9", "--host=::1"], ("::1", 9, False)),
        (["--port=9", "--port", "10"], ("0.0.0.0", 10, False)),
        (["--ssl_certfile", "x"], ("0.0.0.0", 8000, True)),
        (["--port"], ("0.0.0.0", 8000, False)),
    ],
)
def test_where_it_will_listen(more, expected):
    assert compose.address(more, "0.0.0.0", 8000) == expected


def test_variables():
    said = {"environment": {"VLLM_A": "1", "VLLM_FORK": "2", "NCCL_DEBUG": "WARN", "VLLM_SET": "3"}}
    found = compose.variables(said, {"VLLM_A", "VLLM_SET"}, {"VLLM_SET": "mine"})
    assert found == ({"VLLM_A": "1", "NCCL_DEBUG": "WARN"}, ["VLLM_FORK"], ["VLLM_SET"])
    assert compose.variables(said, None, {}).added == said["environment"], "nobody could tell"


def test_caches(tmp_path):
    volume, home, last = tmp_path / "volume", tmp_path / "home", tmp_path / "last"
    there = {"HOME": str(home), "TRITON_CACHE_DIR": "/mine"}
    home.mkdir()
    assert compose.caches(str(volume), str(last), there) == ("", {}), "the libraries' own places"
    volume.mkdir()
    root, made = compose.caches(str(volume), str(last), there)
    assert root == str(volume)
    assert made["VLLM_CACHE_ROOT"] == f"{volume}/vllm"
    assert not {"TRITON_CACHE_DIR", "HOME"} & made.keys(), "what is set counts, and a home that is one"
    volume.rmdir()
    home.rmdir()
    root, made = compose.caches(str(volume), str(last), there)
    assert root == str(last)
    assert made["HOME"] == f"{last}/home"


@pytest.mark.programs("sh")
def test_what_is_shown_is_what_a_shell_reads(tmp_path):
    """Back through a real shell: each word as it was, awkward ones too."""
    command = ["printf", "%s\\0", "serve", "--a", "it's", "--json", '{"a": "$HOME `x` \\ \n"}', "", "é", "--b=*"]
    shown = compose.shown(command, {"AWKWARD": "a b'c"})
    assert shown.startswith("AWKWARD='a b'\"'\"'c' \\\n")
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == command[2:]


def test_secrets_are_not_shown():
    command = ["vllm", "serve", "m", "--api-key", "s3cret", "--api_key=s3cret", "--hf-token=s3cret", "--seed", "7"]
    shown = compose.shown(command, {})
    assert "s3cret" not in shown
    assert shown.count("…") == 3
    assert "--seed 7" in shown


# The model


def checked(folder, **wanted):
    said = baked("k144-nospec-200k")
    model.check(str(folder), {**said, "model": {**said["model"], **wanted}})


@pytest.fixture
def folder(tmp_path):
    servekit.write_model(
        tmp_path / "model", n_routed_experts=144, num_experts_per_tok=6, max_position_embeddings=1_048_576
    )
    return tmp_path / "model"


def faults(folder, **wanted):
    with pytest.raises(exits.Fault) as caught:
        checked(folder, **wanted)
    assert caught.value.status == exits.MODEL
    return str(caught.value)


def test_the_right_model(folder):
    checked(folder)


def test_every_difference_is_told(folder):
    servekit.write_model(folder, model_type="llama", n_routed_experts=256)
    said = faults(folder)
    assert "model_type is 'llama', the profile is for 'deepseek_v4'" in said
    assert "n_routed_experts is 256, the profile is for 144" in said
    assert "num_experts_per_tok is None, the profile is for 6" in said
    assert "0xSero/DeepSeek-V4-Flash-162B at d663e8fb" in said


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"num_hash_layers": 44}, "44 hash layers of 43 layers"),
        ({"num_hash_layers": -1}, "-1 hash layers"),
        ({"max_position_embeddings": 4096}, "max_position_embeddings is 4096, the profile's context 200000"),
    ],
)
def test_what_cannot_be(folder, config, fault):
    servekit.write_model(folder, n_routed_experts=144, num_experts_per_tok=6, **config)
    assert fault in faults(folder)


def test_hash_layers_where_the_profile_says_how_many(folder):
    checked(folder, **{"hash-layers": 3})
    assert "num_hash_layers is 3, the profile is for 2" in faults(folder, **{"hash-layers": 2})


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_no_model(folder, text):
    (folder / "config.json").unlink()
    if text is not None:
        (folder / "config.json").write_text(text)
    assert "there is no model in" in faults(folder)


def test_a_download_that_was_not_finished(folder):
    table = {f"layer.{number}": f"model-0000{number}-of-00009.safetensors" for number in range(1, 10)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    (folder / "model-00001-of-00009.safetensors").write_bytes(b"x")
    (folder / "model-00002-of-00009.safetensors").write_bytes(b"")
    said = faults(folder)
    assert "8 of 9 files are not there: model-00002-of-00009.safetensors" in said
    assert "and 3 more" in said


def test_no_weights(folder):
    (folder / "model-00001-of-00001.safetensors").unlink()
    assert "there are no weights" in faults(folder)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}'])
def test_an_index_that_is_none(folder, index):
    (folder / "model.safetensors.index.json").write_text(index)
    assert "no weight_map" in faults(folder)
