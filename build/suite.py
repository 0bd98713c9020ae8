"""The card's suite: smoke, diagrams, code explanation, religion, philosophy, tool calls, needles and speeds.

Smoke stands here: whether the server is one, and of this model.
"""

from __future__ import annotations

from collections.abc import Sequence

from build import answers, suitediagrams, suiteneedle, suiteprose, suitetools
from build.interview import Interview, Outcome, Task, judged
from build.replies import Reply

TOKENS = 2048  # that an answer may have, thinking included


def tasks(lengths: Sequence[int], depths: Sequence[float]) -> tuple[Task, ...]:
    """In the order in which they run: what is cheap, and what all else hangs on, first."""
    return (
        Task(name="smoke-model", group="smoke", title="The server lists the model, with its context", do=listed),
        Task(name="smoke-whole", group="smoke", title="An answer in one piece", do=whole),
        Task(name="smoke-stream", group="smoke", title="A streamed answer, with usage", do=streamed),
        Task(name="smoke-thinking", group="smoke", title="Thinking stands apart from the answer", do=thinking),
        *suitediagrams.tasks(),
        *suiteprose.tasks(),
        *suitetools.tasks(),
        *suiteneedle.tasks(lengths, depths),
    )


def listed(talk: Interview) -> Outcome:
    """/v1/models names the model, and its context is the profile's."""
    names = [model.name for model in talk.listed]
    model, profile = talk.server.model, talk.profile
    found = next((one for one in talk.listed if one.name == model), None)
    wrong = [] if found else [f"the server lists {', '.join(names) or 'nothing'}, not {model}"]
    if profile and model != profile.model.served_name:
        wrong.append(f"the profile {profile.name} serves {profile.model.served_name}, this is {model}")
    if profile and found and found.context is not None and found.context < profile.serve.context:
        wrong.append(f"its context is {found.context} tokens, the profile's {profile.serve.context}")
    return Outcome(findings=tuple(wrong), facts={"listed": names, "context": found.context if found else None})


def whole(talk: Interview) -> Outcome:
    return _plain(talk, stream=False)


def streamed(talk: Interview) -> Outcome:
    return _plain(talk, stream=True)


def _plain(talk: Interview, *, stream: bool) -> Outcome:
    """A word that was asked for, a reason to end, and a count of tokens."""
    reply = talk.ask("Reply with the single word PONG and nothing else.", max_tokens=TOKENS, stream=stream)

    def wrong(reply: Reply) -> tuple[str, ...]:
        if (empty := answers.emptiness(reply)) is not None:
            return (empty,)
        found = [] if reply.finish == "stop" else [f"finish_reason is {reply.finish!r}, not 'stop'"]
        if reply.text.strip().strip("*`\"'.").upper() != "PONG":
            found.append(f"asked for PONG, it says {reply.text.strip()[:60]!r}")
        if reply.usage is None:
            how = "though stream_options.include_usage was asked for" if stream else "in the answer"
            found.append(f"no usage came, {how}: nothing can be measured")
        return tuple(found)

    return judged(reply, wrong)


def thinking(talk: Interview) -> Outcome:
    """The reasoning comes in a field of its own, or not at all; where the profile has thinking on, it comes."""
    reply = talk.ask("What is 17 times 23? End with the number alone on the last line.", max_tokens=TOKENS)
    expected = talk.profile is not None and talk.profile.serve.thinking

    def wrong(reply: Reply) -> tuple[str, ...]:
        if (empty := answers.emptiness(reply)) is not None:
            return (empty,)
        found = [] if not reply.leaked else ["the thinking stands in the answer, between think tags"]
        if expected and not reply.thinking:
            found.append("no thinking came, and the profile has it on")
        if "391" not in reply.text:
            found.append(f"17 times 23 is 391; it says {reply.text.strip()[-60:]!r}")
        return tuple(found)

    return judged(reply, wrong, field=reply.thinking_field or ("think tags" if reply.leaked else "none"))
