"""A composite workflow as it is run: a definition that was read and found right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from quantum_suite.services.workflows.composite.templates import Template
from quantum_suite.services.workflows.interface import ONCE, Json, Retry
from quantum_suite.services.yaml_nodes import Node

Kind = Literal["call", "do", "workflow", "parallel", "for_each", "loop", "approval", "sleep", "set"]

DAY_SECONDS = 24 * 60 * 60
LONGEST_SECONDS = 365 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Input:
    """What a run is given under one name."""

    name: str
    schema: Mapping[str, Json]
    """The part of JSON Schema that `schemas.py` knows."""
    required: bool
    node: Node
    default: Json = None


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes a step back."""

    kind: Literal["call", "do"]
    target: str
    arguments: Template
    node: Node


@dataclass(frozen=True, slots=True)
class Call:
    """Calls a tool by its public name."""

    tool: str
    arguments: Template
    approvers: Template | None = None
    """Who may answer when the tool, or the hub, asks for approval."""
    approval_timeout_seconds: float = DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Do:
    """Runs one of the actions that the suite brings."""

    action: str
    arguments: Template


@dataclass(frozen=True, slots=True)
class Child:
    """Runs another workflow to its end."""

    workflow: str
    arguments: Template


@dataclass(frozen=True, slots=True)
class Parallel:
    """Runs branches at once."""

    branches: Mapping[str, tuple["Step", ...]]


@dataclass(frozen=True, slots=True)
class ForEach:
    """Runs steps once for every item of a list."""

    items: Template
    name: str
    """What an item is called in expressions."""
    steps: tuple["Step", ...]
    concurrency: int = 1
    most: int = 100
    output: Template | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """Runs steps again and again, bounded."""

    condition: Template
    test: Literal["while", "until"]
    """`while` is tested before a round, `until` after it."""
    most: int
    steps: tuple["Step", ...]
    at_most: Literal["fail", "continue"] = "fail"
    output: Template | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """Asks people."""

    question: Template
    approvers: Template | None
    timeout_seconds: Template | None = None
    on_refusal: Literal["fail", "continue"] = "fail"
    on_timeout: Literal["fail", "continue"] = "fail"
    details: Template | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Waits."""

    seconds: Template


@dataclass(frozen=True, slots=True)
class Set:
    """Gives names to values."""

    values: Mapping[str, Template]


Work = Call | Do | Child | Parallel | ForEach | Loop | Approval | Sleep | Set


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a definition."""

    id: str
    kind: Kind
    work: Work
    node: Node
    named: bool = True
    """Whether the definition gives the id; others are made up, and expressions cannot name them."""
    title: str | None = None
    when: Template | None = None
    retry: Retry = ONCE
    deadline_seconds: float | None = None
    undo: Undo | None = None
    goes_on: bool = False
    """Whether the run goes on when this fails (`on_error: continue`)."""

    def inner(self) -> Iterator["Step"]:
        """Yield the steps directly inside this one."""
        for steps in self.blocks().values():
            yield from steps

    def blocks(self) -> Mapping[str, tuple["Step", ...]]:
        """Return the sequences of steps inside this one, by name."""
        match self.work:
            case Parallel(branches):
                return branches
            case ForEach() | Loop():
                return {"steps": self.work.steps}
        return {}


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event that starts a definition. Expressions in it see `event` alone."""

    event: str
    """Type without version."""
    where: Template | None
    key: Template | None
    """Of what has the same key one run is under way at a time."""
    inputs: Template | None
    node: Node


@dataclass(frozen=True, slots=True)
class Definition:
    """A composite workflow."""

    name: str
    source: str
    description: str
    version: int | None
    inputs: Mapping[str, Input]
    steps: tuple[Step, ...]
    node: Node
    output: Template | None = None
    children: frozenset[str] = field(default_factory=frozenset)
    """The workflows it starts."""
    triggers: tuple[Trigger, ...] = ()
    """The first that an event fits counts."""

    def input_schema(self) -> Mapping[str, Json]:
        """Return the JSON Schema of all that a run is given."""
        return {
            "type": "object",
            "properties": {name: one.schema for name, one in self.inputs.items()},
            "required": [name for name, one in self.inputs.items() if one.required],
            "additionalProperties": False,
        }

    def walk(self) -> Iterator[Step]:
        """Yield every step, outer ones first, in the order they are written."""
        return walk(self.steps)


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield steps and what is inside them, outer ones first, in the order they are written."""
    for step in steps:
        yield step
        yield from walk(tuple(step.inner()))
