"""The table of README's section "Published", made of the records: what there is to pull, and what a GB10 said of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from build.errors import UsageError
from build.published import Place, Record, Tested

BEGIN, END = "<!-- published -->", "<!-- /published -->"
PART = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
NOTHING = "Nothing is published yet: `./nox -s build` makes the image from nothing.\n"
COLUMNS = ("target", "image", "published", "on a GB10")
GB10 = "GB10"


def of_gb10(record: Record) -> tuple[Tested, ...]:
    """The reports that a GB10 gave: what another GPU says proves nothing of this one."""
    return tuple(report for report in record.on_gpu if GB10 in report.gpu)


def fit(record: Record) -> tuple[Place, ...]:
    """The places of a record that are for others: what was pushed with remarks is for who pushed it."""
    return tuple(place for place in record.places if not place.remarks)


def rendered(records: Sequence[Record]) -> str:
    """The section's content, in Markdown: a row for each record that is for others, or a sentence."""
    rows = [_row(record) for record in records if fit(record)]
    if not rows:
        return NOTHING
    return "".join(f"| {' | '.join(row)} |\n" for row in (COLUMNS, ("---",) * len(COLUMNS), *rows))


def _row(record: Record) -> tuple[str, ...]:
    places = fit(record)
    images = [f"`{place.repository}@{record.manifest}`" for place in places]
    reports = [f"{report.gpu}: {report.summary}, {report.time[:10]}" for report in of_gb10(record)]
    return (
        f"`{record.target}`",
        "<br>".join(images),
        min(place.time for place in places)[:10],
        "<br>".join(reports).replace("|", "&#124;") or "no report yet",
    )


def part(text: str) -> str:
    """What stands between the markers of a Markdown file; :class:`UsageError` where they are not there once each."""
    found = PART.findall(text)
    if len(found) != 1:
        raise UsageError(f"the file does not have the lines {BEGIN} and {END}, once each")
    return str(found[0])


def replaced(text: str, records: Sequence[Record]) -> str:
    """A Markdown file with the section's content written anew; errors as of :func:`part`."""
    part(text)
    return PART.sub(lambda _: rendered(records), text)
