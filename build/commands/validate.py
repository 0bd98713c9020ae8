"""Run the model card's suite against any OpenAI-compatible server, and report: a table here, JSON and a page.

Smoke, ASCII, Unicode and Mermaid diagrams (parsed), code explanation, religion and philosophy, tool calls, needles in
long prompts; time to the first token, prefill and decode tokens per second as the card measures them. With --profile
the server must be what that profile says, and its figures stand beside ours.

A key is taken from OPENAI_API_KEY alone. Ctrl-C keeps what was finished, in a report that says so.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from build import profiles, serverfacts, suite, suiteneedle, validating, validationbook
from build.asking import Server
from build.console import say, step, table
from build.errors import NetworkError, OfflineError, ValidationError
from build.intent import read_intent
from build.interview import Interview
from build.models import Settings
from build.profiles import Profile
from build.questions import KEY_VARIABLE, Patience, base_url, is_here
from build.replies import Kind, Trouble
from build.serverfacts import Listed
from build.validationbook import Book

UNTOLD_CONTEXT = 8192  # tokens, where neither the server nor a profile tells
SHOWN = 12  # failures in the last message; the report has all
ABSENT = (Kind.UNREACHABLE, Kind.SILENT, Kind.CUT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, metavar="URL", help="the server, like http://127.0.0.1:8000")
    parser.add_argument(
        "--profile", metavar="P", help="what it should be: a profile of lock/profiles/, or a file (with a slash)"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="whom to ask (default: the profile's, or what the server lists)"
    )
    parser.add_argument(
        "--only", type=_words, action="extend", default=[], metavar="NAMES",
        help="only these: groups (smoke, diagram, code, religion, philosophy, tools, speed, needle), cases or patterns,"
        " with commas between",
    )  # fmt: skip
    parser.add_argument("--skip", type=_words, action="extend", default=[], metavar="NAMES", help="all but these")
    parser.add_argument(
        "--lengths", type=_lengths, metavar="LIST", help="tokens of prompts with a needle, like 8k,32k,186390"
    )
    parser.add_argument("--depths", type=_depths, metavar="LIST", help="where in them, in percent (default: 10,50,90)")
    parser.add_argument("--quick", action="store_true", help="fewer cases, one short needle: some minutes")
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, metavar="SECONDS",
        help="how long a first token may take, and any other; long prompts and answers have more (default: 120)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other long texts and needles (default: 0)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the reports go (default: out/validate)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Validate one server. Raises :class:`ValidationError` naming what failed, after the reports are written."""
    url = base_url(args.url)
    if settings.offline and not is_here(url):
        raise OfflineError(f"{url} is on another machine", why="--offline was asked for", todo="leave it out")
    profile = find_profile(settings, args.profile)
    server = Server(url, patience=Patience(seconds=args.timeout))
    try:
        with step(f"look at {url}"):
            listed = present(server, named=bool(args.model))
        server.model = whom(args.model, profile, listed)
        talk = Interview(
            server=server, run=secrets.token_hex(4), profile=profile, listed=listed, seed=args.seed,
            context=context(server.model, listed, profile),
        )  # fmt: skip
        lengths = args.lengths or suiteneedle.default_lengths(talk.context, quick=args.quick)
        depths = args.depths or (suiteneedle.QUICK_DEPTHS if args.quick else suiteneedle.DEPTHS)
        tasks = validating.chosen(suite.tasks(lengths, depths), args.only, args.skip, quick=args.quick)
        options = {
            name: getattr(args, name) for name in ("only", "skip", "lengths", "depths", "quick", "timeout", "seed")
        }
        folder = (args.output or settings.repo / "out" / "validate").absolute()
        book = Book(folder, talk, version=serverfacts.version(server), options=options)
        say(f"  {server.model}: {len(tasks)} cases, a context of {talk.context:,} tokens; report: {book.path}")
        try:
            book.ended = validating.run(talk, tasks, book.cases, book.write)
        except KeyboardInterrupt:
            book.ended = f"It was interrupted after {len(book.cases)} of {len(tasks)} cases."
            close(book, settings)
            raise
        book.complete = not book.ended
        close(book, settings)
        return judge(book)
    finally:
        server.close()


def find_profile(settings: Settings, name: str | None) -> Profile | None:
    """The profile that was named: of this project, or a file."""
    if name is None:
        return None
    if "/" in name:
        return profiles.read_file(Path(name))
    return profiles.named(profiles.read_all(settings.repo, read_intent(settings.repo).targets), name)


def present(server: Server, *, named: bool) -> tuple[Listed, ...]:
    """What the server lists; an error where it is not there, lets nobody in, or lists nothing and none was named."""
    listed = serverfacts.models(server)
    if isinstance(listed, Trouble) and listed.kind in ABSENT:
        raise NetworkError(
            f"no server answers at {server.url}",
            why=str(listed),
            todo="look whether it runs and is ready, and the address",
        )
    if isinstance(listed, Trouble) and listed.kind is Kind.DENIED:
        told = "is wrong or has no right to this" if server.key else "is not set"
        raise ValidationError(
            f"{server.url} does not let us in",
            why=str(listed),
            todo=f"{KEY_VARIABLE} {told}: set it in the environment",
        )
    if named:
        return () if isinstance(listed, Trouble) else listed
    if isinstance(listed, Trouble) or not listed:
        raise ValidationError(
            f"{server.url} does not tell its models",
            why=str(listed) if isinstance(listed, Trouble) else "the list is empty",
            todo="name one with --model",
        )
    return listed


def whom(named: str | None, profile: Profile | None, listed: Sequence[Listed]) -> str:
    """The model that is asked."""
    if named:
        return named
    names = [one.name for one in listed]
    return profile.model.served_name if profile and profile.model.served_name in names else names[0]


def context(model: str, listed: Sequence[Listed], profile: Profile | None) -> int:
    """Tokens of the longest prompt with its answer: the least of what the server and the profile say."""
    told = [one.context for one in listed if one.name == model and one.context]
    return min([*told, *([profile.serve.context] if profile else [])], default=UNTOLD_CONTEXT)


def close(book: Book, settings: Settings) -> None:
    """Write the report for the last time, with its page, and show it."""
    page = book.close()
    if settings.json:
        print(json.dumps(book.told(), indent=1))
        return
    report = book.report()
    table(
        f"{report.subject.model} at {report.subject.url}", validationbook.CASE_COLUMNS, validationbook.case_rows(report)
    )
    if rows := validationbook.speed_rows(report):
        table("speeds", validationbook.SPEED_COLUMNS, rows)
    print(f"{report.counts}; {report.seconds:.0f} s; page: {page}")


def judge(book: Book) -> int:
    """Fail for what failed, and for a run that stopped early."""
    report = book.report()
    if report.complete and not report.failed:
        return 0
    failed = [f"{case.name}: {case.reason}" for case in report.failed]
    more = [f"… and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
    stopped = [book.ended] if book.ended else []
    raise ValidationError(
        f"{len(failed)} of {len(report.cases)} cases failed" + (", and the run stopped early" if stopped else ""),
        why="\n       ".join([*stopped, *failed[:SHOWN], *more]),
        todo=f"the evidence is in {book.path.with_suffix('.html')}",
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _lengths(text: str) -> tuple[int, ...]:
    """Tokens, in thousands where a k follows.

    >>> _lengths("8k,186390")
    (8000, 186390)
    """
    found = []
    for word in _words(text):
        match = re.fullmatch(r"([1-9][0-9]*)(k?)", word)
        if not match or int(match[1]) * (1000 if match[2] else 1) < 200:
            raise argparse.ArgumentTypeError(f"'{word}' is no length: tokens, at least 200, like 8000 or 8k")
        found.append(int(match[1]) * (1000 if match[2] else 1))
    return tuple(sorted(set(found)))


def _depths(text: str) -> tuple[float, ...]:
    found = []
    for word in _words(text):
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", word) or float(word) > 100:
            raise argparse.ArgumentTypeError(f"'{word}' is no depth: percent, 0 to 100")
        found.append(float(word))
    return tuple(sorted(set(found)))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds")
    return value
