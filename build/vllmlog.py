"""How far a server's start has come, as the lines of vLLM's log tell.

From vLLM 0.22 and 0.32 alike: vllm/model_executor/model_loader/weight_utils.py and default_loader.py (shards),
vllm/v1/worker/gpu_model_runner.py and gpu/model_runner.py (loading, CUDA graphs), vllm/compilation/backends.py and
monitor.py (torch.compile), vllm/model_executor/warmup/ (kernels), vllm/v1/engine/core.py, the front end's api_server.py
or launchers/api_server/entry.py; and TileLang's jit/kernel.py. A test looks for all of it in the locked wheels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BAR = re.compile(r"\s(\d+)/(\d+) \[")  # tqdm: "…%|███ | 3/35 [00:01<00:09, …"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What a server does: ``done`` of ``total`` where it counts, else both are 0."""

    name: str
    unit: str = ""
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.name}: {self.done} of {self.total} {self.unit}" if self.total else self.name


# Words of a line → what it means, and what it counts, where it is a bar. The first that fits counts.
KNOWN: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("Loading safetensors checkpoint shards",), "loading weights", "shards"),
    (("Capturing CUDA graphs",), "capturing CUDA graphs", "graphs"),
    (("DeepGEMM warmup",), "warming up kernels", "kernels"),
    (("Starting to load model ", "Loading model from scratch", "Loading drafter model"), "loading weights", ""),
    (("Loading weights took ", "Model loading took "), "weights are loaded", ""),
    (
        ("Dynamo bytecode transform time", "Compiling a graph for compile range", "Cache the graph of compile range"),
        "compiling the model",
        "",
    ),
    (("torch.compile took ", "Initial profiling/warmup run took "), "profiling", ""),
    (("TileLang begins to compile kernel", "Warming up "), "warming up kernels", ""),
    (("GPU KV cache size", "Available KV cache memory"), "making the KV cache", ""),
    (("Profiling CUDA graph memory", "Graph capturing finished in "), "capturing CUDA graphs", ""),
    (("init engine (profile, create kv cache, warmup model) took ",), "the engine is ready", ""),
    (("Starting vLLM server on ",), "opening the port", ""),
)


def phase(line: str) -> Phase | None:
    """What a line tells of the start; None for one that tells nothing.

    >>> str(phase("Loading safetensors checkpoint shards:  30% Completed | 6/20 [00:09<00:21,  1.50s/it]"))
    'loading weights: 6 of 20 shards'
    >>> str(phase("Capturing CUDA graphs (decode, FULL):  40%|####      | 2/5 [00:00<00:01,  2.00it/s]"))
    'capturing CUDA graphs: 2 of 5 graphs'
    >>> phase("INFO 05-27 19:01:39 [loggers.py:257] Engine 000: Avg prompt throughput: 0.0 tokens/s")
    """
    for words, name, unit in KNOWN:
        if any(text in line for text in words):
            bar = BAR.search(line) if unit else None
            return Phase(name=name, unit=unit, done=int(bar[1]), total=int(bar[2])) if bar else Phase(name=name)
    return None
