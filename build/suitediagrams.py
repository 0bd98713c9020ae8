"""The suite's diagrams: drawn in characters, and in Mermaid's language. Each is read, not only seen to be there."""

from __future__ import annotations

from collections.abc import Callable

from build import answers, drawings, mermaid
from build.drawings import Style
from build.interview import Interview, Outcome, Task, judged
from build.mermaidflow import Flowchart
from build.mermaidsequence import Sequence
from build.mermaidtext import MermaidError
from build.replies import Reply

TOKENS = 6144  # that an answer may have, thinking included


def tasks() -> tuple[Task, ...]:
    return (
        Task(name="diagram-ascii", group="diagram", title="ASCII diagram: closed boxes, connected", do=ascii_diagram),
        Task(name="diagram-unicode", group="diagram", title="Unicode diagram: box drawing", do=unicode_diagram),
        Task(name="diagram-flowchart", group="diagram", title="Mermaid flowchart, parsed", do=flowchart),
        Task(name="diagram-sequence", group="diagram", title="Mermaid sequence diagram, parsed", do=sequence),
    )


def ascii_diagram(talk: Interview) -> Outcome:
    labels = ("Client", "Server", "Database")
    prompt = (
        "Draw a diagram in plain ASCII, at most 100 columns wide: three boxes labelled Client, Server and "
        "Database, each a closed rectangle of the characters + - | with the label inside, and arrows (such as "
        "--->) from Client to Server and from Server to Database. Use no Unicode. Answer with one fenced code "
        "block and nothing else."
    )
    return _drawn(talk, prompt, labels, drawings.ASCII)


def unicode_diagram(talk: Interview) -> Outcome:
    labels = ("Balancer", "Worker 1", "Worker 2", "Worker 3")
    prompt = (
        "Draw a diagram with Unicode box-drawing characters (┌ ─ ┐ │ └ ┘ ┬ ┼ and arrows like ▼), at most 100 "
        "columns wide: a box labelled Balancer above three boxes labelled Worker 1, Worker 2 and Worker 3, side by "
        "side. Each box is a closed rectangle with its label inside, and lines with arrows lead from Balancer to "
        "each worker. Keep the columns exact. Answer with one fenced code block and nothing else."
    )
    return _drawn(talk, prompt, labels, drawings.UNICODE)


def _drawn(talk: Interview, prompt: str, labels: tuple[str, ...], style: Style) -> Outcome:
    def wrong(reply: Reply) -> tuple[str, ...]:
        empty = answers.emptiness(reply)
        return (empty,) if empty is not None else drawings.findings(reply.text, labels, style)

    return judged(talk.ask(prompt, max_tokens=TOKENS), wrong)


def flowchart(talk: Interview) -> Outcome:
    prompt = (
        "Write a Mermaid flowchart (flowchart TD) of starting a model server: Start; Load the model; a decision "
        "'Enough memory?' with two labelled branches, yes and no; yes leads to Serve, no leads to Stop with an "
        "error. Answer with one fenced mermaid block and nothing else."
    )

    def wrong(drawn: Flowchart | Sequence) -> list[str]:
        if not isinstance(drawn, Flowchart):
            return ["it is no flowchart"]
        found = [] if len(drawn.nodes) >= 5 else [f"{len(drawn.nodes)} nodes, where five were asked for"]
        branches: dict[str, set[str]] = {}
        for edge in drawn.edges:
            branches.setdefault(edge.source, set()).add(edge.label.casefold())
        if not any({"yes", "no"} <= labels for labels in branches.values()):
            found.append("no node has two branches labelled yes and no")
        lonely = set(drawn.nodes) - {name for edge in drawn.edges for name in (edge.source, edge.target)}
        return found + [f"the node {name} is not connected" for name in sorted(lonely)]

    return _mermaid(talk, prompt, wrong)


def sequence(talk: Interview) -> Outcome:
    prompt = (
        "Write a Mermaid sequence diagram (sequenceDiagram) of a login: the participants User, Server and "
        "Database; the User sends name and password to the Server; the Server asks the Database; an alt block with "
        "two cases: the password fits, or it does not; in both the Server replies to the User with a dotted arrow. "
        "Answer with one fenced mermaid block and nothing else."
    )

    def wrong(drawn: Flowchart | Sequence) -> list[str]:
        if isinstance(drawn, Flowchart):
            return ["it is no sequence diagram"]
        shown = " ".join([*drawn.participants, *drawn.participants.values()]).casefold()
        found = [f"no participant {name}" for name in ("User", "Server", "Database") if name.casefold() not in shown]
        found += [] if len(drawn.messages) >= 4 else [f"{len(drawn.messages)} messages, where four were asked for"]
        found += [] if "alt" in drawn.blocks else ["no alt block"]
        return found + ([] if any("--" in one.arrow for one in drawn.messages) else ["no dotted arrow"])

    return _mermaid(talk, prompt, wrong)


def _mermaid(talk: Interview, prompt: str, wrong: Callable[[Flowchart | Sequence], list[str]]) -> Outcome:
    def findings(reply: Reply) -> tuple[str, ...]:
        if (empty := answers.emptiness(reply)) is not None:
            return (empty,)
        found = [content for language, content in drawings.blocks(reply.text) if language in ("mermaid", "")]
        if not found:
            return ("there is no fenced mermaid block in it",)
        try:
            return tuple(wrong(mermaid.parse(found[0])))
        except MermaidError as error:
            return (f"it is not Mermaid: {error}",)

    return judged(talk.ask(prompt, max_tokens=TOKENS), findings)
