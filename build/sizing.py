"""How many notices of an archive make so many tokens: measured on the server itself, since only it knows its tokenizer.

``measure`` everywhere: notices → tokens of the whole prompt, or None where it cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Measure = Callable[[int], int | None]
FEW = 5  # notices of the smaller of two samples
NOTICE_TOKENS = 40  # about, before anything was measured
CLOSE = 0.995  # of the length asked for: near enough
ROUNDS = 4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Tokens of a prompt without any notice, and of each."""

    base: float
    notice: float

    def notices(self, tokens: int) -> int:
        """How many notices come nearest to, and not above, that length.

        >>> Scale(base=100, notice=40).notices(1000)
        22
        """
        return max(1, int((tokens - self.base) / self.notice))

    def tokens(self, notices: int) -> int:
        return round(self.base + self.notice * notices)


def scale(measure: Measure, *, context: int) -> Scale | None:
    """The scale, of two samples, of which the larger takes at most a quarter of the context."""
    many = min(200, max(4 * FEW, context // (4 * NOTICE_TOKENS)))
    small, large = measure(FEW), measure(many)
    if small is None or large is None or large <= small:
        return None
    notice = (large - small) / (many - FEW)
    return Scale(base=small - notice * FEW, notice=notice)


def corrected(known: Scale, notices: int, tokens: int) -> Scale:
    """The scale after a prompt of so many notices had so many tokens: a long one tells more than the samples."""
    return Scale(base=known.base, notice=(tokens - known.base) / notices) if notices > FEW else known


def fitted(tokens: int, known: Scale, measure: Measure | None) -> tuple[int, int]:
    """Notices for a length, and the tokens that they make; measured, where there is a way that costs little."""
    notices = known.notices(tokens)
    if measure is None:
        return notices, known.tokens(notices)
    for _ in range(ROUNDS):
        count = measure(notices)
        if count is None:
            return notices, known.tokens(notices)
        if CLOSE * tokens <= count <= tokens or notices == 1:
            return notices, count
        known = corrected(known, notices, count)
        notices = known.notices(tokens)
    return notices, known.tokens(notices)
