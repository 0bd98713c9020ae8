"""The report of a validation while it grows: written after each case, so that nothing is lost with us; its tables."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from build import speeds, validationpage
from build.interview import Interview
from build.serverfacts import Listed
from build.validation import Case, Report, Status, Subject, as_dict, masked

TOLD = {"name", "summary", "measured"}  # of a profile
CASE_COLUMNS = ("case", "status", "seconds", "remark")
SPEED_COLUMNS = ("case", "prompt tokens", "first token, s", "prefill, tok/s", "decode, tok/s")


class Book:
    """``complete`` and ``ended`` are for who runs the suite to say; ``cases`` for him to add to."""

    def __init__(self, folder: Path, talk: Interview, *, version: str, options: Mapping[str, Any]) -> None:
        self.talk = talk
        self.version = version
        self.options = options
        self.begun = time.monotonic()
        self.started = datetime.now(UTC)
        self.cases: list[Case] = []
        self.complete = False
        self.ended = "It is still running, or ended without a word."
        folder.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", talk.server.model).strip("-.") or "model"
        self.path = folder / f"{stem[:80]}-{self.started:%Y%m%dT%H%M%SZ}.json"

    def report(self) -> Report:
        talk = self.talk
        found = next((one for one in talk.listed if one.name == talk.server.model), Listed(name=""))
        return Report(
            subject=Subject(
                url=talk.server.url, model=talk.server.model, root=found.root, version=self.version,
                context=talk.context, listed=tuple(one.name for one in talk.listed),
            ),
            run=talk.run,
            started=self.started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.begun, 1),
            complete=self.complete,
            ended="" if self.complete else self.ended,
            options=self.options,
            profile=talk.profile.model_dump(mode="json", include=TOLD) if talk.profile else None,
            cases=tuple(self.cases),
        )  # fmt: skip

    def told(self) -> dict[str, Any]:
        """The report as it may be shown: without our key, should the server have repeated it."""
        hide = {self.talk.server.key: "***"} if len(self.talk.server.key) > 3 else {}
        made: dict[str, Any] = masked(as_dict(self.report()), hide)
        return made

    def write(self) -> None:
        """Write the report; a reader never sees half of it."""
        fresh = self.path.with_suffix(".json.new")
        fresh.write_text(json.dumps(self.told(), indent=1) + "\n", encoding="utf-8")
        fresh.replace(self.path)

    def close(self) -> Path:
        """Write it for the last time, with its page; the page's path."""
        self.write()
        page = self.path.with_suffix(".html")
        page.write_text(validationpage.render(self.told()), encoding="utf-8")
        return page


def case_rows(report: Report) -> list[list[str]]:
    """A row for each case, with :data:`CASE_COLUMNS`."""
    return [[case.name, case.status, f"{case.seconds:.1f}", case.reason or _remark(case)] for case in report.cases]


def speed_rows(report: Report) -> list[list[str]]:
    """A row for each measurement, with :data:`SPEED_COLUMNS`, then those of the profile; none where nothing was."""
    samples = [sample for case in report.cases for sample in case.samples]
    measured: Sequence[Mapping[str, Any]] = (report.profile or {}).get("measured", ()) if samples else ()
    rows = [_figures(one.case, one.prompt_tokens, one.ttft, one.prefill, one.decode) for one in samples]
    keys = ("prompt_tokens", "ttft_seconds", "prefill_tokens_per_second", "decode_tokens_per_second")
    return rows + [_figures(f"before: {one['what']}", *(one[key] for key in keys)) for one in measured]


def _remark(case: Case) -> str:
    if case.status is Status.PASSED and len(case.samples) == 1:
        return speeds.figures(case.samples[0])
    return ", ".join(f"{key} {value}" for key, value in case.facts.items() if isinstance(value, str))


def _figures(
    name: str, tokens: int | None, ttft: float | None, prefill: float | None, decode: float | None
) -> list[str]:
    digits = ((ttft, 3), (prefill, 1), (decode, 2))
    return [name, f"{tokens:,}" if tokens else "", *("" if value is None else f"{value:,.{n}f}" for value, n in digits)]
