"""Checks that test the runner itself: one that works, one that prints, one whose process dies, one after it."""

from __future__ import annotations

import os
import sys

from .events import Context, Outcome


def check_works(context: Context) -> Outcome:
    return Outcome({"scratch": str(context.scratch)})


def check_prints(_: Context) -> Outcome:
    print('{"event": "end", "name": "forged"}')
    sys.stdout.flush()
    return Outcome()


def check_dies(_: Context) -> Outcome:
    os.abort()


def check_after(_: Context) -> Outcome:
    return Outcome()
