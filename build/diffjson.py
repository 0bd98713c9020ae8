"""A difference between images as JSON, for other programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from build import diffreport, summaryreport
from build.diffreport import Explanation, Report
from build.imagediff import DIFFERENT, Change, LayerDiff
from build.layertar import Entry
from build.ociimage import Image, Layer
from build.packagediff import Summary

SCHEMA = 2


def to_json(report: Report) -> str:
    """All of it as JSON; ``schema`` counts the versions of its form."""
    diff = report.diff
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": diff.verdict,
        "same": diff.verdict != DIFFERENT,
        "summary": diffreport.summary(diff),
        "a": _image(diff.a),
        "b": _image(diff.b),
        **_told(diff.told or Summary()),
        "layers": [_layer(report, place, layer) for place, layer in enumerate(diff.layers)],
        "config": [asdict(fact) for fact in diff.config],
        "recompressed": [{"a": _side(one), "b": _side(two)} for one, two in diff.recompressed],
        "form": list(diff.form),
    }
    return json.dumps(body, indent=1) + "\n"


def _told(told: Summary) -> dict[str, Any]:
    """What differs above files; of the same image nothing does."""
    cost = told.cost
    return {
        "wheels": [asdict(change) for change in told.wheels],
        "debs": [asdict(change) for change in told.debs],
        "patches": {
            "a": summaryreport.series_json(told.series[0]),
            "b": summaryreport.series_json(told.series[1]),
            "changes": [asdict(change) for change in told.patches],
            "reordered": told.reordered,
        },
        "sizes": {"a": told.size, "b": cost.total, "new": cost.new, "parts": [asdict(part) for part in cost.parts]}
        if cost
        else None,
        "notes": list(told.notes),
    }


def _image(image: Image) -> dict[str, Any]:
    return {
        "name": image.name,
        "manifest": image.manifest,
        "config": image.config_digest,
        "layers": [_side(layer) for layer in image.layers],
    }


def _layer(report: Report, place: int, layer: LayerDiff) -> dict[str, Any]:
    return {
        "a": _side(layer.a),
        "b": _side(layer.b),
        "form": layer.form,
        "packages": [
            {
                "name": name,
                "versions": list(report.diff.versions.get(name, ())),
                "files": [_file(change, report.explanations.get((place, change.path))) for change in changes],
            }
            for name, changes in diffreport.by_package(layer)
        ],
    }


def _side(layer: Layer | None) -> dict[str, Any] | None:
    if layer is None:
        return None
    told = asdict(layer)
    del told["file"]
    return told


def _file(change: Change, told: Explanation | None) -> dict[str, Any]:
    facts = [asdict(fact) for fact in change.facts]
    body: dict[str, Any] = {"path": change.path, "facts": facts, "a": _entry(change.a), "b": _entry(change.b)}
    return body | ({"diffoscope": {"report": told.file, "note": told.note}} if told else {})


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    names = ("kind", "mode", "owner", "mtime", "size", "link", "sha256")
    return {name: getattr(entry, name) for name in names} | {"extra": dict(entry.extra)}
