"""Time to the first token, prefill and decode in tokens per second, as the model card of 0xSero/DeepSeek-V4-Flash-162B
has them: prefill is prompt tokens over the time to the first token, decode is the tokens after the first over the time
from the first to the last (186,390 tokens, 345.834 s, 538.958 tok/s, 13.899 tok/s there).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from build.replies import Reply

FEW_TOKENS = 16  # fewer than this say nothing about decoding
CACHED_PART = 0.02  # of a prompt from the prefix cache: more, and its prefill was not measured


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured request. Seconds, and tokens per second; None where it cannot be told, ``remark`` says why."""

    case: str
    prompt_tokens: int
    completion_tokens: int
    ttft: float
    prefill: float | None
    decode: float | None
    remark: str = ""


def sample(case: str, reply: Reply) -> Sample | None:
    """What a streamed reply says of speeds; None where the server did not count tokens, or no token came."""
    usage, clock = reply.usage, reply.clock
    if usage is None or not clock.first or clock.last is None:
        return None
    remarks = []
    prefill: float | None = usage.prompt / clock.first
    if (usage.cached or 0) > CACHED_PART * usage.prompt:
        prefill = None
        remarks.append(f"{usage.cached} tokens of the prompt came from the prefix cache")
    decode: float | None = None
    if usage.completion < FEW_TOKENS:
        remarks.append(f"{usage.completion} tokens are too few to tell how fast it decodes")
    elif clock.last > clock.first:
        decode = (usage.completion - 1) / (clock.last - clock.first)
    else:
        remarks.append("all tokens came at once")
    return Sample(
        case=case,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        ttft=clock.first,
        prefill=prefill,
        decode=decode,
        remark="; ".join(remarks),
    )


def figures(one: Sample) -> str:
    """A sample in a line.

    >>> figures(Sample(case="", prompt_tokens=2000, completion_tokens=99, ttft=3.9, prefill=512.8, decode=13.899))
    '2,000 tokens: first token after 3.900 s, prefill 512.8 tok/s, decode 13.90 tok/s'
    """
    prefill = f", prefill {one.prefill:,.1f} tok/s" if one.prefill is not None else ""
    decode = f", decode {one.decode:,.2f} tok/s" if one.decode is not None else ""
    return f"{one.prompt_tokens:,} tokens: first token after {one.ttft:,.3f} s{prefill}{decode}"


def spread(values: Sequence[float], unit: str) -> str:
    """The median of repeated measurements with the least and the most, to four digits.

    >>> spread([2.0, 1.0, 4.0], "s"), spread([483311.9, 414661.7], "tok/s")
    ('2 s (1 to 4)', '449,000 tok/s (414,700 to 483,300)')
    """
    if not values:
        return "not measured"
    middle, least, most = (_rounded(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} {unit} ({least} to {most})" if len(values) > 1 else f"{middle} {unit}"


def _rounded(value: float) -> str:
    return f"{float(f'{value:.4g}'):,.4g}" if value < 1000 else f"{float(f'{value:.4g}'):,.0f}"
