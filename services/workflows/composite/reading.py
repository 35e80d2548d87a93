"""Reads a definition: which keys there are, of which types. All that is wrong is told, each at its place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from quantum_suite.services.workflows.composite.documents import read_document
from quantum_suite.services.workflows.composite.model import Child, Definition, Input, Step, Trigger, walk
from quantum_suite.services.workflows.composite.problems import InvalidDefinition, near
from quantum_suite.services.workflows.composite.schemas import check_schema, check_value
from quantum_suite.services.workflows.composite.templates import Template, read_template
from quantum_suite.services.workflows.interface import Json
from quantum_suite.services.yaml_nodes import Node, Problem

T = TypeVar("T")

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KEYS = ("name", "version", "description", "on", "inputs", "steps", "output")
_TRIGGER_KEYS = ("event", "where", "key", "inputs")
MOST_TRIGGERS = 20


@dataclass
class Reader:
    """Takes mappings apart, and collects what is wrong."""

    problems: list[Problem]

    def mapping(self, node: Node, known: tuple[str, ...], what: str) -> Mapping[str, Node]:
        """Return the entries of a mapping; unknown keys are told, with the key that was probably meant."""
        if not isinstance(node.value, dict):
            self.problems.append(node.problem(f"{what} must be a mapping.", f"Its keys are {', '.join(known)}."))
            return {}
        for key, place in node.keys.items():
            if key not in known:
                self.problems.append(place.problem(f"{what} has no key '{key}'.", near(key, known)))
        return {key: value for key, value in node.value.items() if key in known}

    def text(self, node: Node | None, default: str, *, of: re.Pattern[str] | None = None, like: str = "") -> str:
        """Return a text, perhaps of a pattern."""
        if node is None:
            return default
        if not isinstance(node.value, str) or (of is not None and not of.fullmatch(node.value)):
            self.problems.append(node.problem("This must be text.", like or "Put it in quotes."))
            return default
        return node.value

    def number(
        self, node: Node | None, default: T, low: float, high: float, *, whole: bool = False
    ) -> float | int | T:
        """Return a number within bounds."""
        if node is None:
            return default
        value = node.value
        kinds = int if whole else int | float
        if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            self.problems.append(node.problem(f"This must be {kind}.", f"Give one from {low:g} to {high:g}."))
            return default
        return value

    def choice(self, node: Node | None, default: str, choices: tuple[str, ...]) -> Any:
        """Return one of a few words."""
        if node is None:
            return default
        if node.value not in choices:
            self.problems.append(
                node.problem(f"'{node.value}' is not known here.", f"Give {' or '.join(choices)}.")
            )
            return default
        return node.value

    def template(self, node: Node | None, *, bare: bool = False) -> Template | None:
        """Return a value with its expressions."""
        return None if node is None else read_template(node, self.problems, bare=bare)

    def required(self, entries: Mapping[str, Node], key: str, owner: Node, hint: str) -> Node | None:
        """Return an entry that must be there."""
        if key not in entries:
            self.problems.append(owner.problem(f"'{key}' is missing.", hint))
        return entries.get(key)

    def items(self, node: Node | None, read: Callable[[Node], T | None], what: str) -> tuple[T, ...]:
        """Return the entries of a list that is not empty."""
        if node is None:
            return ()
        if not isinstance(node.value, list) or not node.value:
            self.problems.append(
                node.problem(f"{what} must be a list that is not empty.", "Begin each with '- '.")
            )
            return ()
        return tuple(item for item in map(read, node.value) if item is not None)


def read_definition(text: str, read_steps: "ReadSteps") -> tuple[Definition, list[Problem]]:
    """Read a definition; returns it with what is wrong so far. Raises InvalidDefinition for what is no mapping."""
    node = read_document(text)
    if not isinstance(node.value, dict):
        raise InvalidDefinition(
            [node.problem("A definition must be a mapping.", f"Its keys are {', '.join(_KEYS)}.")]
        )
    reader = Reader([])
    entries = reader.mapping(node, _KEYS, "A definition")
    like = "Use small letters, digits and _, beginning with a letter."
    name = reader.text(
        reader.required(entries, "name", node, "Give it one, like secure_change."), "", of=NAME, like=like
    )
    steps = read_steps(reader, reader.required(entries, "steps", node, "List at least one step."))
    version = reader.number(entries.get("version"), None, 1, 1_000_000, whole=True)
    children = frozenset(step.work.workflow for step in walk(steps) if isinstance(step.work, Child))
    definition = Definition(
        name=name,
        source=text,
        description=reader.text(entries.get("description"), ""),
        version=None if version is None else int(version),
        inputs=_inputs(reader, entries.get("inputs")),
        steps=steps,
        node=node,
        output=reader.template(entries.get("output")),
        children=children,
        triggers=_triggers(reader, entries.get("on")),
    )
    return definition, reader.problems


ReadSteps = Callable[[Reader, Node | None], tuple[Step, ...]]


def _triggers(reader: Reader, node: Node | None) -> tuple[Trigger, ...]:
    if node is not None and isinstance(node.value, list) and len(node.value) > MOST_TRIGGERS:
        reader.problems.append(
            node.problem(f"There are {len(node.value)} triggers.", f"{MOST_TRIGGERS} is the most.")
        )
        return ()
    return reader.items(node, lambda item: _trigger(reader, item), "'on'")


def _trigger(reader: Reader, node: Node) -> Trigger | None:
    entries = reader.mapping(node, _TRIGGER_KEYS, "A trigger")
    if not entries:
        return None
    hint = "Name one, like qsecure.scan.completed."
    event = reader.text(reader.required(entries, "event", node, hint), "", like=hint)
    inputs = entries.get("inputs")
    if inputs is not None and not isinstance(inputs.value, dict):
        reader.problems.append(
            inputs.problem("'inputs' must be a mapping.", "Write path: ${{ event.data.root }}.")
        )
        inputs = None
    return Trigger(
        event=event,
        where=reader.template(entries.get("where"), bare=True),
        key=reader.template(entries.get("key")),
        inputs=reader.template(inputs),
        node=node,
    )


def _inputs(reader: Reader, node: Node | None) -> dict[str, Input]:
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        reader.problems.append(node.problem("'inputs' must be a mapping of names.", "Write path: {type: string}."))
        return {}
    inputs: dict[str, Input] = {}
    for name, entry in node.value.items():
        if not NAME.fullmatch(name):
            hint = "Use small letters, digits and _, beginning with a letter."
            reader.problems.append(node.keys[name].problem(f"'{name}' is no name.", hint))
        elif (read := _input(reader, name, entry)) is not None:
            inputs[name] = read
    return inputs


def _input(reader: Reader, name: str, node: Node) -> Input | None:
    if not isinstance(node.value, dict):
        reader.problems.append(
            node.problem("An input must be a mapping.", "Write {type: string, required: true}.")
        )
        return None
    entries = dict(node.value)
    # JSON Schema's `required`, a list, says which members an object must have.
    asked = entries.pop("required") if not isinstance(_value_of(entries, "required"), list | None) else None
    required = _flag(reader, asked)
    default = entries.pop("default", None)
    schema_node = Node(entries, node.path, node.line, node.column, node.keys)
    found = check_schema(schema_node)
    reader.problems.extend(found)
    schema: Mapping[str, Json] = schema_node.plain()
    if default is not None and not found:
        reader.problems.extend(check_value(read_template(default, []), schema))
    return Input(name, schema, required and default is None, node, None if default is None else default.plain())


def _flag(reader: Reader, node: Node | None) -> bool:
    if node is not None and not isinstance(node.value, bool):
        reader.problems.append(node.problem("This must be true or false."))
    return node is not None and node.value is True


def _value_of(entries: Mapping[str, Node], key: str) -> Any:
    return entries[key].value if key in entries else None
