"""Reads YAML into values that know their place.

The form is YAML 1.2's core schema without anchors, aliases and tags: nothing in a text can make it mean more than
it shows. Text, depth and number of values are bounded while it is read, not after.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from quantum_suite.services.workflows.composite.problems import InvalidDefinition, Problem
from quantum_suite.services.workflows.interface import Json

MAX_CHARACTERS = 64 * 1024
MAX_DEPTH = 24
MAX_VALUES = 5000

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place. `value` is a scalar, a list of nodes, or a mapping of nodes."""

    value: Any
    path: str
    line: int
    column: int
    keys: dict[str, "Node"] = field(default_factory=dict)
    """Of a mapping: its keys, with their places."""

    def plain(self) -> Json:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return a problem at this place."""
        return Problem(self.path, self.line, self.column, message, hint)


def read_document(text: str) -> Node:
    """Read one document; raises InvalidDefinition with the place of what is wrong with it."""
    if len(text) > MAX_CHARACTERS:
        raise _invalid("", 1, 1, f"The text has {len(text)} characters.", f"{MAX_CHARACTERS} is the most.")
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text)).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise _invalid("", line, column, f"This is no YAML: {error.problem or error.context}.") from error
    except (YAMLError, ValueError) as error:
        raise _invalid("", 1, 1, f"This is no YAML: {str(error).partition(chr(10))[0]}.") from error


def _invalid(path: str, line: int, column: int, message: str, hint: str = "") -> InvalidDefinition:
    return InvalidDefinition([Problem(path, line, column, message, hint)])


class _Builder:
    """Builds nodes from the parser's events, and stops at the first bound that is passed."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._values = 0

    def document(self) -> Node:
        node: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent) and node is not None:
                raise _invalid("", *_place(event), "A second document begins here.", "Give one alone.")
            if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                node = self._node(event, "", 1)
        if node is None:
            raise _invalid("", 1, 1, "The text is empty.", "Begin with: name, inputs, steps.")
        return node

    def _node(self, event: Any, path: str, depth: int) -> Node:
        line, column = _place(event)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _invalid(path, line, column, "There are too many values.", f"{MAX_VALUES} is the most.")
        if depth > MAX_DEPTH:
            raise _invalid(path, line, column, "This is nested too deeply.", f"{MAX_DEPTH} levels is the most.")
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise _invalid(
                path, line, column, "Anchors and aliases are not part of the form.", "Repeat the value."
            )
        explicit = event.tag if not isinstance(event, ScalarEvent) or not any(event.implicit) else None
        if explicit not in (None, "!", "tag:yaml.org,2002:str"):
            raise _invalid(path, line, column, f"The tag {explicit} is not part of the form.", "Leave it out.")
        if isinstance(event, SequenceStartEvent):
            return Node(self._sequence(path, depth), path, line, column)
        if isinstance(event, MappingStartEvent):
            values, keys = self._mapping(path, depth)
            return Node(values, path, line, column, keys)
        return Node(_scalar(event), path, line, column)

    def _sequence(self, path: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1))
        return items

    def _mapping(self, path: str, depth: int) -> tuple[dict[str, Node], dict[str, Node]]:
        values: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._node(event, path, depth + 1)
            if not isinstance(key.value, str):
                raise _invalid(path, key.line, key.column, "A key must be text.", "Put it in quotes.")
            place = f"{path}.{key.value}" if path else key.value
            if key.value in values:
                raise _invalid(place, key.line, key.column, "This key is given twice.", "Keep one of them.")
            keys[key.value] = Node(key.value, place, key.line, key.column)
            values[key.value] = self._node(next(self._events), place, depth + 1)
        return values, keys


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar(event: ScalarEvent) -> str | int | float | bool | None:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
