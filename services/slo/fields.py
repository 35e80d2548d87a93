"""Takes values out of a mapping of a file, and gathers what is wrong with them: all of it, not the first alone."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.promql import parse_query
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.interface import InvalidSlo, Problem
from quantum_suite.services.yaml_nodes import Node

WINDOW = re.compile(r"\{\{ *\.window *\}\}")
_ANY_TEMPLATE = re.compile(r"\{\{(?P<inside>[^}]*)\}?\}?")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_PROBLEMS = 20
_MOST_NAME = 200
_MOST_TEXT = 4096

Choice = TypeVar("Choice", bound=str)


def put_window(query: str, window: str) -> str:
    """Return a query with `{{.window}}` replaced."""
    return WINDOW.sub(lambda _: window, query)


class Problems:
    """What is wrong with one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, node: Node, message: str, hint: str = "", key: str | None = None) -> None:
        """Note a problem at a value."""
        place = node.path if key is None else (f"{node.path}.{key}" if node.path else key)
        self.found.append(Problem(self.file, node.line, place, message, hint))

    def raise_any(self) -> None:
        """Raise InvalidSlo where something was noted."""
        if self.found:
            # What several objectives share is read for each.
            raise InvalidSlo(list(dict.fromkeys(self.found))[:MOST_PROBLEMS])


class Fields:
    """One mapping. What is missing or wrong becomes a problem, and a value that lets reading go on."""

    def __init__(self, node: Node, problems: Problems, known: Sequence[str]) -> None:
        self.node = node
        self.problems = problems
        self.values: Mapping[str, Node] = {}
        if not isinstance(node.value, dict):
            problems.add(node, f"This is {_kind(node)}.", f"Give a mapping with {_listed(known)}.")
            return
        self.values = node.value
        for key, value in self.values.items():
            if key not in known:
                shown = value if value.key_line == value.line else Node(None, value.path, value.key_line, 0)
                problems.add(shown, f"The key '{key[:60]}' is not known here.", f"Known are {_listed(known)}.")

    def get(self, key: str) -> Node | None:
        """Return a value that is not null."""
        value = self.values.get(key)
        return None if value is None or value.value is None else value

    def require(self, key: str, hint: str) -> Node | None:
        """Return a value; notes a problem when it is missing."""
        value = self.get(key)
        if value is None and (self.values or isinstance(self.node.value, dict)):
            self.problems.add(self.node, "This is missing.", hint, key=key)
        return value

    def text(self, key: str, hint: str | None = None) -> str:
        """Return text; with a hint it must be there."""
        value = self.require(key, hint) if hint is not None else self.get(key)
        if value is None:
            return ""
        if isinstance(value.value, dict | list | bool):
            self.problems.add(value, f"This is {_kind(value)}.", "Give text.")
            return ""
        if len(value.written) > _MOST_TEXT * 4:
            self.problems.add(
                value, f"The text has {len(value.written)} characters.", f"{_MOST_TEXT * 4} is the most."
            )
            return ""
        return value.written

    def name(self, key: str, hint: str) -> str:
        """Return a name that may stand in rules; it must be there."""
        value = self.text(key, hint)
        if value and (not _NAME.fullmatch(value) or len(value) > _MOST_NAME):
            self.problems.add(
                self.values[key],
                f"'{value[:60]}' is no name.",
                "Use letters, digits, '.', '_' and '-', with a letter or digit first and last.",
            )
            return ""
        return value

    def number(self, key: str) -> float | None:
        """Return a number; a problem where it is none."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value.value, bool) or not isinstance(value.value, int | float):
            self.problems.add(value, f"This is {_kind(value)}.", "Give a number without quotes.")
            return None
        return float(value.value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value.value, bool):
            self.problems.add(value, f"This is {_kind(value)}.", "Give true or false.")
            return default
        return value.value

    def choice(self, key: str, allowed: Sequence[Choice], default: Choice | None = None) -> Choice | None:
        """Return one of some words; without a default it must be there."""
        value = self.get(key) if default is not None else self.require(key, f"Give one of {_listed(allowed)}.")
        if value is None:
            return default
        for word in allowed:
            if value.value == word:
                return word
        self.problems.add(value, f"'{value.written[:60]}' is not known here.", f"Give one of {_listed(allowed)}.")
        return default

    def items(self, key: str) -> list[Node]:
        """Return a list; empty where there is none."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value.value, list):
            self.problems.add(value, f"This is {_kind(value)}.", "Give a list.")
            return []
        return value.value

    def labels(self, key: str, kind: Literal["label", "annotation", "metadata"] = "label") -> dict[str, str]:
        """Return a mapping of text to text, as Prometheus takes labels."""
        value = self.get(key)
        if value is None:
            return {}
        if not isinstance(value.value, dict):
            self.problems.add(value, f"This is {_kind(value)}.", "Give a mapping of names to text.")
            return {}
        found: dict[str, str] = {}
        for name, node in value.value.items():
            if kind != "metadata" and (not _LABEL.fullmatch(name) or name.startswith("__")):
                self.problems.add(node, f"'{name[:60]}' is no name of a {kind}.", "Use letters, digits and '_'.")
            elif kind == "metadata" and isinstance(node.value, list):
                found[name] = ",".join(item.written for item in node.value)
            elif isinstance(node.value, dict | list):
                self.problems.add(node, f"This is {_kind(node)}.", "Give text.")
            elif len(node.written) > _MOST_TEXT:
                self.problems.add(
                    node, f"The text has {len(node.written)} characters.", f"{_MOST_TEXT} is the most."
                )
            else:
                found[name] = node.written
        return found

    def query(self, key: str, *, window: bool = True) -> str:
        """Return PromQL, checked; it must be there. With `window` it has to hold `{{.window}}`."""
        text = self.text(key, "Give PromQL, e.g. sum(rate(http_requests_total[{{.window}}])).")
        return check_query_text(text, self.values[key], self.problems, window=window) if text else ""


def check_query_text(text: str, node: Node, problems: Problems, *, window: bool) -> str:
    """Return PromQL that parses once a window is put in, empty where it does not (which is noted)."""
    for match in _ANY_TEMPLATE.finditer(text):
        if not WINDOW.fullmatch(match[0]):
            problems.add(
                node, f"'{match[0][:40]}' cannot be replaced.", "{{.window}} is what can stand in a query."
            )
            return ""
    if window and not WINDOW.search(text):
        problems.add(node, "The query has no window.", "Write {{.window}} where its range stands: [{{.window}}].")
        return ""
    try:
        parse_query(put_window(text, prometheus_duration(300)))
    except CallerError as error:
        problems.add(node, f"This is no PromQL: {error.message}", error.hint or "")
        return ""
    return text


def _kind(node: Node) -> str:
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "empty"
    return "a number" if isinstance(value, int | float) else "text"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
