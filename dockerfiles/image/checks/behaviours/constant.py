"""The patch of the target `tiny` shows in the installed package, and breaks nothing of it."""

from __future__ import annotations

import importlib

from ..cases import Case, Wrong, fixes, keeps

REAL = ("jinja2",)


@fixes
def the_constant_is_there() -> str:
    module = importlib.import_module("jinja2")
    found = getattr(module, "__spark_runtime__", None)
    if found is None:
        raise Wrong("jinja2 has no __spark_runtime__")
    return f"jinja2.__spark_runtime__ = {found!r}"


@keeps
def the_version_is_as_released() -> str:
    version = str(importlib.import_module("jinja2").__version__)
    if version != "3.1.6":
        raise Wrong(f"jinja2.__version__ = {version}")
    return version


CASES: tuple[Case, ...] = (the_constant_is_there, the_version_is_as_released)
