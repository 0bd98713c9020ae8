"""What a model must be before it is loaded: config.json, headers, the range of the routing tables, every expert."""

import json
import re
import struct

import pytest

from build import modelconfig, modelweights
from build.errors import ModelError
from build.modelconfig import FUSED_COUNTS, Wanted
from build.modelweights import Table
from build.settings import REPO
from tests import modelkit
from tests.modelkit import Tensor

WANTED = Wanted(type="deepseek_v4", routed_experts=6, bytes=1, context=1000)


def look(tmp_path, wanted=WANTED, **how):
    return again(modelkit.lay(tmp_path, modelkit.tiny(**how)), wanted)


def again(folder, wanted=WANTED):
    return modelweights.check_weights(folder, modelconfig.check_config(folder, wanted), wanted)


def refused(tmp_path, wanted=WANTED, **how):
    with pytest.raises(ModelError) as caught:
        look(tmp_path, wanted, **how)
    return f"{caught.value}"


def test_a_sound_model_is_told_of(tmp_path):
    seen = look(tmp_path)
    assert seen.tables == (Table(layer=0, lowest=0, highest=5), Table(layer=1, lowest=0, highest=5))
    assert (seen.files, seen.tensors) == (3, 1 + 3 + 2 + 3 * 6 * 6)
    assert seen.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("dtype", ["I8", "U8", "I16", "I32", "I64"])
def test_tables_of_every_integer_are_read(tmp_path, dtype):
    assert look(tmp_path, table_type=dtype).tables[1].highest == 5


def test_one_file_without_an_index_will_do(tmp_path):
    assert look(tmp_path, count=1, more={modelkit.INDEX: None}).files == 1


def test_files_that_the_index_does_not_name_are_not_loaded_and_not_looked_at(tmp_path):
    assert look(tmp_path, more={"old.safetensors": b"junk"}).files == 3


def test_names_below_model_are_the_same_to_the_loader(tmp_path):
    made = {f"model.{name}": tensor for name, tensor in modelkit.tensors(modelkit.config()).items()}
    parts = modelkit.shards(made, 2)
    files = {"config.json": json.dumps(modelkit.config()).encode(), modelkit.INDEX: modelkit.index(parts)}
    files |= {name: modelkit.safetensors(part) for name, part in parts.items()}
    assert len(again(modelkit.lay(tmp_path, files)).tables) == 2


# config.json


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"model_type": "deepseek_v3"}, "model_type is 'deepseek_v3', and the profile says 'deepseek_v4'"),
        ({"model_type": None}, "model_type is None"),
        ({"n_routed_experts": 256}, "n_routed_experts is 256, and the profile says 6"),
        ({"n_routed_experts": None}, "n_routed_experts is missing"),
        ({"n_routed_experts": "6"}, "n_routed_experts is '6'; a number is needed"),
        ({"n_routed_experts": True}, "n_routed_experts is True; a number is needed"),
        ({"num_hash_layers": None}, "num_hash_layers is missing"),
        ({"num_hash_layers": -1}, "num_hash_layers is -1; a number is needed"),
        ({"num_hash_layers": 4}, "num_hash_layers is 4, of 3 layers"),
        ({"num_experts_per_tok": 7}, "num_experts_per_tok is 7, of 6 experts"),
        ({"vocab_size": None}, "vocab_size is missing"),
        ({"max_position_embeddings": 999}, "max_position_embeddings is 999, and the profile's context 1000"),
    ],
)
def test_a_config_that_is_not_the_profiles(tmp_path, changed, why):
    (tmp_path / "config.json").write_text(json.dumps(modelkit.config(**changed)))
    with pytest.raises(ModelError, match=re.escape(why)):
        modelconfig.check_config(tmp_path, WANTED)


def test_all_that_is_wrong_with_a_config_is_told_at_once(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(modelkit.config(model_type="x", n_routed_experts=8, vocab_size=None))
    )
    wanted = Wanted(
        type="deepseek_v4", routed_experts=6, bytes=1, context=1, layers=43, hash_layers=3, experts_per_token=6
    )
    with pytest.raises(ModelError) as caught:
        modelconfig.check_config(tmp_path, wanted)
    assert len(caught.value.why.splitlines()) == 6


@pytest.mark.parametrize(
    ("text", "why"), [(b"{", "is not JSON"), (b"[]", "not an object"), (b"\xff", "not JSON"), (None, "not there")]
)
def test_a_config_that_is_none(tmp_path, text, why):
    if text is not None:
        (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(ModelError, match=why):
        modelconfig.check_config(tmp_path, WANTED)


def test_only_deepseek_v4_needs_hash_layers(tmp_path):
    said = modelkit.config(model_type="other_moe", num_hash_layers=None)
    (tmp_path / "config.json").write_text(json.dumps(said))
    wanted = Wanted(type="other_moe", routed_experts=6, bytes=1, context=1)
    assert modelconfig.check_config(tmp_path, wanted).hash_layers == 0


def test_the_size_is_compared_within_reason():
    wanted = Wanted(type="x", routed_experts=1, bytes=94_000_000_000, context=1)
    gib = 94 * 2**30
    assert [bool(modelconfig.size_fault(size, wanted)) for size in (94_300_000_000, gib, 80 * 10**9, 156 * 10**9)] == [
        False, False, True, True,
    ]  # fmt: skip


def test_which_counts_an_image_routes():
    assert modelconfig.unroutable(256, any_count=False) == ""
    assert "no code for 144 experts" in modelconfig.unroutable(144, any_count=False)
    assert modelconfig.unroutable(144, any_count=True) == ""
    assert "2048" in modelconfig.unroutable(4000, any_count=True)


def test_the_fused_counts_are_those_that_the_patch_leaves_to_the_kernel():
    text = (REPO / "patches/v0.22/vllm/0002-router-any-expert-count.patch").read_text()
    listed = re.search(r"FUSED_EXPERT_COUNTS = frozenset\(\n\+\s+\(([^)]*)\)", text)[1]
    assert {int(count) for count in listed.split(",")} == FUSED_COUNTS


def test_the_most_that_is_routed_is_the_patchs():
    text = (REPO / "patches/v0.22/vllm/0003-router-triton-kernel.patch").read_text()
    assert int(re.search(r"^\+MAX_EXPERTS = (\d+)", text, re.MULTILINE)[1]) == modelconfig.MOST_ROUTED


# routing tables


def test_a_table_that_still_names_pruned_experts(tmp_path):
    why = refused(tmp_path, table=lambda layer, token, slot: 255 if (layer, token) == (1, 7) else 0)
    assert "layers.1.ffn.gate.tid2eid sends token 7 to expert 255 (2 entries like it), and there are 6" in why
    assert "layers.0" not in why


@pytest.mark.parametrize("bad", [-1, 6, -(2**62)])
def test_the_least_that_is_out_of_range(tmp_path, bad):
    assert f"sends token 9 to expert {bad} (1 entries" in refused(
        tmp_path, table=lambda layer, token, slot: bad if (layer, token, slot) == (0, 9, 1) else 5
    )


def changed(tmp_path, change, **how):
    """A model whose tensors a function changed, then written as one file."""
    said = modelkit.config()
    made = modelkit.tensors(said, **how)
    change(made)
    parts = modelkit.shards(made, 1)
    files = {"config.json": json.dumps(said).encode(), modelkit.INDEX: modelkit.index(parts)}
    return modelkit.lay(tmp_path, files | {name: modelkit.safetensors(part) for name, part in parts.items()})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda made: made.pop("layers.1.ffn.gate.tid2eid"), "layer 1 has no routing table"),
        (
            lambda made: made.update({"layers.2.ffn.gate.tid2eid": Tensor("I64", (10, 2), [0] * 20)}),
            "only the first 2 layers have one",
        ),
        (
            lambda made: made.update({"layers.0.ffn.gate.tid2eid": Tensor("F32", (10, 2), [0.0] * 20)}),
            "layers.0.ffn.gate.tid2eid is F32, which is no table of expert numbers",
        ),
        (
            lambda made: made.update({"layers.0.ffn.gate.tid2eid": Tensor("I64", (9, 2), [0] * 18)}),
            "tid2eid is [9, 2], and by config.json [10, 2]",
        ),
        (
            lambda made: made.update({"layers.2.ffn.gate.weight": Tensor("F32", (8, 4), [0.0] * 32)}),
            "layers.2.ffn.gate.weight is for 8 experts, and config.json says 6",
        ),
        (
            lambda made: [made.pop(name) for name in list(made) if name.startswith("layers.1.ffn.experts.5.")],
            "layer 1 lacks 5 of its 6 experts",
        ),
        (
            lambda made: [made.pop(name) for name in list(made) if name.startswith("layers.1.ffn.experts.")],
            "layer 1 lacks 0, 1, 2 … (6) of its 6 experts",
        ),
        (
            lambda made: made.update({"layers.0.ffn.experts.6.w1.weight": Tensor("U8", (1,), b"x")}),
            "layer 0 has 6 beyond its 6 experts",
        ),
    ],
)
def test_weights_that_are_not_what_the_config_says(tmp_path, change, why):
    folder = changed(tmp_path, change)
    with pytest.raises(ModelError, match=re.escape(why)):
        again(folder)


def test_of_experts_in_another_layout_nothing_is_said(tmp_path):
    def change(made):
        for name in [name for name in made if ".experts." in name]:
            del made[name]

    assert again(changed(tmp_path, change)).tensors == 6


def test_speculation_needs_the_models_own_layers(tmp_path):
    wanted = Wanted(type="deepseek_v4", routed_experts=6, bytes=1, context=1, mtp=True)
    assert "(MTP), and it has none" in refused(tmp_path / "a", wanted)
    assert look(tmp_path / "b", wanted, mtp=True)


# shards


def test_a_shard_that_is_missing_is_named_and_not_each_of_its_tensors(tmp_path):
    why = refused(tmp_path, more={"model-00002-of-00003.safetensors": None})
    assert "model-00002-of-00003.safetensors is not there, and the index names it" in why
    assert "is in no file" not in why


def test_a_shard_that_is_cut_is_named(tmp_path):
    modelkit.lay(tmp_path, modelkit.tiny())
    path = tmp_path / "model-00003-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model-00003-of-00003.safetensors: its header accounts for"):
        again(tmp_path)


def test_a_tensor_that_stands_in_two_shards(tmp_path):
    modelkit.lay(tmp_path, modelkit.tiny())
    (tmp_path / "model-00003-of-00003.safetensors").write_bytes(
        (tmp_path / "model-00001-of-00003.safetensors").read_bytes()
    )
    with pytest.raises(ModelError, match=r"stands in model-00001-of-00003.safetensors and in model-00003") as caught:
        again(tmp_path)
    assert "more" in caught.value.why.splitlines()[-1], "a long list is counted"


def test_a_tensor_that_only_the_index_has(tmp_path):
    index = {"weight_map": {"gone": "model-00001-of-00001.safetensors"}}
    why = refused(tmp_path, count=1, more={modelkit.INDEX: json.dumps(index).encode()})
    assert "gone is named by the index and is in no file" in why


def test_no_weights_at_all(tmp_path):
    modelkit.lay(tmp_path, {"config.json": json.dumps(modelkit.config()).encode()})
    with pytest.raises(ModelError, match=r"there is no \*\.safetensors"):
        again(tmp_path)


def test_an_index_that_is_broken_is_named(tmp_path):
    assert "model.safetensors.index.json: it has no weight_map" in refused(tmp_path, more={modelkit.INDEX: b"{}"})


def test_a_real_tables_size_takes_no_time(tmp_path):
    """129,280 tokens, 6 experts each, as the released model has it: the loop over it is the C library's."""
    said = modelkit.config(vocab_size=129_280, num_experts_per_tok=6, num_hash_layers=1, num_hidden_layers=1)
    tensors = {"layers.0.ffn.gate.tid2eid": Tensor("I64", (129_280, 6), struct.pack("<q", 5) * 129_280 * 6)}
    files = {"config.json": json.dumps(said).encode(), "model.safetensors": modelkit.safetensors(tensors)}
    assert again(modelkit.lay(tmp_path, files)).tables == (Table(layer=0, lowest=5, highest=5),)
