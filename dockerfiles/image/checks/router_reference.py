"""What DeepSeek-V4's router must answer, in float64 NumPy: written from its definition, not from any of its code.

score s = sqrt(softplus(float32(x))), NaN scores 0. Chosen: the k best by (s + bias descending, id ascending), or the
token's row of the hash table. Weights: the scores of the chosen, never the biased values; renormalised they are
divided by their sum (by 1 where that is not positive), then multiplied by the scaling factor. Padding rows: id -1,
weight 0. Image rows (five token ids from ``sentinel`` on, 0 turns it off) choose by s + image bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

IMAGE_IDS = 5  # consecutive token ids of an image
CHOICE_TOLERANCE = 5e-6  # of s + bias in float32: one unit in the last place at 8 is 9.5e-7
GAP = 1e-5  # choices further apart than this have one right order
WEIGHT_ATOL, WEIGHT_RTOL = 5e-6, 2e-5


@dataclass
class Routing:
    """One question to a router; arrays of float32 (or what converts to it) and integers."""

    logits: Any
    k: int
    renormalize: bool = True
    scale: float = 1.5
    bias: Any = None
    table: Any = None
    tokens: Any = None
    padding: Any = None
    image_bias: Any = None
    sentinel: int = 0


def scores(logits: Any) -> Any:
    """sqrt(softplus(x)) in float64, NaN as 0."""
    with np.errstate(invalid="ignore"):  # NaN is part of the question
        value = np.sqrt(np.logaddexp(0.0, np.asarray(logits, np.float32).astype(np.float64)))
    return np.where(np.isnan(value), 0.0, value)


def choices(ask: Routing) -> Any:
    """What is compared between experts, per row: the score plus the row's bias."""
    value = scores(ask.logits)
    zero = np.zeros(value.shape[1])
    row_bias = np.broadcast_to(zero if ask.bias is None else np.asarray(ask.bias, np.float64), value.shape)
    image = image_rows(ask)
    if image is not None:
        row_bias = np.where(image[:, None], np.asarray(ask.image_bias, np.float64), row_bias)
    return value + row_bias


def image_rows(ask: Routing) -> Any:
    """Which rows are image tokens; None where the router has no image bias or it is turned off."""
    if ask.image_bias is None or ask.sentinel <= 0:
        return None
    return (ask.tokens >= ask.sentinel) & (ask.tokens < ask.sentinel + IMAGE_IDS)


def picks(ask: Routing) -> Any:
    """The chosen experts, best first; -1 in padding rows."""
    best = np.argsort(-choices(ask), axis=1, kind="stable")[:, : ask.k]
    if ask.table is not None:
        image = image_rows(ask)
        hidden = np.zeros(len(best), bool) if image is None else image
        hidden = hidden if ask.padding is None else hidden | ask.padding
        from_table = np.asarray(ask.table)[np.where(hidden, 0, ask.tokens)].astype(np.int64)
        best = from_table if image is None else np.where(image[:, None], best, from_table)
    return best if ask.padding is None else np.where(ask.padding[:, None], -1, best)


def weights(ask: Routing, ids: Any) -> Any:
    """The weights of given picks (those of :func:`picks`, or the ones to be judged)."""
    padded = ids < 0
    value = np.take_along_axis(scores(ask.logits), np.where(padded, 0, ids), axis=1)
    value = np.where(padded, 0.0, value)
    if ask.renormalize:
        total = value.sum(axis=1, keepdims=True)
        value = value / np.where(total > 0, total, 1.0)
    return value * ask.scale


def judge(ask: Routing, got_weights: Any, got_ids: Any, *, exact: bool = False) -> str:
    """What is wrong with an answer, in words; empty where it is right.

    ``exact``: every id must be the reference's. Without it, choices nearer than float32 can tell apart may swap.
    """
    want = picks(ask)
    ids = np.asarray(got_ids).astype(np.int64)
    if ids.shape != want.shape or got_weights.shape != want.shape:
        return f"shape {ids.shape} and {got_weights.shape} instead of {want.shape}"
    if ids.size == 0:
        return ""
    experts = np.asarray(ask.logits).shape[1]
    if ask.padding is None and (ids.min() < 0 or ids.max() >= experts):
        return f"ids from {ids.min()} to {ids.max()}"
    wrong = ids != want if exact or ask.table is not None else _wrong_order(ask, ids, want)
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        return f"{int(wrong.any(axis=1).sum())} rows choose others: row {row} {ids[row]} instead of {want[row]}"
    right = weights(ask, ids)
    off = np.abs(got_weights - right) - WEIGHT_RTOL * np.abs(right)
    if not np.isfinite(got_weights).all():
        return "weights that are not finite"
    if off.max() > WEIGHT_ATOL * ask.scale:
        return f"a weight is off by {np.abs(got_weights - right).max():.3g}"
    return ""


def _wrong_order(ask: Routing, ids: Any, want: Any) -> Any:
    """Where an id is wrong beyond what float32 leaves open."""
    choice = choices(ask)
    best = -np.sort(-choice, axis=1)[:, : ask.k + 1]
    if best.shape[1] == ask.k:  # as many experts as picks
        best = np.concatenate([best, np.full((len(best), 1), -np.inf)], axis=1)
    shown = ids >= 0
    mine = np.take_along_axis(choice, np.where(shown, ids, 0), axis=1)
    far = np.abs(mine - best[:, :-1]) > CHOICE_TOLERANCE
    apart = best[:, :-1] - best[:, 1:] > GAP
    apart[:, 1:] &= apart[:, :-1].copy()
    wrong = far | (apart & (ids != want))
    twice = np.sort(ids, axis=1)
    wrong[:, 1:] |= twice[:, 1:] == twice[:, :-1]
    if ask.padding is not None:
        wrong = np.where(ask.padding[:, None], ids != -1, wrong)
    return wrong
