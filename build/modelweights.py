"""A model's weights before they are loaded: every header, every shard, the routing tables of the hashed layers.

Tensors by the names that vLLM's loader knows (vllm/models/deepseek_v4/nvidia/model.py at 0.22.0 and 0.32.0). A name
that it does not know is an error after minutes of loading; an expert or a routing table that is missing stays what the
memory happened to hold, without a word. The first ``num_hash_layers`` layers choose experts by ``ffn.gate.tid2eid``:
integers, [vocab_size, num_experts_per_tok], the experts of each token.
"""

from __future__ import annotations

import array
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from build import tensorfiles
from build.modelconfig import HASHED_TYPE, Config, Wanted, require_none
from build.tensorfiles import Malformed, Tensor

LAYER = r"^(?:model\.)?layers\.(\d+)\.ffn\."
TABLE = re.compile(LAYER + r"gate\.tid2eid$")
ROUTER = re.compile(LAYER + r"gate\.weight$")
EXPERT = re.compile(LAYER + r"experts\.(\d+)\.")
MTP = re.compile(r"^(?:model\.)?mtp\.\d+\.")
INTEGERS = {"I8": "b", "U8": "B", "I16": "h", "U16": "H", "I32": "i", "U32": "I", "I64": "q"}  # array's type codes


@dataclass(frozen=True, kw_only=True)
class Table:
    """A layer's routing table: the lowest and the highest expert in it."""

    layer: int
    lowest: int
    highest: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the weights' headers and the tables say."""

    files: int
    tensors: int
    bytes: int
    tables: tuple[Table, ...]


def check_weights(folder: Path, config: Config, wanted: Wanted) -> Weights:
    """Read every header and every routing table. Raises :class:`ModelError` with all findings."""
    findings: list[str] = []
    places = _tensors(folder, findings)
    require_none(folder, "has weights that contradict themselves", findings)
    tables = tuple(_tables(places, config, findings))
    findings += _router_faults(places, config)
    findings += _expert_faults(places, config)
    if wanted.mtp and not any(MTP.match(name) for name in places):
        findings.append("the profile speculates with the model's own layers (MTP), and it has none")
    require_none(folder, "has weights that are not what its config.json says", findings)
    files = {path for path, _ in places.values()}
    return Weights(
        files=len(files), tensors=len(places), bytes=sum(path.stat().st_size for path in files), tables=tables
    )


def _tensors(folder: Path, findings: list[str]) -> dict[str, tuple[Path, Tensor]]:
    """Every tensor of the files that vLLM would load: those of the index, without one all that lie there."""
    index = None
    try:
        index = tensorfiles.read_index(folder)
    except Malformed as error:
        findings.append(f"{tensorfiles.INDEX}: {error}")
    names = sorted(set(index.values()) if index else {path.name for path in folder.glob(f"*{tensorfiles.SUFFIX}")})
    if not names:
        findings.append(f"there is no *{tensorfiles.SUFFIX}")
    places: dict[str, tuple[Path, Tensor]] = {}
    broken = set()
    for name in names:
        try:
            header = tensorfiles.read_header(folder / name)
        except FileNotFoundError:
            findings.append(f"{name} is not there, and the index names it")
            broken.add(name)
        except Malformed as error:
            findings.append(f"{name}: {error}")
            broken.add(name)
        else:
            for tensor in header:
                if tensor.name in places:
                    findings.append(f"{tensor.name} stands in {places[tensor.name][0].name} and in {name}")
                places[tensor.name] = (folder / name, tensor)
    lost = [name for name, file in (index or {}).items() if name not in places and file not in broken]
    findings += [f"{name} is named by the index and is in no file" for name in lost]
    return places


def _tables(places: dict[str, tuple[Path, Tensor]], config: Config, findings: list[str]) -> Iterator[Table]:
    """The routing tables of the first layers; whatever is wrong with them goes to the findings."""
    found = {int(match[1]): name for name in places if (match := TABLE.match(name))}
    hashed = range(config.hash_layers) if config.type == HASHED_TYPE else ()
    findings += [f"layer {layer} has no routing table (…gate.tid2eid)" for layer in hashed if layer not in found]
    for layer, name in sorted(found.items()):
        path, tensor = places[name]
        if layer not in hashed:
            findings.append(f"{name} is a routing table, and only the first {config.hash_layers} layers have one")
        elif tensor.dtype not in INTEGERS:
            findings.append(f"{name} is {tensor.dtype}, which is no table of expert numbers")
        elif tensor.shape != (config.vocabulary, config.experts_per_token):
            findings.append(
                f"{name} is {list(tensor.shape)}, and by config.json [{config.vocabulary}, {config.experts_per_token}]"
            )
        else:
            numbers = _numbers(tensorfiles.read_bytes(path, tensor), INTEGERS[tensor.dtype])
            table = Table(layer=layer, lowest=min(numbers, default=0), highest=max(numbers, default=0))
            if table.lowest < 0 or table.highest >= config.routed_experts:
                findings.append(_out_of_range(name, numbers, config))
            yield table


def _numbers(data: bytes, code: str) -> array.array[int]:
    numbers = array.array(code)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _out_of_range(name: str, numbers: Sequence[int], config: Config) -> str:
    bad = [place for place, number in enumerate(numbers) if not 0 <= number < config.routed_experts]
    token = bad[0] // config.experts_per_token
    return (
        f"{name} sends token {token} to expert {numbers[bad[0]]} ({len(bad)} entries like it), and there are"
        f" {config.routed_experts}: the table was not written anew when experts were pruned"
    )


def _router_faults(places: dict[str, tuple[Path, Tensor]], config: Config) -> list[str]:
    shapes = {name: tensor.shape for name, (_, tensor) in places.items() if ROUTER.match(name)}
    return [
        f"{name} is for {shape[0] if shape else 0} experts, and config.json says {config.routed_experts}"
        for name, shape in sorted(shapes.items())
        if shape[:1] != (config.routed_experts,)
    ]


def _expert_faults(places: dict[str, tuple[Path, Tensor]], config: Config) -> list[str]:
    """Layers that lack experts, or have more than there are; nothing where no tensor is of a numbered expert."""
    experts: dict[int, set[int]] = {}
    for name in places:
        if match := EXPERT.match(name):
            experts.setdefault(int(match[1]), set()).add(int(match[2]))
    if not experts:
        return []
    faults = []
    for layer in range(config.layers):
        found, all_of_them = experts.get(layer, set()), set(range(config.routed_experts))
        if lacking := sorted(all_of_them - found):
            faults.append(f"layer {layer} lacks {_some(lacking)} of its {config.routed_experts} experts")
        if more := sorted(found - all_of_them):
            faults.append(f"layer {layer} has {_some(more)} beyond its {config.routed_experts} experts")
    return faults


def _some(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:3])) + (f" … ({len(numbers)})" if len(numbers) > 3 else "")
