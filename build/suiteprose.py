"""The suite's prose: explaining code, religion, philosophy.

Each prompt asks for a form that can be checked, since what a model thinks of the trolley problem cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable

from build import answers
from build.answers import Form
from build.interview import Interview, Outcome, Task, judged

TOKENS = 6144  # that an answer may have, thinking included
CODE = """\
def place(values, wanted):
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low
"""
AFTERLIFE = {
    "Judaism": r"world to come|olam ha-?ba|resurrect|sheol|gehinnom|gan eden",
    "Christianity": r"resurrect|heaven|salvation|eternal life|judg",
    "Islam": r"paradise|jannah|judg|barzakh|akhirah|hereafter",
    "Hinduism": r"reincarnat|rebirth|karma|moksha|samsara|sa[mṃ]sāra",
    "Buddhism": r"rebirth|karma|nirv[aā]na|samsara|sa[mṃ]sāra",
}


def tasks() -> tuple[Task, ...]:
    return (
        Task(name="code-explanation", group="code", title="Explains a function, and what it returns", do=code),
        prose("religion", "afterlife", "Five religions on what comes after death", AFTERLIFE_PROMPT, AFTERLIFE_FORM),
        prose("religion", "evil", "The problem of evil, both sides", EVIL_PROMPT, EVIL_FORM, quick=False),
        prose("philosophy", "free-will", "Free will, for and against", WILL_PROMPT, WILL_FORM),
        prose("philosophy", "trolley", "The trolley problem, three ways", TROLLEY_PROMPT, TROLLEY_FORM, quick=False),
    )


def code(talk: Interview) -> Outcome:
    prompt = (
        f"Explain this Python function to a colleague, in English.\n\n```python\n{CODE}```\n\nUse exactly these "
        "headings, each on a line of its own: '## Purpose', '## Step by step', '## Complexity'. Give the "
        "complexity in big-O notation. End with one line of the form 'RESULT: n', where n is what place([2, 4, 4, "
        "4, 9, 11], 4) returns."
    )
    form = Form(
        words=(80, 1500),
        sections=("Purpose", "Step by step", "Complexity"),
        mentions={"": r"binary search|bisect", "Complexity": r"O\s*\(\s*\\?log|logarithmic"},
        last=r"RESULT:\s*1\.?",
    )
    return judged(talk.ask(prompt, max_tokens=TOKENS), lambda reply: answers.findings(reply, form))


def prose(group: str, name: str, title: str, prompt: str, form: Form, *, quick: bool = True) -> Task:
    def do(talk: Interview) -> Outcome:
        return judged(talk.ask(prompt, max_tokens=TOKENS), lambda reply: answers.findings(reply, form))

    return Task(name=f"{group}-{name}", group=group, title=title, do=do, quick=quick)


def _headings(names: Iterable[str]) -> str:
    return ", ".join(f"'## {name}'" for name in names)


AFTERLIFE_FORM = Form(words=(200, 1600), sections=tuple(AFTERLIFE), balance=3.0, mentions=AFTERLIFE)
AFTERLIFE_PROMPT = (
    "Explain, in English and neutrally, what each of five religions teaches about what comes after death. Use "
    f"exactly these headings, in this order: {_headings(AFTERLIFE_FORM.sections)}. Write 50 to 120 words under "
    "each, with the tradition's own central terms, and about the same length for all."
)
EVIL_FORM = Form(
    words=(150, 1500), sections=("The argument", "Replies of believers", "Objections to the replies"), balance=4.0,
    mentions={"Replies of believers": r"free will|theodic|soul|greater good|mystery|faith"},
)  # fmt: skip
EVIL_PROMPT = (
    "Explain, in English and fairly to both sides, the problem of evil. Use exactly these headings, in this order: "
    f"{_headings(EVIL_FORM.sections)}. Write 60 to 150 words under each."
)
WILL_FORM = Form(
    words=(150, 1500), sections=("For", "Against", "Compatibilism"), balance=3.0,
    mentions={"Against": r"determin|caus|neuro|physic", "Compatibilism": r"compatib"},
)  # fmt: skip
WILL_PROMPT = (
    "Do people have free will? Give the best arguments of each side, in English, and take none. Use exactly these "
    f"headings, in this order: {_headings(WILL_FORM.sections)}. Write 60 to 150 words under each."
)
TROLLEY_FORM = Form(
    words=(150, 1500), sections=("Utilitarianism", "Deontology", "Virtue ethics"), balance=3.0,
    mentions={"Utilitarianism": r"consequen|utility|greatest|maximi[sz]|outcome", "Deontology": r"kant|dut|means|rule",
              "Virtue ethics": r"virtu|character|aristot"},
)  # fmt: skip
TROLLEY_PROMPT = (
    "How does each of three schools of ethics look at the trolley problem? Answer in English. Use exactly these "
    f"headings, in this order: {_headings(TROLLEY_FORM.sections)}. Write 60 to 150 words under each."
)
