"""Long texts for a needle to be hidden in, made by rule from a seed: two runs read the same, two texts never do.

An archive of short notices of invented people and places. Each is put together from small lists by Python's random
generator, which gives the same numbers for the same seed in every release (random.Random.random, by its documentation).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

FIRST = (
    "Ada", "Bruno", "Chidi", "Dagny", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Kavya", "Liam", "Mirela",
    "Noor", "Oskar", "Pilar", "Quentin", "Rosa", "Sefu", "Tove", "Umberto", "Vera", "Wanda", "Ximena", "Yusuf",
    "Zora",
)  # fmt: skip
LAST = (
    "Abel", "Brandt", "Castro", "Dahl", "Eriksen", "Farrow", "Gupta", "Hale", "Iwata", "Jensen", "Kovac",
    "Lindqvist", "Moreau", "Nakata", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Tamm", "Urban", "Vidal",
    "Weber", "Yilmaz",
)  # fmt: skip
PLACES = (
    "harbour office", "old mill", "northern depot", "glass works", "observatory", "ferry landing", "rope walk",
    "salt store", "weather station", "printing house", "tram shed", "seed bank", "map room", "tannery",
    "lighthouse", "brick yard", "chart house", "pump room",
)  # fmt: skip
THINGS = (
    "crates of lamp oil", "rolls of sailcloth", "boxes of type", "sacks of barley", "coils of wire", "jars of ink",
    "bundles of slate", "casks of tar", "trays of seedlings", "bolts of linen", "plates of zinc", "reels of film",
    "packs of charts", "bags of lime", "sheets of cork", "tins of varnish",
)  # fmt: skip
DEEDS = (
    "counted", "signed for", "returned", "repaired", "weighed", "sold", "stored", "relabelled", "inspected",
    "misplaced", "found again", "repacked", "lent out", "painted over",
)  # fmt: skip
WEATHER = (
    "in light rain", "under a clear sky", "during a gale", "in thick fog", "on a still morning", "after the frost",
    "in the noon heat", "at low tide", "by lantern light", "before the thaw",
)  # fmt: skip
REMARKS = (
    "Nobody objected.", "The clerk kept a copy.", "A second count agreed.", "The bill was settled later.",
    "Two porters helped.", "The ledger had a gap there.", "It took most of the afternoon.",
    "The key was left with a neighbour.", "Some of it was damp.", "The inspector asked for a receipt.",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Needle:
    """What is hidden. ``code``: what the answer must have; ``owner``: whom the question asks about."""

    owner: str
    code: str

    @property
    def notice(self) -> str:
        return f"For the record: the access code that {self.owner} chose for the archive is {self.code}."


def notices(seed: str) -> Iterator[str]:
    """Notices without end, the same ones for the same seed. All numbers have five digits: none is longer in tokens."""
    source = random.Random(seed)  # noqa: S311 - a text, not a secret

    def one(of: tuple[str, ...]) -> str:
        return of[int(source.random() * len(of))]

    number = 10_000
    while True:
        number += 1
        day, year = 1 + int(source.random() * 28), 1850 + int(source.random() * 90)
        yield (
            f"Notice {number}. On {day} {one(MONTHS)} {year}, {one(WEATHER)}, {one(FIRST)} {one(LAST)} {one(DEEDS)} "
            f"{2 + int(source.random() * 97)} {one(THINGS)} at the {one(PLACES)}. {one(REMARKS)}"
        )


def needle(seed: str) -> Needle:
    """The needle of a seed: an owner whom no notice names, and a code of two words and a number."""
    source = random.Random(f"needle {seed}")  # noqa: S311
    letters = "BCDFGHJKLMNPRSTVWZ"
    word = "".join(letters[int(source.random() * len(letters))] for _ in range(4))
    return Needle(owner="Theodora Quillfeather", code=f"{word}-{10_000 + int(source.random() * 90_000)}")


def hidden(seed: str, *, count: int, depth: float, run: str) -> str:
    """An archive of so many notices with the needle of ``seed`` at ``depth``: 0.0 at its beginning, 1.0 at its end.

    ``run`` stands at the very beginning, so that no server has any of it in its prefix cache from before.
    """
    source = notices(seed)
    made = [next(source) for _ in range(count)]
    made.insert(round(depth * count), needle(seed).notice)
    return f"Archive {run}, copy {seed}.\n\n" + "\n".join(made)
