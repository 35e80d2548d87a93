"""Reads YAML into values that know their place, within bounds that hold while it is read, not after.

The form is YAML 1.2's core schema without tags: nothing in a text can make it mean more than it shows. Anchors and
aliases are refused unless a form takes them; what an alias stands for then counts each time.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

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
class Problem:
    """One thing that is wrong, or (a warning) that may be meant otherwise."""

    path: str
    """Where, as one writes it: `steps[2].with.path`."""
    line: int
    """Counts from 1, as `column` does."""
    column: int
    message: str
    """What is wrong, as a sentence."""
    hint: str = ""
    """What would be right, as a sentence."""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}"
        where = f"{self.path} ({place})" if self.path else place
        prefix = "warning: " if self.severity == "warning" else ""
        return f"{prefix}{where}: {self.message} {self.hint}".rstrip()


class UnreadableYaml(Exception):
    """A text that is not of its form; `problem` says what is wrong and where."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(frozen=True, slots=True)
class YamlForm:
    """What a text may hold."""

    characters: int
    values: int
    depth: int = 24
    documents: int = 1
    aliases: bool = False
    text_keys: bool = True
    """Whether keys that read as numbers or truth values are refused; else they are taken as written."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place. `value` is a scalar, a list of nodes, or a mapping of nodes."""

    value: Any
    path: str
    line: int
    column: int
    keys: dict[str, "Node"] = field(default_factory=dict)
    """Of a mapping: its keys, with their places."""
    size: int = 1
    """How many values it stands for, itself included."""
    written: str = ""
    """A scalar as it was written."""
    key_line: int = 0
    """The line of the key it belongs to; 0 where there is none."""

    def plain(self) -> Any:
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return a problem at this place."""
        return Problem(self.path, self.line, self.column, message, hint)


def read_nodes(text: str, form: YamlForm) -> list[Node]:
    """Return the documents of a text, empty ones among them; raises UnreadableYaml."""
    if len(text) > form.characters:
        raise _wrong("", 1, 1, f"The text has {len(text)} characters.", f"{form.characters} is the most.")
    try:
        return _Builder(YAML(typ="safe", pure=True).parse(text), form).documents()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise _wrong("", line, column, f"This is no YAML: {error.problem or error.context}.") from error
    except (YAMLError, ValueError) as error:
        raise _wrong("", 1, 1, f"This is no YAML: {str(error).partition(chr(10))[0]}.") from error


def _wrong(path: str, line: int, column: int, message: str, hint: str = "") -> UnreadableYaml:
    return UnreadableYaml(Problem(path, line, column, message, hint))


class _Builder:
    """Builds nodes from the parser's events, and stops at the first bound that is passed."""

    def __init__(self, events: Iterator[Any], form: YamlForm) -> None:
        self._events = events
        self._form = form
        self._values = 0
        self._anchors: dict[str, Node] = {}

    def documents(self) -> list[Node]:
        found: list[Node] = []
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors = {}
                if len(found) == self._form.documents:
                    raise _wrong("", *_place(event), *self._too_many_documents())
            elif isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                found.append(self._node(event, "", 1))
        return found

    def _too_many_documents(self) -> tuple[str, str]:
        if self._form.documents == 1:
            return "A second document begins here.", "Give one alone."
        return "There are too many documents.", f"{self._form.documents} is the most."

    def _node(self, event: Any, path: str, depth: int, key_line: int = 0) -> Node:
        line, column = _place(event)
        self._count(1, path, line, column)
        if depth > self._form.depth:
            raise _wrong(
                path, line, column, "This is nested too deeply.", f"{self._form.depth} levels is the most."
            )
        if not self._form.aliases and (isinstance(event, AliasEvent) or event.anchor is not None):
            raise _wrong(path, line, column, "Anchors and aliases are not part of the form.", "Repeat the value.")
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, path, line, column, key_line)
        explicit = event.tag if not isinstance(event, ScalarEvent) or not any(event.implicit) else None
        if explicit not in (None, "!", "tag:yaml.org,2002:str"):
            raise _wrong(path, line, column, f"The tag {explicit} is not part of the form.", "Leave it out.")
        before = self._values
        value, keys, written = self._content(event, path, depth)
        node = Node(value, path, line, column, keys, self._values - before + 1, written, key_line)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _content(self, event: Any, path: str, depth: int) -> tuple[Any, dict[str, Node], str]:
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path, depth), {}, ""
        if isinstance(event, MappingStartEvent):
            return *self._mapping(path, depth), ""
        return _scalar(event), {}, event.value

    def _alias(self, anchor: str, path: str, line: int, column: int, key_line: int) -> Node:
        target = self._anchors.get(anchor)
        if target is None:
            raise _wrong(path, line, column, f"The alias *{anchor[:40]} stands for nothing above it.")
        self._count(target.size - 1, path, line, column)
        return Node(target.value, path, line, column, target.keys, target.size, target.written, key_line)

    def _count(self, values: int, path: str, line: int, column: int) -> None:
        self._values += values
        if self._values > self._form.values:
            raise _wrong(path, line, column, "There are too many values.", f"{self._form.values} is the most.")

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
            if isinstance(key.value, dict | list) or (self._form.text_keys and not isinstance(key.value, str)):
                raise _wrong(path, key.line, key.column, "A key must be text.", "Put it in quotes.")
            name = key.written
            place = f"{path}.{name}" if path else name
            if name in values:
                raise _wrong(place, key.line, key.column, "This key is given twice.", "Keep one of them.")
            keys[name] = Node(name, place, key.line, key.column)
            values[name] = self._node(next(self._events), place, depth + 1, key.line)
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
