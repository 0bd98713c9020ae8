"""Ask vLLM itself what it knows: its options, whether it takes a command line, which environment variables it reads.

A program for the Python that has vLLM, in a process of its own, since that is 10 s and a gigabyte:
``python -I ask.py OUTPUT [ARGUMENT…]``. OUTPUT is a path (a descriptor, by /dev/fd); it gets one JSON object:

    version, options (sorted), variables (of vllm/envs.py), elsewhere (variables that other files of vLLM name),
    refused ("" where the arguments are taken, else why not), no_options (why there are none, or ""),
    no_driver (true: no device was found, and a CUDA one was taken for granted)
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

PARSERS = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")  # vLLM 0.32, vLLM 0.22
NAMED = re.compile(rb"""["'](VLLM_[A-Z0-9_]+)["']""")
TABLE = "environment_variables"  # in vllm/envs.py, in both


class Refused(Exception):  # noqa: N818 - an answer
    pass


def suppose_device() -> bool:
    """Whether vLLM finds no device: then it cannot even say its options, whose defaults name one. Tell it of one."""
    platform = importlib.import_module("vllm.platforms").current_platform
    if platform.device_type:
        return False
    platform.device_type = "cuda"
    return True


def build() -> Any:
    """The parser of ``vllm serve``."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415

    place = next((name for name in PARSERS if _there(name)), None)
    if place is None:
        raise ImportError(f"this vLLM has its parser at none of {', '.join(PARSERS)}")
    return importlib.import_module(place).make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))


def options_of(parser: Any) -> list[str]:
    """Every long option, sorted; those of two words are written with hyphens."""
    found = {text for action in parser._actions for text in action.option_strings}  # noqa: SLF001
    return sorted({text.replace("_", "-") for text in found if text.startswith("--")})


def refusal(parser: Any, arguments: Sequence[str]) -> str:
    """Why vLLM would not take these arguments, by its own parser and its own lists of names; "" where it would."""

    def refuse(message: str) -> NoReturn:
        raise Refused(message)

    parser.error = refuse
    try:
        parsed = parser.parse_args(list(arguments))
        return _unregistered(parsed)
    except Refused as error:
        return str(error)
    except SystemExit as error:  # --help, --version
        return f"these arguments end vLLM at once (status {error.code})"
    except Exception as error:  # noqa: BLE001 - a value that a type cannot take
        return f"{type(error).__name__}: {error}"


def _unregistered(parsed: Any) -> str:
    """A parser that vLLM has not: it says so only when the model is loaded (``validate_api_server_args``)."""
    for wanted, plugin, module, manager in (
        ("tool_call_parser", "tool_parser_plugin", "vllm.tool_parsers", "ToolParserManager"),
        ("reasoning_parser", "reasoning_parser_plugin", "vllm.reasoning", "ReasoningParserManager"),
    ):
        name = getattr(parsed, wanted, None)
        if not name or getattr(parsed, plugin, None) or not _there(module):
            continue
        known = getattr(importlib.import_module(module), manager).list_registered()
        if name not in known:
            return f"argument --{wanted.replace('_', '-')}: '{name}' is none of {', '.join(sorted(known))}"
    if getattr(parsed, "enable_auto_tool_choice", False) and not getattr(parsed, "tool_call_parser", None):
        return "--enable-auto-tool-choice needs --tool-call-parser"
    return ""


def variables(envs: str) -> list[str]:
    """The keys of the table in ``vllm/envs.py``; the file is read, not run."""
    with open(envs, "rb") as stream:
        tree = ast.parse(stream.read())
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(node.value, ast.Dict):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == TABLE for target in targets):
            return sorted(str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))
    raise LookupError(f"{envs} has no table {TABLE}")


def elsewhere(package: str) -> Iterator[str]:
    """Names of variables in quotes anywhere in vLLM: the seed's fork reads some in its kernels' own files."""
    for folder, _, files in os.walk(package):
        for file in files:
            if file.endswith(".py"):
                with open(os.path.join(folder, file), "rb") as stream:
                    yield from (name.decode() for name in NAMED.findall(stream.read()))


def inspect(arguments: Sequence[str]) -> dict[str, Any]:
    """All that there is to know, as above."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise ImportError("there is no vLLM in this image")
    package = os.path.dirname(spec.origin)
    table = variables(os.path.join(package, "envs.py"))
    told: dict[str, Any] = {
        "version": "", "options": [], "refused": "", "no_options": "", "no_driver": False,
        "variables": table, "elsewhere": sorted(set(elsewhere(package)) - set(table)),
    }  # fmt: skip
    try:
        told["version"] = str(getattr(importlib.import_module("vllm"), "__version__", ""))
        told["no_driver"] = suppose_device()
        parser = build()
        told["options"] = options_of(parser)
        told["refused"] = refusal(parser, arguments) if arguments else ""
    except Exception as error:  # noqa: BLE001 - whatever it is, that is the answer
        told["no_options"] = f"{type(error).__name__}: {error}"
    return told


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def main(output: str, arguments: Sequence[str]) -> int:
    told = inspect(arguments)
    with open(output, "w", encoding="utf-8") as stream:
        json.dump(told, stream)
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1], sys.argv[2:])
    sys.stderr.flush()
    os._exit(status)  # libraries without a driver may fail in their own clean-up; nothing is left to do
