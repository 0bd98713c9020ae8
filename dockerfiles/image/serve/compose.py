"""The vLLM command of a profile. Pure: a profile's tables in, options and environment out.

Where vLLM has each option, in 0.22 and 0.32 alike: all but the front end's in ``vllm/engine/arg_utils.py``, with the
values that they take in ``vllm/config/*.py``; the front end's in ``vllm/entrypoints/openai/cli_args.py`` (0.22) and
``vllm/entrypoints/launchers/cli_args.py`` (0.32).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

PORT = 8000  # vLLM's own
EVERYWHERE = "0.0.0.0"  # noqa: S104 - in a container, whose engine says what is reached from outside

# What is compiled and fetched at run time, by the variable that each library reads, → its folder in the cache volume.
CACHES = {
    "VLLM_CACHE_ROOT": "vllm",  # vllm/envs.py; torch.compile's results too
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",  # flashinfer/jit/env.py
    "TILELANG_CACHE_DIR": "tilelang",  # tilelang/env.py
    "TVM_FFI_CACHE_DIR": "tvm-ffi",
    "HUMMING_CACHE_DIR": "humming",  # humming/utils/jit.py
    "DG_JIT_CACHE_DIR": "deepgemm",  # vllm/utils/deep_gemm.py
    "CUDA_CACHE_PATH": "cuda",  # the driver's own
    "XDG_CACHE_HOME": "xdg",
    "XDG_CONFIG_HOME": "config",
}


class Option(NamedTuple):
    """One of vLLM's options, as ``--name``, and its value where it takes one."""

    name: str
    value: str | None = None

    @property
    def words(self) -> list[str]:
        return [self.name] if self.value is None else [self.name, self.value]


def options(profile: Mapping[str, Any], host: str = EVERYWHERE, port: int = PORT) -> list[Option]:
    """All options of a profile but its ``arguments``, in the order in which a person would look for them."""
    model, serve = profile["model"], profile["serve"]
    compilation: dict[str, Any] = {"cudagraph_mode": serve["cudagraph-mode"]}  # vllm/config/compilation.py
    if serve["custom-ops"]:
        compilation["custom_ops"] = serve["custom-ops"]
    made = [
        Option("--served-model-name", model["served-name"]),
        Option("--host", host),  # cli_args.py
        Option("--port", str(port)),
        Option("--max-model-len", str(serve["context"])),
        Option("--max-num-seqs", str(serve["sequences"])),  # vllm/config/scheduler.py
        Option("--max-num-batched-tokens", str(serve["batched-tokens"])),
        Option("--kv-cache-dtype", serve["kv-cache-dtype"]),  # CacheDType in vllm/config/cache.py
        Option("--kv-cache-memory-bytes", serve["kv-cache-memory"]),
        Option("--block-size", str(serve["block-size"])),
        Option("--gpu-memory-utilization", serve["gpu-memory-utilization"]),
        Option("--enable-prefix-caching" if serve["prefix-caching"] else "--no-enable-prefix-caching"),
        Option("--compilation-config", compact(compilation)),
        Option("--tokenizer-mode", serve["tokenizer-mode"]),  # TokenizerMode in vllm/config/model.py
        Option("--reasoning-parser", serve["reasoning-parser"]),  # registered in vllm/reasoning/__init__.py
    ]
    if serve["reasoning-config"]:
        made.append(Option("--reasoning-config", compact(json.loads(serve["reasoning-config"]))))  # config/reasoning.py
    if serve["auto-tool-choice"]:
        made.append(Option("--enable-auto-tool-choice"))  # cli_args.py, as the two below
    made += [
        Option("--tool-call-parser", serve["tool-call-parser"]),  # registered in vllm/tool_parsers/__init__.py
        # The name that vllm/tokenizers/deepseek_v4.py and its reasoning parser read.
        Option("--default-chat-template-kwargs", compact({"thinking": serve["thinking"]})),
    ]
    if serve["speculative"]:
        made.append(Option("--speculative-config", compact(json.loads(serve["speculative"]))))  # config/speculative.py
    return made


def compact(value: Any) -> str:
    """JSON in one word."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def address(arguments: list[str], host: str, port: int) -> tuple[str, int, bool]:
    """Where the server will listen, as the last ``--host`` and ``--port`` say, and whether it speaks TLS."""
    tls = False
    for place, word in enumerate(arguments):
        name, given, value = word.partition("=")
        name = name.replace("_", "-")
        if not given:
            value = arguments[place + 1] if place + 1 < len(arguments) else ""
        if name == "--host":
            host = value
        elif name == "--port" and value.isdigit():
            port = int(value)
        tls = tls or name == "--ssl-certfile"
    return host, port, tls


class Variables(NamedTuple):
    """What the server finds in its environment beside what the container has, and which variables that leaves out.

    ``ignored``: vLLM's by their name, which this vLLM does not know; ``given``: set in the container, which counts.
    """

    added: dict[str, str]
    ignored: list[str]
    given: list[str]


def variables(profile: Mapping[str, Any], known: Collection[str] | None, there: Mapping[str, str]) -> Variables:
    """The profile's variables. ``known``: those that this vLLM reads; None where nobody could tell, then all are set.

    Only those named ``VLLM_…`` are vLLM's to know; others are of libraries, and handed on.
    """
    wanted: dict[str, str] = profile["environment"]
    ignored = [name for name in wanted if known is not None and name.startswith("VLLM_") and name not in known]
    given = [name for name in wanted if name in there and name not in ignored]
    return Variables({name: wanted[name] for name in wanted if name not in (*ignored, *given)}, ignored, given)


def caches(volume: str, last: str, there: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Where what is compiled goes, and the variables that say so, but those that are set already.

    ``volume``, where that can be written; else the home folder, by the libraries' own choice ("" and nothing to set);
    where the root is read-only, ``last``. A home that cannot be written is replaced too: some know no other place.
    """
    home = there.get("HOME", "")
    root = next((place for place in (volume, home) if writable(place)), last)
    if root == home:
        return "", {}
    made = {name: os.path.join(root, folder) for name, folder in CACHES.items() if name not in there}
    return root, made if writable(home) else {**made, "HOME": os.path.join(root, "home")}


def writable(folder: str) -> bool:
    """Whether it is a folder that this user can put files into."""
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


SECRETS = ("--api-key", "--hf-token")  # their values go into no log


def shown(command: list[str], added: Mapping[str, str]) -> str:
    """The command as one can paste it into a shell: the variables, then an option a line. Secrets are left out."""
    lines = [f"{name}={quoted(value)}" for name, value in added.items()]
    command = _without_secrets(command)
    lines.append(" ".join(quoted(word) for word in command[:3]))
    for word in command[3:]:
        if word.startswith("--") or not lines[-1].startswith("  "):
            lines.append(f"  {quoted(word)}")
        else:
            lines[-1] += f" {quoted(word)}"
    return " \\\n".join(lines)


def _without_secrets(command: list[str]) -> list[str]:
    made: list[str] = []
    for place, word in enumerate(command):
        name, given, _ = word.partition("=")
        secret = name.replace("_", "-") in SECRETS
        made.append(f"{name}=…" if secret and given else word)
        if place and command[place - 1].replace("_", "-") in SECRETS:
            made[-1] = "…"
    return made


def quoted(word: str) -> str:
    """A word as a POSIX shell reads it back."""
    plain = word and all(c.isascii() and (c.isalnum() or c in "-_./:=,@%+") for c in word)
    return word if plain else "'" + word.replace("'", "'\"'\"'") + "'"
