"""The expressions of GitHub's workflows, as far as ours have them: what stands in ``${{ }}``, and conditions.

Source of the words: docs.github.com, "Evaluate expressions in workflows and actions".
"""

import json
import re
from collections.abc import Mapping

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<mark>==|!=|&&|\|\||[!().,]))"
)
WORDS = {"true": True, "false": False, "null": None}
INSIDE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


def evaluate(text, contexts, functions):
    """The value of an expression, without its braces."""
    return _Parser(text, contexts, functions).whole()


def fill(value, contexts, functions):
    """A value of a workflow, with what stands in braces evaluated: alone as itself, else as text."""
    if isinstance(value, Mapping):
        return {key: fill(item, contexts, functions) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, contexts, functions) for item in value]
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\s*\$\{\{((?:(?!\}\}).)*)\}\}\s*", value, re.DOTALL):
        return evaluate(whole[1], contexts, functions)
    return INSIDE.sub(lambda found: as_text(evaluate(found[1], contexts, functions)), value)


def as_text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def is_true(value):
    return value not in (None, "", False, 0)


def holds(condition, contexts, functions, *, failed):
    """Whether a condition lets a step or job run: one that does not speak of the state so far, only after successes."""
    text = "success()" if condition is None else str(condition).strip()
    text = text[3:-2] if text.startswith("${{") and text.endswith("}}") else text
    spoken = re.search(r"\b(success|failure|always|cancelled)\s*\(", text)
    return is_true(evaluate(text, contexts, functions)) and bool(spoken or not failed)


class _Parser:
    """Recursive descent over one expression."""

    def __init__(self, text, contexts, functions):
        self.contexts, self.functions, self.tokens = contexts, functions, []
        at = 0
        while text[at:].strip():
            found = TOKEN.match(text, at)
            if not found:
                raise ValueError(f"not understood: {text[at:]!r} of {text!r}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()

    def whole(self):
        value = self.either()
        if self.tokens:
            raise ValueError(f"not understood: {self.tokens}")
        return value

    def next(self, *marks):
        if self.tokens and self.tokens[0][0] == "mark" and self.tokens[0][1] in marks:
            return self.tokens.pop(0)[1]
        return ""

    def either(self):
        value = self.both()
        while self.next("||"):
            other = self.both()
            value = value if is_true(value) else other
        return value

    def both(self):
        value = self.compared()
        while self.next("&&"):
            other = self.compared()
            value = other if is_true(value) else value
        return value

    def compared(self):
        value = self.unary()
        while mark := self.next("==", "!="):
            value = _equal(value, self.unary()) == (mark == "==")
        return value

    def unary(self):
        return not is_true(self.unary()) if self.next("!") else self.primary()

    def primary(self):
        if self.next("("):
            value = self.either()
            assert self.next(")")
            return value
        kind, text = self.tokens.pop(0)
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind != "name":
            raise ValueError(f"not understood: {text}")
        if self.next("("):
            return self.call(text)
        return WORDS[text] if text in WORDS else self.named(text)

    def call(self, name):
        arguments = []
        while not self.next(")"):
            arguments.append(self.either())
            self.next(",")
        return self.functions[name](*arguments)

    def named(self, name):
        value = self.contexts[name]
        while self.next("."):
            key = self.tokens.pop(0)[1]
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


def _equal(one, other):
    """GitHub's comparison: text without case, else as numbers."""
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    return _number(one) == _number(other)


def _number(value):
    if isinstance(value, str):
        try:
            return float(value or 0)
        except ValueError:
            return float("nan")
    return float(value or 0)
