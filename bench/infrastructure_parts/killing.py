"""Kills runs at random moments, has them resumed, and counts what is lost or doubled."""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio

from infrastructure_parts.schema import StateSchema
from infrastructure_parts.victims import kill_one
from infrastructure_parts.world import changed, contents, differing, drifted, expected
from quantum_suite.core.errors import SuiteError
from quantum_suite.services.infrastructure.interface import Progress, RunOutcome, StepReport
from quantum_suite.services.infrastructure.plan import Plan

Operation = Literal["up", "refresh", "destroy"]

ROUND: tuple[Operation, ...] = ("up", "up", "refresh", "up", "refresh", "destroy")
"""What is killed in turn. The first `up` creates everything, the later ones update, replace, add and delete."""

_MOST_TRIES = 4
_ATTEMPTS_EACH = 3
"""So many attempts for each hit before it is given up; a few more where few hits are wanted."""

_FIRST_GUESS_SECONDS = 2.0
"""What a run is taken to last before one has been seen to its end."""

_TOLD_EVERY = 25


@dataclass(slots=True)
class KilledRuns:
    """What came of it. A kill counts where the run had not answered yet when a process of it was killed."""

    kills: int = 0
    attempts: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    """Steps that were begun and not ended when the kill came, by their operation."""
    quarters: Counter[int] = field(default_factory=Counter)
    """In which quarter of such a run's usual time the kill came."""
    survived: int = 0
    """Runs that succeeded all the same."""
    lost: int = 0
    doubled: int = 0
    different: int = 0
    invalid: int = 0
    stuck: int = 0
    left_open: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    usual: dict[str, float] = field(default_factory=dict)
    """Seconds that an undisturbed run of an operation takes."""

    def took(self, operation: Operation, seconds: float) -> None:
        """Learn from a run that was left alone: what is resumed is shorter, so the long ones say more."""
        self.usual[operation] = max(seconds, 0.85 * self.usual.get(operation, 0.0))


async def kill_over_and_over(stack: Any, kills: int, schema: StateSchema, chance: random.Random) -> KilledRuns:
    """Change, apply, kill, resume, compare, until so many kills have hit or too many attempts have not."""
    counted = KilledRuns()
    original, began = list(stack.wanted), time.monotonic()
    while counted.kills < kills and counted.attempts < _ATTEMPTS_EACH * kills + 10:
        operation = ROUND[counted.attempts % len(ROUND)]
        if counted.attempts:
            _ask_for_something_else(stack, operation, original, chance)
        counted.attempts += 1
        killed_after, outcome = await _disturbed(stack, operation, chance, counted)
        counted.left_open += bool((await stack.engine.state(stack.request().ref)).pending)
        if outcome is None or outcome.state != "succeeded":
            await _resumed(stack, operation, counted)
        await _compare(stack, operation, schema, counted)
        if killed_after is not None:
            quarter = int(4 * killed_after / counted.usual.get(operation, killed_after))
            counted.quarters[min(3, quarter)] += 1
        if killed_after is not None and counted.kills % _TOLD_EVERY == 0:
            told = f"lost {counted.lost}, doubled {counted.doubled}, different {counted.different}"
            hit = f"{counted.kills} of {counted.attempts} attempts hit"
            print(f"  {hit} so far: {told}, not resumed {counted.stuck}", flush=True)
    counted.seconds = time.monotonic() - began
    return counted


def _ask_for_something_else(stack: Any, operation: Operation, original: list[Any], chance: random.Random) -> None:
    if operation == "destroy":
        stack.wanted = []
    elif operation == "refresh":
        stack.wanted = drifted(stack.cloud, stack.wanted, chance)
    else:
        stack.wanted = changed(stack.wanted or original, stack.prefix, stack.out, chance)


async def _planned(stack: Any, operation: Operation) -> Plan:
    plan: Plan = await stack.preview("update" if operation == "up" else operation)
    return plan


async def _carried_out(stack: Any, operation: Operation, plan: Plan, told: Progress) -> RunOutcome:
    run = getattr(stack.engine, operation)
    outcome: RunOutcome = await run(stack.request(), progress=told, digest=plan.digest)
    return outcome


@dataclass(slots=True)
class _Killer:
    """Kills at a moment of the run: half of the time by the clock, half by how many steps it has told of."""

    chance: random.Random
    usual: float
    told_in_all: int
    """Beginnings and ends of steps; none where a run does not tell."""
    heard: int = 0
    moved: anyio.Event = field(default_factory=anyio.Event)
    begun: dict[str, str] = field(default_factory=dict)
    victim: str = ""
    after: float = 0.0
    in_flight: tuple[str, ...] = ()

    async def hear(self, report: StepReport) -> None:
        """Take in a step's report."""
        self.heard += 1
        if report.state == "started":
            self.begun[report.urn] = report.operation
        else:
            self.begun.pop(report.urn, None)
        moved, self.moved = self.moved, anyio.Event()
        moved.set()

    async def kill(self) -> None:
        """Wait for the moment, and kill; whoever runs the run cancels this when it is over."""
        began = time.monotonic()
        if self.told_in_all and self.chance.random() < 0.5:
            step = self.chance.randint(0, self.told_in_all)
            while self.heard < step:
                await self.moved.wait()
            await anyio.sleep(self.chance.random() * 0.05)
        else:
            await anyio.sleep(self.chance.random() * self.usual)
        while not (victim := kill_one(self.chance)):  # Processes tell nobody that they start.
            await anyio.sleep(0.005)
        self.victim, self.after = victim, time.monotonic() - began
        self.in_flight = tuple(self.begun.values())


async def _disturbed(
    stack: Any, operation: Operation, chance: random.Random, counted: KilledRuns
) -> tuple[float | None, RunOutcome | None]:
    """Run what is wanted now and kill a process of it.

    Returns after how many seconds, None where the run was over first, and what the run answered, where it did.
    """
    plan = await _planned(stack, operation)
    usual = counted.usual.get(operation, _FIRST_GUESS_SECONDS)
    told_in_all = 0 if operation == "refresh" else 2 * len(plan.changes)
    killer = _Killer(chance, usual, told_in_all)
    outcome: RunOutcome | None = None
    began = time.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(killer.kill)
        try:
            outcome = await _carried_out(stack, operation, plan, killer.hear)
            why = str(list(outcome.failures)[:2])
        except SuiteError as error:
            why = str(error)
        tasks.cancel_scope.cancel()
    if not killer.victim and (outcome is None or outcome.state != "succeeded"):
        counted.faults.append(f"{operation}, though it was not killed: {why}")
    if not killer.victim:
        counted.took(operation, time.monotonic() - began)
        return None, outcome
    counted.kills += 1
    counted.operations[operation] += 1
    counted.victims[killer.victim] += 1
    counted.in_flight.update(set(killer.in_flight))
    counted.survived += outcome is not None and outcome.state == "succeeded"
    return killer.after, outcome


async def _resumed(stack: Any, operation: Operation, counted: KilledRuns) -> None:
    async def unheard(_: StepReport) -> None: ...

    for _ in range(_MOST_TRIES):
        try:
            plan = await _planned(stack, operation)
            began = time.monotonic()
            outcome = await _carried_out(stack, operation, plan, unheard)
        except SuiteError as error:
            told = str(error)
            continue
        if outcome.state == "succeeded":
            counted.took(operation, time.monotonic() - began)
            return
        told = str(list(outcome.failures)[:2])
    counted.stuck += 1
    counted.faults.append(f"kill {counted.kills}: not resumed: {told}")


async def _compare(stack: Any, operation: Operation, schema: StateSchema, counted: KilledRuns) -> None:
    """Compare world and state with what is wanted."""
    lost, extra, wrong = differing(expected(stack.wanted), contents(stack.cloud, stack.prefix, stack.out))
    counted.lost += lost
    counted.doubled += extra
    counted.different += wrong
    problems = schema.problems(stack.state_file()) + await _not_as_said(stack)
    counted.invalid += bool(problems)
    if lost or extra or wrong:
        problems.insert(0, f"lost {lost}, doubled {extra}, different {wrong}")
    counted.faults += [f"kill {counted.kills}, {operation}: {problem}" for problem in problems]


async def _not_as_said(stack: Any) -> list[str]:
    """Return how the state differs from the program: by resources, by what waits, by what is open."""
    state = await stack.engine.state(stack.request().ref)
    managed = [one for one in state.resources if one.type == "pulumi-python:dynamic:Resource"]
    there = sorted((one.name, one.id, str(one.outputs.get("mark"))) for one in managed)
    wanted = sorted((one.label, one.name, one.mark) for one in stack.wanted)
    problems = []
    if len(there) != len(wanted):
        problems.append(f"the state has {len(there)} resources, the program {len(wanted)}")
    elif there != wanted:
        wrong = [(said, asked) for said, asked in zip(there, wanted, strict=True) if said != asked]
        problems.append(f"the state says {wrong[0][0]}, the program {wrong[0][1]}, and {len(wrong) - 1} more")
    if state.pending:
        problems.append(f"{len(state.pending)} operations are open")
    if any(one.delete or one.pending_replacement for one in state.resources):
        problems.append("something waits for its deletion or replacement")
    return problems
