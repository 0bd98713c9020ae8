"""Tiny models of the kind that profiles are for: a writer of safetensors, config.json, and the profile that fits.

model = modelkit.tiny()                    # path → bytes
model = modelkit.tiny(table=lambda layer, token, slot: 9)
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

CODES = {"I8": "b", "U8": "B", "I16": "h", "I32": "i", "I64": "q", "F32": "f"}
INDEX = "model.safetensors.index.json"


@dataclass
class Tensor:
    """``values``: numbers, or bytes as they are."""

    dtype: str
    shape: tuple[int, ...]
    values: object

    @property
    def data(self):
        if isinstance(self.values, bytes):
            return self.values
        return struct.pack(f"<{len(self.values)}{CODES[self.dtype]}", *self.values)


def safetensors(tensors, *, metadata=None, pad=0):
    """The bytes of one file. ``pad``: spaces after the header, as writers align it."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(tensor.data)]
        }  # fmt: skip
        data += tensor.data
    text = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


CONFIG = {
    "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "n_routed_experts": 6, "num_hash_layers": 2,
    "num_hidden_layers": 3, "num_experts_per_tok": 2, "vocab_size": 10, "hidden_size": 4,
}  # fmt: skip


def config(**changed):
    """config.json; a value of None leaves the key out."""
    return {key: value for key, value in {**CONFIG, **changed}.items() if value is not None}


def tensors(said, *, table=None, table_type="I64", mtp=False):
    """Every tensor of a model by its config. ``table``: the expert for (layer, token, slot)."""
    experts, slots, vocabulary = said["n_routed_experts"], said["num_experts_per_tok"], said["vocab_size"]
    table = table or (lambda layer, token, slot: (layer + token + slot) % experts)
    made = {"embed.weight": Tensor("F32", (vocabulary, 4), [0.5] * vocabulary * 4)}
    for layer in range(said["num_hidden_layers"]):
        gate = f"layers.{layer}.ffn.gate"
        made[f"{gate}.weight"] = Tensor("F32", (experts, 4), [0.25] * experts * 4)
        if layer < said["num_hash_layers"]:
            values = [table(layer, token, slot) for token in range(vocabulary) for slot in range(slots)]
            made[f"{gate}.tid2eid"] = Tensor(table_type, (vocabulary, slots), values)
        for expert in range(experts):
            for part in ("w1", "w2", "w3"):
                made[f"layers.{layer}.ffn.experts.{expert}.{part}.weight"] = Tensor("U8", (2, 4), bytes(8))
                made[f"layers.{layer}.ffn.experts.{expert}.{part}.scale"] = Tensor("F8_E8M0", (2,), b"\x7f\x7f")
    if mtp:
        made["mtp.0.norm.weight"] = Tensor("F32", (4,), [1.0] * 4)
    return made


def shards(made, count):
    """File name → its tensors, in turns."""
    names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    parts = {name: {} for name in names}
    for number, (name, tensor) in enumerate(made.items()):
        parts[names[number % count]][name] = tensor
    return parts


def index(parts):
    weight_map = {tensor: name for name, part in parts.items() for tensor in part}
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()


def tiny(*, count=3, more=None, said=None, **how):
    """Path → bytes of a whole repository; ``more``: other files, or None for those that it is to lack."""
    said = said or config()
    parts = shards(tensors(said, **how), count)
    files = {
        "README.md": b"# tiny\n", ".gitattributes": b"*.safetensors filter=lfs\n",
        "config.json": json.dumps(said, indent=1).encode(), "tokenizer/tokenizer.json": b'{"a": 1}\n',
        INDEX: index(parts), **{name: safetensors(part) for name, part in parts.items()}, **(more or {}),
    }  # fmt: skip
    return {path: data for path, data in files.items() if data is not None}


def lay(folder, files):
    """Write files below a folder."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


REPO, REVISION = "someone/Tiny-V4", "d663e8fb16809f6619000648b187b257249ed824"

PROFILE = """\
schema = 1
name = "tiny"
summary = "a tiny model"
targets = [{targets}]
[model]
repo = "{repo}"
revision = "{revision}"
served-name = "tiny"
bytes = {bytes}
type = "{type}"
routed-experts = {experts}
{more}
[serve]
context = 1000
kv-cache-memory = "1G"
kv-cache-dtype = "fp8"
batched-tokens = 512
sequences = 1
gpu-memory-utilization = "0.5"
block-size = 256
thinking = false
speculative = '{speculative}'
tokenizer-mode = "deepseek_v4"
reasoning-parser = "deepseek_v4"
tool-call-parser = "deepseek_v4"
auto-tool-choice = true
prefix-caching = true
cudagraph-mode = "NONE"
[watchdog]
min-available-kb = 2000000
"""


def profile(folder: Path, size: int, **changed) -> Path:
    """A profile file for a model of so many bytes; its path has a slash, as `--profile` wants it of a file."""
    values = {
        "repo": REPO, "revision": REVISION, "bytes": size, "type": "deepseek_v4", "experts": 6, "more": "",
        "speculative": "", "targets": '"v0.32"', **changed,
    }  # fmt: skip
    path = folder / "tiny.toml"
    path.write_text(PROFILE.format(**values))
    return path
