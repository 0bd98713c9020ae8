"""``serve``: read the profile, look at the model, ask vLLM what it knows, compose, print, run under the watchdog."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import compose, exits, flags, given, model, processes, profile
from .exits import Fault

CACHE, LAST = "/cache", "/tmp/spark-cache"  # noqa: S108 - of one container, and only where nothing else can be written
MANIFEST = "/opt/spark/manifest.json"


class Plan(NamedTuple):
    """What is to be run: vLLM's program, the words after it, its environment's additions, and what to say about it."""

    program: str
    arguments: list[str]
    added: dict[str, str]
    notes: list[str]
    host: str
    port: int
    tls: bool


def main(arguments: list[str]) -> int:
    """The exit status; see :mod:`serve.exits`."""
    own, more = _split(arguments)
    args = _parser().parse_args(own)
    processes.adopt()
    try:
        said = profile.read(args.profile)
        model.check(args.model, said)
        plan = compose_for(said, args, more)
        for note in plan.notes:
            print(f"note: {note}", file=sys.stderr, flush=True)
        print(compose.shown(["vllm", *plan.arguments], plan.added), flush=True)
        return exits.DONE if args.dry_run else _run(said, plan)
    except Fault as fault:
        print(fault, file=sys.stderr, flush=True)
        return fault.status


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our own arguments, and those for vLLM after ``--``."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


def _parser() -> argparse.ArgumentParser:
    baked = ", ".join(profile.names()) or "none"
    parser = argparse.ArgumentParser(
        prog="serve", allow_abbrev=False,
        description="Serve a model with vLLM, as a profile says, under a watchdog of the memory.",
        epilog=f"Profiles in this image: {baked}. What follows -- goes to vLLM.",
    )  # fmt: skip
    parser.add_argument("--profile", required=True, help="a profile of the image, or the path of a file of your own")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="where the model is, in the container")
    parser.add_argument("--host", default=compose.EVERYWHERE, help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=compose.PORT, help="(default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the command and start nothing")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("a port is needed, 1 to 65535")
    return int(text)


def compose_for(said: Mapping[str, Any], args: argparse.Namespace, more: list[str]) -> Plan:
    """The plan. Raises :class:`Fault` for options that this vLLM does not know or take."""
    program = _vllm()
    there = surroundings()
    root, added = compose.caches(CACHE, LAST, there)
    if home := added.get("HOME"):
        with contextlib.suppress(OSError):  # then it is as bad as the one that it replaces
            os.makedirs(home, exist_ok=True)
    wanted = compose.options(said, args.host, args.port)
    optional = said["serve"]["optional"]
    extra = [*said["serve"]["arguments"], *more]
    kept = flags.Kept(CACHE, os.environ.get("SPARK_MANIFEST", MANIFEST))
    lost = f"what is compiled goes to {LAST} and is lost; mount a volume at {CACHE} to keep it"
    notes = [lost] if root == LAST else []
    try:
        told, taken, left_out = _fit(kept, program, {**there, **added}, args.model, wanted, optional, extra)
    except Fault as fault:
        if fault.status != exits.NO_VLLM or not args.dry_run:
            raise
        told, taken, left_out = {}, wanted, []
        notes.append(f"not checked against vLLM: {'; '.join([fault.what, *fault.faults[-1:]])}")
    notes += [f"this vLLM has no {name}; the profile can do without" for name in left_out]
    known = [*told["variables"], *told["elsewhere"]] if told else None
    variables = compose.variables(said, known, there)
    notes += [f"{name} is ignored: this vLLM does not know it" for name in variables.ignored]
    notes += [f"{name} stays {there[name]!r}, as the container has it" for name in variables.given]
    arguments = ["serve", args.model, *_words(taken), *extra]
    host, port, tls = compose.address(extra, args.host, args.port)
    return Plan(program, arguments, {**added, **variables.added}, notes, host, port, tls)


def surroundings() -> dict[str, str]:
    """The environment that the container was given."""
    return {os.fsdecode(name): os.fsdecode(value) for name, value in given.environment().items()}


def _fit(
    kept: flags.Kept,
    program: str,
    environment: Mapping[str, str],
    folder: str,
    wanted: list[compose.Option],
    optional: list[str],
    extra: list[str],
) -> tuple[dict[str, Any], list[compose.Option], list[str]]:
    """What vLLM told, the options that it knows, and those that are left out.

    Asked at most twice: where it lacks an option, the command line without it is another one.
    """
    python = os.path.join(os.path.dirname(program), "python")
    told = kept.told or flags.ask(python, [folder, *_words(wanted), *extra], environment)
    asked = None if kept.told else [folder, *_words(wanted), *extra]
    if told["no_options"]:
        raise Fault(exits.NO_VLLM, f"this image's vLLM cannot be asked for its options: {told['no_options']}")
    flags.demand(flags.unknown(extra, told["options"]), told["options"])
    taken, left_out = flags.fitting(wanted, optional, told["options"])
    line = [folder, *_words(taken), *extra]
    if kept.accepted(line):
        return told, taken, left_out
    if asked != line:
        told = flags.ask(python, line, environment)
    if told["refused"]:
        raise Fault(exits.OPTIONS, "this image's vLLM does not take the command", [told["refused"]])
    kept.keep(told, line)
    return told, taken, left_out


def _words(options: list[compose.Option]) -> list[str]:
    return [word for option in options for word in option.words]


def _vllm() -> str:
    """The path of vLLM's program."""
    for folder in os.environ.get("PATH", "").split(":"):
        path = os.path.join(folder, "vllm")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Fault(exits.NO_VLLM, "there is no vLLM in this image", [], "take an image that is made to serve")


def _run(said: Mapping[str, Any], plan: Plan) -> int:
    """Under the watchdog, to the end. Raises :class:`Fault`."""
    from .events import Events  # noqa: PLC0415 - what only a real run needs
    from .memory import CGROUPS, MEMBERSHIP, MEMINFO, Memory, Unreadable  # noqa: PLC0415
    from .probe import Probe  # noqa: PLC0415
    from .states import Limits  # noqa: PLC0415
    from .watchdog import Keeper  # noqa: PLC0415

    seen = os.environ
    try:
        memory = Memory(
            seen.get("SPARK_MEMINFO", MEMINFO),
            seen.get("SPARK_MEMBERSHIP", MEMBERSHIP),
            seen.get("SPARK_CGROUPS", CGROUPS),
        )
        memory.sample()
    except (OSError, Unreadable) as error:
        what = f"nothing is served unwatched, and the memory cannot be read: {error}"
        raise Fault(exits.NO_MEMINFO, what) from error
    try:
        probe = Probe(plan.host, plan.port, tls=plan.tls)
    except (OSError, UnicodeError) as error:
        raise Fault(exits.USAGE, f"there is no such host: {plan.host}: {error}") from error
    events = Events(said["watchdog"]["history-seconds"])
    keeper = Keeper(Limits.of(said["watchdog"]), memory, probe, events)
    return keeper.run(plan.program, ["vllm", *plan.arguments], {**surroundings(), **plan.added})
