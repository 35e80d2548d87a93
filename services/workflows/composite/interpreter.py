"""Runs a definition over a `RunContext`.

The code between steps is deterministic: what is evaluated depends on inputs and on the results of steps alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.composite.calling import CallPlan, ToolConversation
from quantum_suite.services.workflows.composite.functions import BadExpression, as_text, type_of
from quantum_suite.services.workflows.composite.model import (
    DAY_SECONDS,
    LONGEST_SECONDS,
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
    Undo,
)
from quantum_suite.services.workflows.composite.templates import Template
from quantum_suite.services.workflows.interface import Failure, Json, RunContext, StepContext, StepFailed
from quantum_suite.services.workflows.tool_calls import ToolCalls

INTERPRETER_VERSION = "1"
"""Change it whenever a definition would run through other steps than before."""

MAX_STEPS = 10_000
"""Most steps one run executes, rounds of loops counted singly."""

REPORT_STATUS = "report"
"""Where `Run.status` names the run's report: `digest`, `media_type`, `title`."""

STAGES_STATUS = "stages"
"""Where `Run.status` says how approvals, waits and child workflows stand, by step id."""

ChildTarget = tuple[str, Json]
FindChild = Callable[[RunContext, str, Json], Awaitable[ChildTarget]]
"""Says which registered workflow a name stands for, and with which arguments it is started."""


@dataclass
class _Frame:
    """What expressions see."""

    names: Mapping[str, Json]
    """inputs, run, and the items of the loops around."""
    variables: dict[str, Json] = field(default_factory=dict)
    steps: dict[str, Json] = field(default_factory=dict)

    def scope(self) -> dict[str, Json]:
        return {**self.names, "vars": self.variables, "steps": self.steps}

    def apart(self, **names: Json) -> "_Frame":
        """Return a frame that sees this one, and is not seen by it."""
        return _Frame({**self.names, **names}, dict(self.variables), dict(self.steps))


@dataclass
class _Progress:
    """What all branches of a run share."""

    executed: int = 0
    stages: dict[str, str] = field(default_factory=dict)


class Interpreter:
    """Runs definitions. Holds nothing of a run: one serves all."""

    def __init__(self, calls: ToolCalls, actions: Mapping[str, Action], find_child: FindChild) -> None:
        self._calls = calls
        self._actions = actions
        self._find_child = find_child

    async def run(self, definition: Definition, context: RunContext, inputs: Mapping[str, Json]) -> Json:
        """Run a definition with inputs that fit it; returns its output, and raises StepFailed."""
        given = {name: inputs.get(name, one.default) for name, one in definition.inputs.items()}
        run = {"id": context.run_id, "owner": context.owner.principal, "workflow": definition.name}
        frame = _Frame({"inputs": given, "run": run})
        execution = _Execution(self._calls, self._actions, self._find_child, _Progress())
        await execution.block(definition.steps, context, frame, "")
        if definition.output is None:
            return None
        return rendered(definition.output, frame.scope(), "output")


class _Execution:
    """One run under way."""

    def __init__(
        self,
        calls: ToolCalls,
        actions: Mapping[str, Action],
        find_child: FindChild,
        progress: _Progress,
    ) -> None:
        self._calls = calls
        self._actions = actions
        self._find_child = find_child
        self._progress = progress

    async def block(self, steps: tuple[Step, ...], context: RunContext, frame: _Frame, prefix: str) -> None:
        for step in steps:
            await self._step(step, context, frame, prefix)

    async def _step(self, step: Step, context: RunContext, frame: _Frame, prefix: str) -> None:
        self._progress.executed += 1
        name = f"{prefix}{step.id}"
        if self._progress.executed > MAX_STEPS:
            raise StepFailed(
                name, Failure("caller_error", f"The run has more than {MAX_STEPS} steps.", "Split it.")
            )
        if step.when is not None and not truth(step.when, frame.scope(), name):
            frame.steps[step.id] = {"state": "skipped", "result": None, "error": None}
            return
        try:
            result = await self._work(step, name, context, frame)
        except StepFailed as failed:
            if not step.goes_on:
                raise
            frame.steps[step.id] = {"state": "failed", "result": None, "error": asdict(failed.failure)}
        else:
            frame.steps[step.id] = {"state": "completed", "result": result, "error": None}

    async def _work(self, step: Step, name: str, context: RunContext, frame: _Frame) -> Json:
        match step.work:
            case Call():
                return await self._call(step, step.work, name, context, frame)
            case Do():
                return await self._do(step, step.work, name, context, frame)
            case Parallel(branches):
                return await self._parallel(branches, name, context, frame)
            case ForEach() as each:
                return await self._each(each, name, context, frame)
            case Loop() as loop:
                return await self._loop(loop, name, context, frame)
            case Set(values):
                made = {key: rendered(value, frame.scope(), name) for key, value in values.items()}
                frame.variables.update(made)
                return made
        return await self._staged(step, name, context, frame)

    async def _call(self, step: Step, call: Call, name: str, context: RunContext, frame: _Frame) -> Json:
        plan = CallPlan(
            step=name,
            tool=call.tool,
            arguments=rendered(call.arguments, frame.scope(), name),
            retry=step.retry,
            deadline_seconds=step.deadline_seconds,
            approvers=names_of(call.approvers, frame.scope(), name),
            approval_timeout_seconds=call.approval_timeout_seconds,
        )
        conversation = ToolConversation(self._calls, context.owner)
        return await conversation.hold(context, plan, self._undo(step, context, frame))

    async def _do(self, step: Step, do: Do, name: str, context: RunContext, frame: _Frame) -> Json:
        action = self._actions.get(do.action)
        if action is None:
            raise StepFailed(name, Failure("not_found", f"There is no action '{do.action}'."))
        arguments = rendered(do.arguments, frame.scope(), name)

        async def work(inside: StepContext) -> Json:
            return await action.work(_action_call(context, inside, arguments))

        result = await context.step(
            name,
            work,
            retry=step.retry,
            deadline_seconds=step.deadline_seconds,
            undo=self._undo(step, context, frame),
        )
        if action.is_report:
            await context.report(REPORT_STATUS, result)
        return result

    def _undo(self, step: Step, context: RunContext, frame: _Frame) -> Any:
        """Return what takes the step back, seeing what the run knew when it was done."""
        if step.undo is None:
            return None
        undo, seen = step.undo, frame.apart()

        async def take_back(inside: StepContext, kept: Json) -> None:
            if isinstance(step.work, Call):
                if "result" not in kept:
                    return  # a round that only brought a question
                kept = kept["result"]
            seen.steps[step.id] = {"state": "completed", "result": kept, "error": None}
            await self._take_back(undo, rendered(undo.arguments, seen.scope(), inside.step), context, inside)

        return take_back

    async def _take_back(self, undo: Undo, arguments: Json, context: RunContext, inside: StepContext) -> None:
        if undo.kind == "call":
            await ToolConversation(self._calls, context.owner).once(undo.target, arguments, inside)
        else:
            await self._actions[undo.target].work(_action_call(context, inside, arguments))

    async def _parallel(
        self, branches: Mapping[str, tuple[Step, ...]], name: str, context: RunContext, frame: _Frame
    ) -> Json:
        def branch(steps: tuple[Step, ...]) -> Callable[[RunContext], Awaitable[Json]]:
            async def run(inner: RunContext) -> Json:
                apart = frame.apart()
                await self.block(steps, inner, apart, f"{name}.")
                return {step.id: apart.steps[step.id] for step in _records(steps)}

            return run

        found = await context.parallel([branch(steps) for steps in branches.values()])
        for records in found:
            frame.steps.update(records)
        return {key: _results(records) for key, records in zip(branches, found, strict=True)}

    async def _each(self, each: ForEach, name: str, context: RunContext, frame: _Frame) -> Json:
        items = rendered(each.items, frame.scope(), name)
        if not isinstance(items, list):
            raise StepFailed(
                name, Failure("caller_error", f"{name} goes through a list, and got {type_of(items)}.")
            )
        if len(items) > each.most:
            message = f"{name} got {len(items)} items; {each.most} is the most."
            raise StepFailed(name, Failure("caller_error", message, "Raise max, or give it fewer."))

        async def one(index: int, inner: RunContext) -> Json:
            apart = frame.apart(**{each.name: items[index], "index": index})
            place = f"{name}[{index}]"
            await self.block(each.steps, inner, apart, f"{place}.")
            return _output(each.output, each.steps, apart, place)

        if each.concurrency == 1:
            return [await one(index, context) for index in range(len(items))]
        branches = [lambda inner, index=index: one(index, inner) for index in range(len(items))]
        return await context.parallel(branches, concurrency=each.concurrency)

    async def _loop(self, loop: Loop, name: str, context: RunContext, frame: _Frame) -> Json:
        outputs: list[Json] = []
        for number in range(loop.most):
            inside = _Frame({**frame.names, "round": number}, frame.variables, dict(frame.steps))
            if loop.test == "while" and not truth(loop.condition, inside.scope(), name):
                return outputs
            place = f"{name}[{number}]"
            await self.block(loop.steps, context, inside, f"{place}.")
            outputs.append(_output(loop.output, loop.steps, inside, place))
            if loop.test == "until" and truth(loop.condition, inside.scope(), name):
                return outputs
        after = _Frame({**frame.names, "round": loop.most}, frame.variables, dict(frame.steps))
        ended = loop.test == "while" and not truth(loop.condition, after.scope(), name)
        if not ended and loop.at_most == "fail":
            message = f"{name} has not come to its end in {loop.most} rounds."
            raise StepFailed(name, Failure("caller_error", message, "Raise max, or set on_max: continue."))
        return outputs

    async def _staged(self, step: Step, name: str, context: RunContext, frame: _Frame) -> Json:
        """Do a step that waits for the world, and have the run's status say so."""
        await self._stage(context, step, "waiting")
        try:
            match step.work:
                case Approval() as approval:
                    result = await self._approval(approval, step, name, context, frame)
                case Sleep(seconds):
                    result = await self._sleep(seconds, name, context, frame)
                case Child(workflow, arguments):
                    inputs = rendered(arguments, frame.scope(), name)
                    target, started_with = await self._find_child(context, workflow, inputs)
                    result = await context.child(target, started_with)
                case _:
                    raise AssertionError(step.kind)
        except StepFailed:
            await self._stage(context, step, "failed")
            raise
        await self._stage(context, step, "completed")
        return result

    async def _stage(self, context: RunContext, step: Step, state: str) -> None:
        self._progress.stages[step.id] = state
        await context.report(STAGES_STATUS, dict(self._progress.stages))

    async def _approval(
        self, approval: Approval, step: Step, name: str, context: RunContext, frame: _Frame
    ) -> Json:
        scope = frame.scope()
        details = None if approval.details is None else rendered(approval.details, scope, name)
        verdict = await context.approval(
            str(rendered(approval.question, scope, name)),
            approvers=names_of(approval.approvers, scope, name),
            timeout_seconds=seconds_of(approval.timeout_seconds, DAY_SECONDS, scope, name),
            details={"step": name, "about": details},
        )
        timed_out = verdict.by is None and not verdict.approved
        result = {
            "approved": verdict.approved,
            "by": verdict.by,
            "reason": verdict.reason,
            "timed_out": timed_out,
        }
        what_next = approval.on_timeout if timed_out else approval.on_refusal
        if verdict.approved or what_next == "continue":
            return result
        who = "Nobody answered in time" if timed_out else f"{verdict.by} did not approve"
        why = f": {verdict.reason}" if verdict.reason and not timed_out else ""
        raise StepFailed(name, Failure("refused", f"{who}{why}.", "Ask them what to do instead."))

    async def _sleep(self, seconds: Template, name: str, context: RunContext, frame: _Frame) -> Json:
        await context.sleep(seconds_of(seconds, 0, frame.scope(), name))
        return None


def rendered(template: Template, scope: Mapping[str, Json], step: str) -> Json:
    """Fill in a template; raises StepFailed with the place of what cannot be worked out."""
    try:
        return template.render(scope)
    except BadExpression as error:
        raise StepFailed(step, Failure("caller_error", error.message, error.hint or None)) from error


def truth(template: Template, scope: Mapping[str, Json], step: str) -> bool:
    """Work out a condition; raises StepFailed where it is neither true nor false."""
    value = rendered(template, scope, step)
    if isinstance(value, bool):
        return value
    place = f"{template.node.path} (line {template.node.line})"
    message = f"{place} must be true or false, and is {type_of(value)}."
    raise StepFailed(step, Failure("caller_error", message, "Compare it with something."))


def names_of(template: Template | None, scope: Mapping[str, Json], step: str) -> tuple[str, ...]:
    """Work out who may approve; raises StepFailed for what is no list of names."""
    value = None if template is None else rendered(template, scope, step)
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise StepFailed(step, Failure("caller_error", "'approvers' must be a list of roles or principals."))


def seconds_of(template: Template | None, default: float, scope: Mapping[str, Json], step: str) -> float:
    """Work out a time; raises StepFailed for what is none."""
    value = default if template is None else rendered(template, scope, step)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_SECONDS:
        return value
    message = f"{step} waits for seconds, 0 to {LONGEST_SECONDS}, and got {as_text(value)[:40]}."
    raise StepFailed(step, Failure("caller_error", message))


def _action_call(context: RunContext, inside: StepContext, arguments: Json) -> ActionCall:
    return ActionCall(context.owner, context.run_id, inside.idempotency_key, inside.check, arguments)


def _records(steps: tuple[Step, ...]) -> list[Step]:
    """Return the steps whose records can be seen from after a block."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if isinstance(step.work, Parallel):
            found += _records(tuple(step.inner()))
    return found


def _results(records: Mapping[str, Any]) -> Json:
    return {name: record["result"] for name, record in records.items()}


def _output(template: Template | None, steps: tuple[Step, ...], frame: _Frame, place: str) -> Json:
    if template is not None:
        return rendered(template, frame.scope(), place)
    return {step.id: frame.steps[step.id]["result"] for step in steps if step.named}
