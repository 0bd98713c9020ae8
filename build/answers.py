"""What can be checked of an answer in prose: that there is one, in English, in the form asked for, no loop, no refusal.

Whether it is wise is for people: the report shows them the text. All functions are pure; a finding is a sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from build.replies import Reply

# The commonest words of English that are not common words of other languages too.
ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "the of and to that is was for with as his they be at this have from or one had by but not what all "
        "were we when your can said there use each which she do how their if will up other about out many "
        "then them these so some her would make like him into has look more who may been its than because "
        "does between it are",
    )
)
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
NUMBERED = re.compile(r"[^\W_]+")  # words and numbers: a list that counts is no loop
HEADING = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+(.+?)[ \t]*#*|\*\*(.+?)\*\*:?|__(.+?)__:?)[ \t]*$", re.MULTILINE)
NUMBER = re.compile(r"^\d+[.)]\s*")  # of a heading
REFUSALS = re.compile(
    r"\b(?:i(?:'m| am) sorry,? (?:but )?i (?:can(?:not|'t)|am unable|am not able)"
    r"|i (?:can(?:not|'t)|won't|am unable to|am not able to) (?:help|assist|discuss|comment|provide|answer|engage)"
    r"|as an? (?:ai|artificial intelligence|language model)\b)",
    re.IGNORECASE,
)
REFUSAL_LOOK = 400  # characters at the beginning in which a refusal stands
SHINGLE, SHINGLES = 6, 30  # words in a row; how many rows a text must have to be looked at
LOOPED = 0.35  # of a text's rows of words that may come again
TAIL, UNIT, TIMES = 3000, 120, 8  # of characters: where a short unit is looked for, its length, how often is a loop
FEW_ENGLISH, FEW_LATIN, FEW_WORDS = 0.15, 0.85, 12  # least shares of an English text; fewer words tell nothing
QUOTES = str.maketrans("’‘“”", "''\"\"")


@dataclass(frozen=True, kw_only=True)
class Form:
    """What an answer should look like.

    ``words``: the least and the most. ``sections``: headings in their order; with ``balance`` no section has more words
    than so many times those of the shortest. ``mentions``: what must be said, as a pattern, by the section that must
    say it ("" for the whole). ``last``: the last line, as a pattern.
    """

    words: tuple[int, int]
    sections: tuple[str, ...] = ()
    balance: float = 0.0
    mentions: Mapping[str, str] = field(default_factory=dict)
    last: str = ""


def findings(reply: Reply, form: Form) -> tuple[str, ...]:
    """All that is wrong with an answer; nothing where it is as it should be."""
    if (empty := emptiness(reply)) is not None:
        return (empty,)
    text = reply.text
    if words := refusal(text):
        return (f"it refuses: {words!r}",)
    wrong = [] if reply.finish != "length" else ["it was cut off at max_tokens"]
    if reply.leaked:
        wrong.append(
            "the thinking stands in the answer, between think tags: the server's reasoning parser is not at work"
        )
    count = len(WORD.findall(text))
    if not form.words[0] <= count <= form.words[1]:
        wrong.append(f"{count} words, not {form.words[0]} to {form.words[1]}")
    wrong += [f"it repeats itself: {phrase!r}" for phrase in [loop(text)] if phrase]
    wrong += [f"the thinking repeats itself: {phrase!r}" for phrase in [loop(reply.thinking)] if phrase]
    wrong += [f"it is not in English: {why}" for why in [foreign(text)] if why]
    wrong += _form(text, form)
    return tuple(wrong)


def emptiness(reply: Reply) -> str | None:
    """Why there is no text to look at."""
    if reply.text.strip():
        return None
    if reply.calls:
        return "no answer but a tool call, and no tool was offered or needed"
    if reply.thinking:
        more = "max_tokens ran out in the middle of it" if reply.finish == "length" else f"it ended with {reply.finish}"
        return f"the answer is empty: {len(reply.thinking)} characters of thinking, then {more}"
    return f"the answer is empty (finish_reason {reply.finish or 'none'})"


def loop(text: str) -> str:
    """A phrase that a text falls into again and again; empty where it does not.

    >>> loop("so it goes on " * 40), loop("every word here is another one")
    ('so it goes on so it', '')
    """
    words = [word.casefold() for word in NUMBERED.findall(text)]
    rows = Counter(tuple(words[place : place + SHINGLE]) for place in range(len(words) - SHINGLE + 1))
    total = sum(rows.values())
    if total >= SHINGLES and 1 - len(rows) / total > LOOPED:
        return " ".join(rows.most_common(1)[0][0])
    if found := re.search(rf"(.{{1,{UNIT}}}?)\1{{{TIMES - 1},}}\Z", text.rstrip()[-TAIL:], re.DOTALL):
        unit, size = found[1], len(found[0])
        if any(character.isalnum() for character in unit) or size > 4 * UNIT:
            return unit[:60].strip()
    return ""


def foreign(text: str) -> str:
    """Why a text is hardly English; empty where it is. Code in it is passed over.

    >>> foreign("The cat sat on the mat, and that was that for the day.")
    ''
    >>> foreign("Die Katze saß auf der Matte, und das war es dann für den Tag.")
    '0 % of its words are common English ones'
    """
    prose = re.sub(r"```.*?(?:```|\Z)", " ", text, flags=re.DOTALL)
    letters = [character for character in prose if character.isalpha()]
    if letters and (latin := sum(character < "ɐ" for character in letters) / len(letters)) < FEW_LATIN:
        return f"{100 * latin:.0f} % of its letters are Latin ones"
    words = [word.casefold() for word in WORD.findall(prose)]
    if len(words) >= FEW_WORDS and (share := sum(word in ENGLISH for word in words) / len(words)) < FEW_ENGLISH:
        return f"{100 * share:.0f} % of its words are common English ones"
    return ""


def refusal(text: str) -> str:
    """The words with which an answer refuses to be one; empty where it does not."""
    found = REFUSALS.search(text[:REFUSAL_LOOK].translate(QUOTES))
    return found[0] if found else ""


def sections(text: str) -> dict[str, str]:
    """What stands below each heading (Markdown's, or a line that is bold), by the heading."""
    marks = list(HEADING.finditer(text))
    ends = [*(mark.start() for mark in marks[1:]), *([len(text)] if marks else [])]
    return {
        NUMBER.sub("", (mark[1] or mark[2] or mark[3]).strip(" *_:#")): text[mark.end() : end].strip()
        for mark, end in zip(marks, ends, strict=True)
    }


def _form(text: str, form: Form) -> list[str]:
    """What is wrong with headings, their order and balance, with what must be said, and with the last line."""
    found = {heading.casefold(): body for heading, body in sections(text).items()}
    wrong = [f"the heading {name!r} is missing" for name in form.sections if name.casefold() not in found]
    if not wrong and form.sections:
        wrong += _order(found, form)
    for place, pattern in form.mentions.items():
        body = found.get(place.casefold(), "") if place else text
        if (body or place == "") and not re.search(pattern, body, re.IGNORECASE):
            wrong.append(f"{place or 'the answer'} does not mention what it must: {pattern}")
    lines = [line.strip() for line in text.strip().splitlines() if line.strip("`*_ \t")]
    if form.last and not re.fullmatch(form.last, lines[-1].strip("`*_ ") if lines else "", re.IGNORECASE):
        wrong.append(f"the last line is {lines[-1][:80] if lines else ''!r}, not {form.last}")
    return wrong


def _order(found: Mapping[str, str], form: Form) -> list[str]:
    names: Sequence[str] = [name.casefold() for name in form.sections]
    wrong = [] if [name for name in found if name in names] == names else ["the headings are in another order"]
    sizes = {name: len(WORD.findall(found[name.casefold()])) for name in form.sections}
    least, most = min(sizes, key=lambda name: sizes[name]), max(sizes, key=lambda name: sizes[name])
    if sizes[least] == 0:
        wrong.append(f"nothing stands below {least!r}")
    elif form.balance and sizes[most] > form.balance * sizes[least]:
        wrong.append(f"it is not balanced: {sizes[most]} words on {most}, {sizes[least]} on {least}")
    return wrong
