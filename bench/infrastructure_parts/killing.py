"""Kills runs at random moments, has them resumed, and counts what is lost or doubled."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from infrastructure_parts.schema import StateSchema
from infrastructure_parts.world import changed, contents, differing, expected
from quantum_suite.core.errors import SuiteError
from quantum_suite.services.infrastructure.interface import StackRequest, StepReport

MARKS = {"engine": "embedded.worker", "provider": "pulumi.dynamic", "program": "run_program.py"}
MOST_TRIES = 4


@dataclass(slots=True)
class KilledRuns:
    """What came of it."""

    kills: int = 0
    victims: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    different: int = 0
    invalid: int = 0
    stuck: int = 0
    left_open: int = 0
    faults: list[str] = field(default_factory=list)


async def kill_over_and_over(stack: Any, kills: int, schema: StateSchema, chance: random.Random) -> KilledRuns:
    """Edit, apply, kill, resume, compare; every fifth time the stack is destroyed rather than edited."""
    counted = KilledRuns()
    usual = 10.0
    original = list(stack.wanted)
    while counted.kills < kills:
        destroying = counted.kills % 5 == 4
        if counted.kills:
            before = original if not stack.wanted else stack.wanted
            stack.wanted = [] if destroying else changed(before, stack.prefix, stack.out, chance)
        began = time.monotonic()
        await _killed_run(stack, destroying, usual, chance, counted)
        counted.left_open += bool((await stack.engine.state(stack.request().ref)).pending)
        began = time.monotonic()
        await _resumed(stack, destroying, counted)
        usual = 0.7 * usual + 0.3 * (time.monotonic() - began)
        lost, extra, wrong = differing(expected(stack.wanted), contents(stack.cloud, stack.prefix, stack.out))
        counted.lost += lost
        counted.doubled += extra
        counted.different += wrong
        if lost or extra or wrong:
            counted.faults.append(f"kill {counted.kills}: lost {lost}, doubled {extra}, different {wrong}")
        problems = schema.problems(stack.state_file()) + await _not_as_said(stack)
        counted.invalid += bool(problems)
        counted.faults += [f"kill {counted.kills}: {problem}" for problem in problems]
        if counted.kills % 10 == 0:
            told = f"lost {counted.lost}, doubled {counted.doubled}, different {counted.different}"
            print(f"  {counted.kills} kills so far: {told}, not resumed {counted.stuck}", flush=True)
    return counted


async def _killed_run(
    stack: Any, destroying: bool, usual: float, chance: random.Random, counted: KilledRuns
) -> None:
    request: StackRequest = stack.request()
    plan = await stack.engine.preview(request, kind="destroy" if destroying else "update")
    victim = chance.choices(list(MARKS), [5, 3, 2])[0]
    by_steps = chance.random() < 0.7
    at_step = chance.randint(1, max(2, 2 * len(plan.changes)))
    reached = anyio.Event()
    heard = 0

    async def told(_: StepReport) -> None:
        nonlocal heard
        heard += 1
        if heard >= at_step:
            reached.set()

    async def kill() -> None:
        if by_steps:
            with anyio.move_on_after(usual):
                await reached.wait()
            await anyio.sleep(chance.random() * 0.03)
        else:
            await anyio.sleep(chance.random() * usual)
        # Programs and providers come and go; whoever is not there now is waited for a little.
        with anyio.move_on_after(3):
            while not _kill(MARKS[victim]):
                await anyio.sleep(0.02)
            counted.victims[victim] += 1
        counted.kills += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill)
        run = stack.engine.destroy if destroying else stack.engine.up
        with contextlib.suppress(SuiteError):
            await run(request, plan.digest, told)


async def _resumed(stack: Any, destroying: bool, counted: KilledRuns) -> None:
    for _ in range(MOST_TRIES):
        try:
            outcome = await (stack.destroy() if destroying else stack.up())
        except SuiteError as error:
            told = str(error)
            continue
        if outcome.state == "succeeded":
            return
        told = str(list(outcome.failures)[:2])
    counted.stuck += 1
    counted.faults.append(f"kill {counted.kills}: not resumed: {told}")


async def _not_as_said(stack: Any) -> list[str]:
    """Return how the state differs from the program: by resources, by what waits, by what is open."""
    state = await stack.engine.state(stack.request().ref)
    managed = [one for one in state.resources if one.type == "pulumi-python:dynamic:Resource"]
    names = sorted(one.name for one in managed)
    wanted = sorted(one.label for one in stack.wanted)
    problems = []
    if names != wanted:
        problems.append(f"the state has {len(names)} resources, the program {len(wanted)}")
    if state.pending:
        problems.append(f"{len(state.pending)} operations are open")
    if any(one.delete or one.pending_replacement for one in state.resources):
        problems.append("something waits for its deletion or replacement")
    return problems


def _kill(mark: str) -> bool:
    """Kill the newest descendant of this process whose command line has a mark; returns whether there was one."""
    parents: dict[int, int] = {}
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                _, parent, *_ = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(parent)
                line = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                # The sandbox's own processes carry the command as well, after a `--`.
                if mark in line and "\0--\0" not in line and "supervisor" not in line:
                    found.append(int(entry.name))
    ours = [pid for pid in found if _descends(pid, parents)]
    if not ours:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(max(ours), signal.SIGKILL)
        return True
    return False


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False
