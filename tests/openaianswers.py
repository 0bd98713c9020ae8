"""What a good model says to the prompts of the validation suite: the default of tests/openaikit.py."""

import json
import re
from dataclasses import dataclass


@dataclass
class Said:
    """What the model says. ``calls``: (name, arguments) of tool calls; ``finish``: None for the right reason."""

    text: str = ""
    thinking: str = ""
    calls: tuple = ()
    finish: str | None = None


ASCII = """\
```text
+--------+      +--------+      +----------+
| Client | ---> | Server | ---> | Database |
+--------+      +--------+      +----------+
```"""
UNICODE = """\
```
               ┌──────────┐
               │ Balancer │
               └────┬─────┘
      ┌─────────────┼─────────────┐
      ▼             ▼             ▼
┌──────────┐  ┌──────────┐  ┌──────────┐
│ Worker 1 │  │ Worker 2 │  │ Worker 3 │
└──────────┘  └──────────┘  └──────────┘
```"""
FLOWCHART = """\
```mermaid
flowchart TD
    A([Start]) --> B[Load the model]
    B --> C{"Enough memory?"}
    C -->|yes| D[Serve]
    C -->|no| E[Stop with an error]
```"""
SEQUENCE = """\
```mermaid
sequenceDiagram
    participant U as User
    participant S as Server
    participant D as Database
    U->>S: name and password
    S->>D: look up the name
    D-->>S: hash
    alt the password fits
        S-->>U: welcome
    else it does not
        S-->>U: denied
    end
```"""
CODE = """\
## Purpose
The function finds, by binary search, the leftmost place in a sorted list at which the wanted value could stand, so that
all values before it are smaller. It does not tell whether the value is there at all, which its caller has to look up.
## Step by step
Two borders close in on the place. In each round the value in the middle is compared with the wanted one. If it is
smaller, the place must be to the right of the middle, and the lower border moves there. If it is not, the place is the
middle or to the left of it, and the upper border moves there. When both meet, the place is found and is returned.
## Complexity
Each round halves what is left, so it takes O(log n) comparisons and no more memory than its three numbers.

RESULT: 1"""
PROSE = {
    "Judaism": "Many teachers speak of the world to come and of a resurrection of the dead at the end of days, while the "
    "Hebrew Bible itself says little and names Sheol as the place of the dead. What is done in this life matters more "
    "than what is known about the next one, and views have always been many.",
    "Christianity": "The dead are raised as Christ was raised, and there will be a judgment. Those who are saved have "
    "eternal life with God in heaven, and others are lost, which has been understood in quite different ways by the "
    "churches, from a place of fire to a state of being apart from God.",
    "Islam": "After death the soul waits in the barzakh until the last day, when all are raised and judged by what they "
    "did and believed. Paradise, which is called jannah, is for those who were faithful, and the fire is for others, "
    "though the mercy of God is greater than both of them.",
    "Hinduism": "The self, called atman, is born again and again in the round of samsara, in a form that follows from "
    "its karma. The end that is hoped for is moksha, which is freedom from this round, and there are several paths to it, "
    "such as those of knowledge, of devotion and of action.",
    "Buddhism": "There is rebirth without a lasting self: what goes on is a stream of causes that is shaped by karma. "
    "Craving keeps it going, and the path that was taught by the Buddha leads out of it, to nirvana, which is said to be "
    "the end of craving and of suffering.",
}
LONG = (
    (
        "{} There is more than one way to put this, and careful people have held to it for a long time. What speaks for it is "
        "that it makes sense of how we judge in daily life, and that it can be taught to anyone. Those who are not convinced "
        "point to hard cases, which have to be explained away or accepted at a price."
    ),
    (
        "{} Not everyone who says so means the same by it, which is where many of the quarrels come from. It has the merit of "
        "being clear about what would count against it. Its weakness is that it asks more of us than most could give, and "
        "that it is silent on what to do when two of its demands cannot both be met."
    ),
    (
        "{} This was said by the ancients and has been said again in our own time, with better examples. Its friends like "
        "how little it has to assume, while its critics answer that it only moves the question to another place. Between "
        "them stands the view that some parts of it can be kept without the others."
    ),
)
SECTIONS = {
    "problem of evil": {
        "The argument": "If God is good and almighty, why is there suffering?",
        "Replies of believers": "Free will and the growth of the soul are named most often.",
        "Objections to the replies": "Much suffering serves no end that anyone can see.",
    },
    "free will": {
        "For": "We know ourselves as choosing.",
        "Against": "Every event has a cause, as physics and neuroscience show.",
        "Compatibilism": "Compatibilists hold that both can be true.",
    },
    "trolley": {
        "Utilitarianism": "The consequences count: five are more than one.",
        "Deontology": "Kant would not have anyone used as a means.",
        "Virtue ethics": "What would a person of good character do?",
    },
}


def respond(body, prompt):
    """What a good model says to the suite's prompts; anything else gets a sentence."""
    names = [tool["function"]["name"] for tool in body.get("tools", ())]
    if body["messages"][-1]["role"] == "tool":
        return Said(f"It is {json.loads(body['messages'][-1]['content'])['temperature']} °C in Lima, with a clear sky.")
    if "get_weather" in names and "capital of France" not in prompt:
        return Said(calls=tool_calls(prompt))
    for word, text in (("PONG", "PONG"), ("17 times 23", "That is\n391"), ("plain ASCII", ASCII), ("box-drawing", UNICODE),
                       ("Mermaid flowchart", FLOWCHART), ("Mermaid sequence", SEQUENCE), ("capital of France", "Paris."),
                       ("def place", CODE)):  # fmt: skip
        if word in prompt:
            return Said(text)
    if "five religions" in prompt:
        return Said("\n\n".join(f"## {name}\n{text}" for name, text in PROSE.items()))
    for word, parts in SECTIONS.items():
        if word in prompt:
            return Said(
                "\n\n".join(f"## {n}\n{long.format(text)}" for long, (n, text) in zip(LONG, parts.items(), strict=True))
            )
    if found := re.search(r"chose for the archive is ([A-Z]+-\d+)\.", prompt):
        return Said(f"{found[1]}\n\n{LONG[0].format('The notices are about goods and places.')}")
    return Said("I have nothing to add to this.")


def tool_calls(prompt):
    if "ticket" in prompt:
        ticket = {"title": "Disk full on node 7", "priority": "high", "labels": ["storage", "urgent"], "estimate_hours": 3,
                  "assignee": {"name": "Mira Olsen", "email": "mira.olsen@example.org"}}  # fmt: skip
        return (("create_ticket", json.dumps(ticket)),)
    cities = [city for city in ("Oslo", "Lima", "Tokyo") if city in prompt]
    return tuple(("get_weather", json.dumps({"city": city, "unit": "celsius"})) for city in cities)
