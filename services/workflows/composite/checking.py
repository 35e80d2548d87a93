"""Checks what a definition refers to: steps, inputs, tools and their arguments, actions, other workflows."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from quantum_suite.core.events import EventData
from quantum_suite.services.workflows.composite.actions import Action
from quantum_suite.services.workflows.composite.expressions import Expression, Reference
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
from quantum_suite.services.workflows.composite.problems import near
from quantum_suite.services.workflows.composite.schemas import check_value
from quantum_suite.services.workflows.composite.templates import Template
from quantum_suite.services.workflows.composite.trigger_checks import check_triggers
from quantum_suite.services.workflows.tool_catalogue import ToolOffer
from quantum_suite.services.yaml_nodes import Node, Problem

RESERVED = frozenset({"inputs", "steps", "vars", "run", "index", "round", "true", "false", "null"})
MOST_PROBLEMS = 100
_RUN = ("id", "owner", "workflow")
_RECORD = ("state", "result", "error")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is beside the definition. None means unknown: it is not checked against then."""

    actions: Mapping[str, Action]
    tools: Mapping[str, ToolOffer] | None = None
    workflows: Mapping[str, frozenset[str]] | None = None
    """The workflows there are, each with those it starts."""
    events: Mapping[str, type[EventData]] | None = None
    """The events that may start workflows, by type without version."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What the expressions of a step can see."""

    names: frozenset[str] = frozenset({"inputs", "steps", "vars", "run"})
    ran: frozenset[str] = frozenset()
    """Steps that have certainly come to their end here."""
    maybe: frozenset[str] = frozenset()
    """Steps that may have been skipped, or have failed."""
    approved: bool = False
    """Whether people have certainly said yes before."""

    def after(self, step: Step) -> "_Sight":
        if step.when is not None or step.goes_on:
            return replace(self, maybe=self.maybe | {step.id})
        approved = self.approved or (
            isinstance(step.work, Approval) and step.work.on_refusal == step.work.on_timeout == "fail"
        )
        return replace(self, ran=self.ran | {step.id}, approved=approved)


@dataclass
class _Checker:
    definition: Definition
    around: Surroundings
    problems: list[Problem] = field(default_factory=list)

    def check(self) -> list[Problem]:
        self.steps_by_id = {step.id: step for step in self.definition.walk()}
        self.order = {step.id: number for number, step in enumerate(self.definition.walk())}
        self.inside = {
            inner.id: step.id
            for step in self.definition.walk()
            if isinstance(step.work, ForEach | Loop)
            for inner in step.inner()
        }
        self.variables = {
            name for step in self.definition.walk() if isinstance(step.work, Set) for name in step.work.values
        }
        sight = self._block(self.definition.steps, _Sight())
        self._template(self.definition.output, sight, len(self.order))
        self._cycles()
        return self.problems

    def _block(self, steps: tuple[Step, ...], sight: _Sight) -> _Sight:
        for step in steps:
            self._template(step.when, sight, self.order[step.id])
            inner = _trusting(step, sight)
            after = self._work(step, inner)
            if step.undo is not None:
                self._target(step.undo.kind, step.undo.target, step.undo.arguments, step.undo.node)
                self._template(step.undo.arguments, after.after(replace(step, when=None, goes_on=False)), _END)
            gained = replace(after, ran=after.ran - (inner.ran - sight.ran))
            sight = gained.after(step) if step.when is None else _all_maybe(sight, gained, step)
        return sight

    def _work(self, step: Step, sight: _Sight) -> _Sight:
        """Check what a step does; returns what can be seen after it (without the step itself)."""
        here = self.order[step.id]
        match step.work:
            case Call(tool, arguments, approvers):
                self._target("call", tool, arguments, step.node, warn=not sight.approved)
                self._template(arguments, sight, here)
                self._template(approvers, sight, here)
            case Do(action, arguments):
                self._target("do", action, arguments, step.node)
                self._template(arguments, sight, here)
            case Child(workflow, arguments):
                self._template(arguments, sight, here)
                self._child(workflow, step.node)
            case Set(values):
                for value in values.values():
                    self._template(value, sight, here)
            case Sleep(seconds):
                self._template(seconds, sight, here)
            case Approval(question, approvers, timeout, details=details):
                for template in (question, approvers, timeout, details):
                    self._template(template, sight, here)
            case Parallel(branches):
                return self._branches(list(branches.values()), sight)
            case ForEach() as each:
                self._each(each, sight, here)
            case Loop() as loop:
                self._loop(loop, sight, here)
        return sight

    def _branches(self, branches: list[tuple[Step, ...]], sight: _Sight) -> _Sight:
        seen = [self._block(branch, sight) for branch in branches]
        return replace(
            sight,
            ran=frozenset().union(*(one.ran for one in seen)),
            maybe=frozenset().union(*(one.maybe for one in seen)),
            approved=any(one.approved for one in seen),
        )

    def _each(self, each: ForEach, sight: _Sight, here: int) -> None:
        self._template(each.items, sight, here)
        if each.name in RESERVED:
            self.problems.append(
                each.items.node.problem(f"'{each.name}' means something else.", "Choose another.")
            )
        inside = replace(sight, names=sight.names | {each.name, "index"})
        self._template(each.output, self._block(each.steps, inside), _END)

    def _loop(self, loop: Loop, sight: _Sight, here: int) -> None:
        inside = replace(sight, names=sight.names | {"round"})
        after = self._block(loop.steps, inside)
        if loop.test == "while":
            self._template(loop.condition, inside, here)
        else:
            self._template(loop.condition, after, _END)
        self._template(loop.output, after, _END)

    def _target(self, kind: str, name: str, arguments: Template, node: Node, *, warn: bool = False) -> None:
        if len(self.problems) >= MOST_PROBLEMS:
            return
        if kind == "do":
            action = self.around.actions.get(name)
            if action is None:
                self.problems.append(
                    node.problem(f"There is no action '{name}'.", near(name, self.around.actions))
                )
            else:
                self.problems += check_value(arguments, action.schema)
            return
        if self.around.tools is None:
            return
        tool = self.around.tools.get(name)
        if tool is None:
            self.problems.append(node.problem(f"There is no tool '{name}'.", near(name, self.around.tools)))
            return
        self.problems += check_value(arguments, tool.input_schema)
        if tool.destructive and warn:
            found = node.problem(f"{name} may destroy something.", "Put an approval before it.")
            self.problems.append(replace(found, severity="warning"))

    def _child(self, name: str, node: Node) -> None:
        known = self.around.workflows if len(self.problems) < MOST_PROBLEMS else None
        if known is not None and name not in known and name != self.definition.name:
            self.problems.append(node.problem(f"There is no workflow '{name}'.", near(name, known)))

    def _cycles(self) -> None:
        graph = {**(self.around.workflows or {}), self.definition.name: self.definition.children}
        circles = {name: _way_back(name, self.definition.name, graph) for name in self.definition.children}
        for step in self.definition.walk():
            if isinstance(step.work, Child):
                circle = circles[step.work.workflow]
                if circle:
                    way = " -> ".join([self.definition.name, *circle])
                    message = f"The workflows start each other for ever: {way}."
                    self.problems.append(step.node.problem(message, "Use a loop."))

    def _template(self, template: Template | None, sight: _Sight, here: int) -> None:
        if template is None:
            return
        for node, expression in template.expressions():
            for reference in expression.references() if len(self.problems) < MOST_PROBLEMS else ():
                found = self._reference(reference, sight, here)
                if found is not None:
                    self.problems.append(node.problem(*found))

    def _reference(self, reference: Reference, sight: _Sight, here: int) -> tuple[str, str] | None:
        first, *rest = reference.path
        if first not in sight.names:
            return f"There is no '{first}' here.", near(str(first), sight.names)
        if not rest or not isinstance(rest[0], str):
            return None
        match first:
            case "inputs" if rest[0] not in self.definition.inputs:
                return f"There is no input '{rest[0]}'.", near(rest[0], self.definition.inputs)
            case "vars" if rest[0] not in self.variables and not reference.guarded:
                return f"Nothing sets '{rest[0]}'.", near(rest[0], self.variables)
            case "run" if rest[0] not in _RUN:
                return f"A run has no '{rest[0]}'.", near(rest[0], _RUN)
            case "steps":
                return self._step_reference(rest, reference.guarded, sight, here)
        return None

    def _step_reference(
        self, path: list[str | int], guarded: bool, sight: _Sight, here: int
    ) -> tuple[str, str] | None:
        name = str(path[0])
        step = self.steps_by_id.get(name)
        if step is None or not step.named:
            return f"There is no step '{name}'.", near(name, (s.id for s in self.steps_by_id.values() if s.named))
        if name not in sight.ran | sight.maybe:
            return self._out_of_sight(name, here)
        if len(path) > 1 and path[1] not in _RECORD:
            return f"A step has no '{path[1]}'.", f"steps.{name} has {', '.join(_RECORD)}."
        deep = len(path) > 2 and path[1] == "result"
        if deep and name not in sight.ran and not guarded:
            return (
                f"The step '{name}' may not have run, or may have failed.",
                f"Write default({_written(path)}, something), or add when: steps.{name}.state == 'completed'.",
            )
        return self._member(step, path[2:]) if deep else None

    def _out_of_sight(self, name: str, here: int) -> tuple[str, str]:
        if name in self.inside and self.inside[name] != name:
            loop = self.inside[name]
            return (
                f"The step '{name}' runs inside '{loop}'.",
                f"Give '{loop}' an output, and read steps.{loop}.result.",
            )
        if self.order[name] >= here:
            return f"The step '{name}' runs later.", "Move it before this one."
        return (
            f"The step '{name}' is in another branch, and may not have run.",
            "Refer to it after the parallel step.",
        )

    def _member(self, step: Step, path: list[str | int]) -> tuple[str, str] | None:
        """Check the first part of a path into a tool's result, where the tool says what it returns."""
        offer = (self.around.tools or {}).get(step.work.tool) if isinstance(step.work, Call) else None
        schema = offer.output_schema if offer is not None else None
        properties = schema.get("properties") if schema is not None else None
        if isinstance(properties, Mapping) and isinstance(path[0], str) and path[0] not in properties:
            return f"The result of '{step.id}' has no '{path[0]}'.", near(path[0], properties)
        return None


_END = 1 << 30


def _written(path: list[str | int]) -> str:
    return "steps" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def check_definition(definition: Definition, around: Surroundings) -> list[Problem]:
    """Return what is wrong with what a definition refers to, in the order of the text.

    Looking ends once MOST_PROBLEMS were found: nobody reads more, and saying what was meant takes time.
    """
    found = [*check_triggers(definition, around.events), *_Checker(definition, around).check()]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.column))


def _trusting(step: Step, sight: _Sight) -> _Sight:
    """Count as run what the step's condition makes certain: `when: steps.scan.state == 'completed'`."""
    if step.when is None or not isinstance(step.when.value, Expression):
        return sight
    tree = step.when.value.tree
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    sure = set()
    for part in parts:
        match part:
            case ast.Compare(
                ast.Attribute(ast.Attribute(ast.Name("steps"), name), "state"),
                [ast.Eq()],
                [ast.Constant("completed")],
            ):
                sure.add(name)
    return replace(sight, ran=sight.ran | (sure & sight.maybe))


def _all_maybe(before: _Sight, after: _Sight, step: Step) -> _Sight:
    """What can be seen after a step that may be skipped: what it brought may not be there."""
    return replace(before, maybe=before.maybe | after.maybe | (after.ran - before.ran) | {step.id})


def _way_back(start: str, goal: str, graph: Mapping[str, frozenset[str]]) -> list[str] | None:
    ways = [[start]]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == goal:
            return way
        for name in sorted(graph.get(way[-1], frozenset()) - seen):
            seen.add(name)
            ways.append([*way, name])
    return None
