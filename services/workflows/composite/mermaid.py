"""Draws a definition as a Mermaid flowchart, and a run of it in colours."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from quantum_suite.services.workflows.composite.expressions import Expression
from quantum_suite.services.workflows.composite.model import (
    Approval,
    Call,
    Child,
    Definition,
    Do,
    ForEach,
    Loop,
    Parallel,
    Set,
    Sleep,
    Step,
)
from quantum_suite.services.workflows.composite.templates import Template, Text
from quantum_suite.services.workflows.interface import Json, Run, StepRecord

NodeState = Literal["completed", "failed", "running", "waiting"]
MAX_LABEL = 80

_STYLES: dict[NodeState, str] = {
    "completed": "fill:#d4edda,stroke:#28a745,color:#155724",
    "failed": "fill:#f8d7da,stroke:#dc3545,color:#721c24",
    "running": "fill:#cce5ff,stroke:#007bff,color:#004085",
    "waiting": "fill:#fff3cd,stroke:#ffc107,color:#856404",
}
_ROUND = re.compile(r"\[\d+\]")


@dataclass
class _Drawing:
    states: Mapping[str, NodeState]
    lines: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    joins: int = 0

    def draw(self, steps: Sequence[Step], before: list[tuple[str, str]], indent: int) -> list[tuple[str, str]]:
        """Draw a sequence of steps; returns the loose ends: nodes, with what the arrow from them says."""
        for step in steps:
            ends = self._step(step, before, indent)
            skipped = [(node, "otherwise") for node, _ in before] if step.when is not None else []
            before = [*ends, *skipped]
        return before

    def _step(self, step: Step, before: list[tuple[str, str]], indent: int) -> list[tuple[str, str]]:
        condition = "" if step.when is None else f"when {_shown(step.when)}"
        before = [(node, condition or said) for node, said in before]
        match step.work:
            case Parallel(branches):
                fork = self._node(step, indent, suffix="fork", label="at once")
                self.arrows(before, fork, indent)
                return [end for branch in branches.values() for end in self.draw(branch, [(fork, "")], indent)]
            case ForEach() | Loop():
                return self._block(step, step.work, before, indent)
        node = self._node(step, indent)
        self.arrows(before, node, indent)
        return [(node, "")]

    def _block(
        self, step: Step, work: ForEach | Loop, before: list[tuple[str, str]], indent: int
    ) -> list[tuple[str, str]]:
        if isinstance(work, ForEach):
            head = f"for each {work.name} in {_shown(work.items)}"
        else:
            head = f"{work.test} {_shown(work.condition)}, at most {work.most} rounds"
        start = self._node(step, indent, label=head)
        self.arrows(before, start, indent)
        name = self._id(f"{step.id} block")
        self._line(f'subgraph {name}["{escaped(step.title or step.id)}"]', indent)
        ends = self.draw(work.steps, [(start, "")], indent + 1)
        self._line("end", indent)
        for node, said in ends:
            self._line(f"{node} -.->{_said(said or 'next')} {start}", indent)
        return [(start, "done")]

    def _node(self, step: Step, indent: int, *, suffix: str = "", label: str = "") -> str:
        node = self._id(f"{step.id} {suffix}".strip())
        opening, closing = _SHAPES.get(type(step.work), ("[", "]"))
        text = label or _label(step)
        self._line(f'{node}{opening}"{escaped(text)}"{closing}', indent)
        state = self.states.get(step.id)
        if state is not None:
            self._line(f"class {node} {state}", indent)
        if step.undo is not None:
            undo = self._id(f"{step.id} undo")
            self._line(f'{undo}>"{escaped("undo: " + step.undo.target)}"]', indent)
            self._line(f"{node} -.- {undo}", indent)
        return node

    def arrows(self, before: Iterable[tuple[str, str]], node: str, indent: int) -> None:
        for earlier, said in dict.fromkeys(before):
            self._line(f"{earlier} -->{_said(said)} {node}", indent)

    def _id(self, name: str) -> str:
        """Return a node's id: the same for the same definition, whatever words are reserved in Mermaid."""
        return self.ids.setdefault(name, f"n{len(self.ids) + 1}")

    def _line(self, text: str, indent: int) -> None:
        self.lines.append(f"{'  ' * (indent + 1)}{text}")


_SHAPES: dict[type, tuple[str, str]] = {
    Approval: ("{{", "}}"),
    Sleep: ("(", ")"),
    Child: ("[[", "]]"),
    Parallel: ("{", "}"),
    ForEach: ("{", "}"),
    Loop: ("{", "}"),
    Set: ("[/", "/]"),
}


def definition_graph(definition: Definition, states: Mapping[str, NodeState] | None = None) -> str:
    """Return a Mermaid flowchart. `states` colours steps by their id."""
    drawing = _Drawing(states or {})
    drawing.lines += ["flowchart TD", f'  start(["{escaped(definition.name)}"])']
    ends = drawing.draw(definition.steps, [("start", "")], 0)
    drawing.lines.append('  finish(["end"])')
    drawing.arrows(ends, "finish", 0)
    if states is not None:
        drawing.lines += [f"  classDef {name} {style}" for name, style in _STYLES.items()]
    return "\n".join(drawing.lines) + "\n"


def run_graph(definition: Definition, run: Run, steps: Sequence[StepRecord]) -> str:
    """Return the graph of a run's definition with its steps as they stand."""
    return definition_graph(definition, states_of(definition, run, steps))


def plain_graph(run: Run, steps: Sequence[StepRecord]) -> str:
    """Return the steps of a run that has no definition, one after the other."""
    lines = ["flowchart TD", f'  start(["{escaped(run.workflow)}"])']
    before = "start"
    for step in steps:
        node = f"n{step.number}"
        lines += [f'  {node}["{escaped(step.name)}"]', f"  {before} --> {node}", f"  class {node} {step.state}"]
        before = node
    lines += [f"  classDef {name} {style}" for name, style in _STYLES.items()]
    return "\n".join(lines) + "\n"


def states_of(definition: Definition, run: Run, steps: Sequence[StepRecord]) -> dict[str, NodeState]:
    """Return how the steps of a definition stand in a run; the worst of all rounds counts, and open ones first."""
    known = {step.id for step in definition.walk()}
    states: dict[str, NodeState] = {}
    stages = run.status.get("stages") or {}
    records: list[tuple[str, Json]] = [(record.name, record.state) for record in steps]
    for name, state in [*records, *stages.items()]:
        parts = _ROUND.sub("", name.partition(" (")[0]).split(".")
        for part in parts:
            if part in known and _RANK.get(state, 0) > _RANK.get(states.get(part, ""), 0):
                states[part] = state
    return states


_RANK = {"completed": 1, "failed": 2, "waiting": 3, "running": 4}


def _label(step: Step) -> str:
    if step.title:
        return step.title
    match step.work:
        case Call(tool):
            return f"{step.id}: {tool}" if step.named else tool
        case Do(action):
            return f"{step.id}: {action}" if step.named else action
        case Child(workflow):
            return f"{step.id}: workflow {workflow}" if step.named else f"workflow {workflow}"
        case Approval(question):
            return f"{step.id}: {_shown(question)}" if step.named else _shown(question)
        case Sleep(seconds):
            return f"wait {_shown(seconds)} s"
        case Set(values):
            return f"set {', '.join(values)}"
    return step.id


def _shown(template: Template) -> str:
    value = template.value
    if isinstance(value, Expression):
        return value.text
    if isinstance(value, Text):
        return "".join(part if isinstance(part, str) else part.text for part in value.parts)
    return str(template.node.plain())


def _said(text: str) -> str:
    return f'|"{escaped(text)}"|' if text else ""


def escaped(text: str) -> str:
    """Return text for a quoted Mermaid label: what could end it, or be read as markup, is written as an entity."""
    if len(text) > MAX_LABEL:
        text = f"{text[: MAX_LABEL - 3]}..."
    return "".join(
        character if character.isalnum() or character in _HARMLESS else _entity(character) for character in text
    )


def _entity(character: str) -> str:
    if unicodedata.category(character)[0] in "CZ":
        return " "
    return f"#{ord(character)};"


_HARMLESS = frozenset(" .,:_-?!/+=")
