"""The suite's long prompts: a needle at each length and depth, timed as the card does it; short ones; the prefix cache.

No prompt begins as another one did, in this run or before: each has the run's own word and its own number at its very
beginning, so that a server's prefix cache has none of it. The one exception is the case that asks for the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from build import answers, haystack, serverfacts, sizing, speeds
from build.interview import Interview, Outcome, Task, judged
from build.replies import Reply
from build.sizing import Scale
from build.speeds import Sample

ANSWER = 2048  # tokens that an answer may have, thinking included
LEAST_ANSWER = 64
SHORT, REPEATS = 1000, 3  # tokens of the short prompts that are timed, and how many
TWICE = 4000  # tokens of the prompt that is sent twice
PARTS = (1 / 32, 1 / 8, 1 / 2, 0.93195)  # of the context; the card's 186,390 tokens are the last part of 200,000
DEPTHS, QUICK_DEPTHS = (10.0, 50.0, 90.0), (50.0,)
TRUNCATED = 0.9  # of the tokens sent: a server that counts fewer has cut the prompt
SLOW_ENOUGH = 0.5  # seconds to the first token, from which on a cache can be told from none by time
HELPED = 0.7  # of them: what the second time may take at most


def default_lengths(context: int, *, quick: bool) -> tuple[int, ...]:
    """The lengths of a run where none are named.

    >>> default_lengths(200_000, quick=False)
    (6250, 25000, 100000, 186390)
    """
    return tuple(round(context * part) for part in (PARTS[:1] if quick else PARTS))


def tasks(lengths: Sequence[int], depths: Sequence[float]) -> tuple[Task, ...]:
    """Speeds of short prompts, the prefix cache, then every length with every depth (in percent), short ones first."""
    needles = tuple(
        Task(
            name=f"needle-{length}-{depth:g}",
            group="needle",
            title=f"Needle in {length:,} tokens, at {depth:g} %",
            do=_needle(length, depth),
        )
        for length in sorted(lengths)
        for depth in depths
    )
    return (
        Task(name="speed-short", group="speed", title=f"Speeds with {SHORT:,} tokens, {REPEATS} times", do=short),
        Task(name="speed-cache", group="speed", title="The same prompt twice: the prefix cache", do=cache, quick=False),
        *needles,
    )


def ruler(talk: Interview) -> Scale | None:
    """How long texts are on this server; found out once in a run."""
    if not talk.scaled:
        measure = _measure(talk, "scale", 0.5)
        talk.scale, talk.scaled = sizing.scale(measure, context=talk.context), True
    return talk.scale


def _measure(talk: Interview, copy: str, depth: float) -> Callable[[int], int | None]:
    return lambda notices: talk.tokens(_prompt(talk, copy, notices, depth))


def _prompt(talk: Interview, copy: str, notices: int, depth: float) -> str:
    seed = f"{talk.seed}-{copy}"
    text = haystack.hidden(seed, count=notices, depth=depth, run=talk.run)
    return (
        f"{text}\n\nOne line of this archive is a record of the access code that {haystack.needle(seed).owner} chose. "
        "Write that code alone on the first line of your answer. Then describe, in about 100 words, what sort of "
        "notices the archive holds."
    )


def _text(talk: Interview, copy: str, tokens: int, depth: float) -> tuple[str, int, int] | None:
    """A prompt of so many tokens, its notices, and the tokens that it should have; None if it cannot be measured."""
    if (scale := ruler(talk)) is None:
        return None
    probe = _prompt(talk, copy, 1, depth)
    exact = serverfacts.tokens(talk.server, [{"role": "user", "content": probe}]) is not None
    notices, count = sizing.fitted(tokens, scale, _measure(talk, copy, depth) if exact else None)
    return _prompt(talk, copy, notices, depth), notices, count


UNMEASURED = "the server tells tokens neither by /tokenize nor as usage: no length can be made"


def _needle(length: int, depth: float) -> Callable[[Interview], Outcome]:
    def do(talk: Interview) -> Outcome:
        room = talk.context - length - length // 100
        if room < LEAST_ANSWER:
            return Outcome(
                skipped=f"the server's context is {talk.context:,} tokens: no room for {length:,} and an answer"
            )
        copy = f"{length}-{depth:g}"
        if (made := _text(talk, copy, length, depth / 100)) is None:
            return Outcome(skipped=UNMEASURED)
        prompt, notices, count = made
        reply = talk.ask(prompt, max_tokens=min(ANSWER, room), prompt_tokens=count)
        if reply.usage and talk.scale:
            talk.scale = sizing.corrected(talk.scale, notices, reply.usage.prompt)
        code = haystack.needle(f"{talk.seed}-{copy}").code
        outcome = judged(reply, lambda reply: findings(reply, code, count))
        one = speeds.sample(f"needle-{copy}", reply)
        facts = {
            "length": length,
            "depth": depth,
            "prompt_tokens": reply.usage.prompt if reply.usage else None,
            "retained": code.casefold() in reply.text.casefold(),
            "speeds": speeds.figures(one) if one else "not measured: no usage came",
        }
        return Outcome(findings=outcome.findings, facts=facts, samples=(one,) if one else ())

    return do


def findings(reply: Reply, code: str, sent: int) -> tuple[str, ...]:
    """What is wrong with the answer to a needle of that code, in a prompt of about so many tokens."""
    wrong = []
    if reply.usage and reply.usage.prompt < TRUNCATED * sent:
        wrong.append(f"the server took {reply.usage.prompt:,} of about {sent:,} tokens: it cut the prompt")
    if (empty := answers.emptiness(reply)) is not None:
        return (*wrong, empty)
    if code.casefold() not in reply.text.casefold():
        near = " (it stands in the thinking)" if code.casefold() in reply.thinking.casefold() else ""
        wrong.append(f"the needle {code} is not in the answer{near}; it says {reply.text.strip()[:80]!r}")
    wrong += [f"it repeats itself: {phrase!r}" for phrase in [answers.loop(reply.text)] if phrase]
    return tuple(wrong)


def short(talk: Interview) -> Outcome:
    """The same length several times, with other texts: what there is to compare long prompts with."""
    samples: list[Sample] = []
    wrong: list[str] = []
    tokens = min(SHORT, talk.context // 4)
    for number in range(1, REPEATS + 1):
        if (made := _text(talk, f"short-{number}", tokens, 0.5)) is None:
            return Outcome(skipped=UNMEASURED)
        reply = talk.ask(made[0], max_tokens=ANSWER, prompt_tokens=made[2])
        if reply.trouble:
            return Outcome(findings=(str(reply.trouble),), samples=tuple(samples))
        one = speeds.sample("speed-short", reply)
        samples += [one] if one else []
        wrong += [] if one else ["no usage came: nothing can be measured"]
    facts = {
        "first token": speeds.spread([one.ttft for one in samples], "s"),
        "prefill": speeds.spread([one.prefill for one in samples if one.prefill], "tok/s"),
        "decode": speeds.spread([one.decode for one in samples if one.decode], "tok/s"),
    }
    return Outcome(findings=tuple(dict.fromkeys(wrong)), facts=facts, samples=tuple(samples))


def cache(talk: Interview) -> Outcome:
    """A prompt and the same again: the second first token comes sooner, where the server has a prefix cache."""
    if (made := _text(talk, "twice", min(TWICE, talk.context // 3), 0.5)) is None:
        return Outcome(skipped=UNMEASURED)
    replies = [talk.ask(made[0], max_tokens=LEAST_ANSWER, prompt_tokens=made[2]) for _ in range(2)]
    if trouble := next((reply.trouble for reply in replies if reply.trouble), None):
        return Outcome(findings=(str(trouble),))
    before, after = (reply.clock.first or 0.0 for reply in replies)
    cached = replies[1].usage.cached if replies[1].usage else None
    facts = {"first": round(before, 3), "second": round(after, 3), "cached_tokens": cached}
    if cached or (before >= SLOW_ENOUGH and after <= HELPED * before):
        return Outcome(facts=facts)
    if before < SLOW_ENOUGH and cached is None:
        return Outcome(
            skipped=f"the first token came after {before:.3f} s: too soon to tell a cache by time", facts=facts
        )
    if talk.profile and not talk.profile.serve.prefix_caching:
        return Outcome(skipped="the profile has no prefix cache", facts=facts)
    return Outcome(findings=(f"the second time was no faster: {before:.3f} s, then {after:.3f} s",), facts=facts)
