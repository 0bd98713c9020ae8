"""Which modules of a target's wheels are compiled when the image is made.

The container's user cannot write into the venv: what has no bytecode there is compiled by each process of each start.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from build.patterns import Files, Records, by_distribution, matched, owners, refuse


def find(records: Records, patterns: Sequence[str], left_out: Collection[str]) -> Files:
    """The sources that the patterns match, less those that are left out; other kinds of files are passed over.

    Raises ``PatternError`` for a pattern that matches no file.
    """
    owned = owners(records)
    chosen: set[str] = set()
    faults = []
    for pattern in patterns:
        found, fault = matched(pattern, owned)
        faults += [fault] if fault else []
        chosen.update(path for path in found if path.endswith(".py") and path not in left_out)
    refuse("what the target compiles is not there", "bytecode", faults)
    return by_distribution(chosen, owned)
