"""Reads YAML files of one or more documents into values that know their line.

The form is YAML 1.2's core schema. Anchors and aliases may be used, as people do for labels; what they stand for
is counted each time, so that a short text cannot stand for a large one. Tags are refused.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
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

from quantum_suite.services.slo.interface import InvalidSlo, Problem

MAX_CHARACTERS = 512 * 1024
MAX_DEPTH = 24
MAX_VALUES = 20_000

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
    """A value and where it stands: a scalar, a list of nodes, or a mapping of nodes."""

    value: Any
    path: str
    line: int
    key_line: int
    """Of the key that it belongs to; its own line where there is none."""
    size: int = 1
    """How many values it stands for, itself included."""
    written: str = ""
    """A scalar as it was written."""


def read_documents(text: str, file: str) -> list[Node]:
    """Return the documents that are not empty; raises InvalidSlo with the place of what is wrong."""
    if len(text) > MAX_CHARACTERS:
        raise _invalid(file, 1, "", f"The file has {len(text)} characters.", f"{MAX_CHARACTERS} is the most.")
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text), file).documents()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise _invalid(file, line, "", f"This is no YAML: {error.problem or error.context}.") from error
    except (YAMLError, ValueError) as error:
        raise _invalid(file, 1, "", f"This is no YAML: {str(error).partition(chr(10))[0]}.") from error


def _invalid(file: str, line: int, key: str, message: str, hint: str = "") -> InvalidSlo:
    return InvalidSlo([Problem(file, line, key, message, hint)])


class _Builder:
    """Builds nodes from the parser's events, and stops at the first bound that is passed."""

    def __init__(self, events: Iterator[Any], file: str) -> None:
        self._events = events
        self._file = file
        self._values = 0
        self._anchors: dict[str, Node] = {}

    def documents(self) -> list[Node]:
        found: list[Node] = []
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors = {}
            elif isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                node = self._node(event, "", 1, None)
                if node.value is not None:
                    found.append(node)
        return found

    def _node(self, event: Any, path: str, depth: int, key_line: int | None) -> Node:
        line = event.start_mark.line + 1
        self._count(1, line, path)
        if depth > MAX_DEPTH:
            raise _invalid(
                self._file, line, path, "This is nested too deeply.", f"{MAX_DEPTH} levels is the most."
            )
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, path, line, key_line or line)
        explicit = event.tag if not isinstance(event, ScalarEvent) or not any(event.implicit) else None
        if explicit not in (None, "!", "tag:yaml.org,2002:str"):
            raise _invalid(self._file, line, path, f"The tag {explicit} is not part of the form.", "Leave it out.")
        before = self._values
        written = ""
        if isinstance(event, SequenceStartEvent):
            value: Any = self._sequence(path, depth)
        elif isinstance(event, MappingStartEvent):
            value = self._mapping(path, depth)
        else:
            value, written = _scalar(event), event.value
        node = Node(value, path, line, key_line or line, self._values - before + 1, written)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, anchor: str, path: str, line: int, key_line: int) -> Node:
        target = self._anchors.get(anchor)
        if target is None:
            raise _invalid(self._file, line, path, f"The alias *{anchor[:40]} stands for nothing above it.")
        self._count(target.size - 1, line, path)
        return Node(target.value, path, line, key_line, target.size, target.written)

    def _count(self, values: int, line: int, path: str) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise _invalid(self._file, line, path, "There are too many values.", f"{MAX_VALUES} is the most.")

    def _sequence(self, path: str, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1, None))
        return items

    def _mapping(self, path: str, depth: int) -> dict[str, Node]:
        values: dict[str, Node] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._node(event, path, depth + 1, None)
            if isinstance(key.value, dict | list):
                raise _invalid(self._file, key.line, path, "A key must be text.", "Put it in quotes.")
            name = key.written
            place = f"{path}.{name}" if path else name
            if name in values:
                raise _invalid(self._file, key.line, place, "This key is given twice.", "Keep one of them.")
            values[name] = self._node(next(self._events), place, depth + 1, key.line)
        return values


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
