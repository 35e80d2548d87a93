"""How many workflows and steps are done a second, and how soon a run goes on after its approval.

Sixteen clients each start a run of two steps and wait for its result, again and again; then the same with runs of
fifty steps, of which the steps are counted. Every step is durable before the next one begins, and every transition
is appended to an event store. Side by side: the SQLite preset, DBOS's own defaults on SQLite, and PostgreSQL.
Approval latency runs from the call of `approve` to the beginning of the step after it.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from subprocess import PIPE

import anyio

from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.postgres import PostgresLeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.workflows.dbos.workflows import DbosWorkflows, open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import Json, Owner, RunContext, StepContext, Verdict, Workflow

CLIENTS = 16
STEPS = 50
APPROVALS = 30
PATIENCE_SECONDS = 60.0
OWNER = Owner("user:bench")

Figures = dict[str, float]


async def measure_workflows(directory: Path, postgres_url: str | None, seconds: float) -> dict[str, Figures]:
    """Measure each for about so many seconds a figure; returns figures by what was measured."""
    found = {"sqlite": await _sqlite(directory, seconds), "dbos_defaults": await _defaults(directory, seconds)}
    if postgres_url is not None:
        found["postgres"] = await _postgres(postgres_url, seconds)
    shipped, defaults = found["sqlite"], found["dbos_defaults"]
    for figure in ("workflows_per_s", "steps_per_s"):
        shipped[f"{figure}_times_dbos_defaults"] = shipped[figure] / defaults[figure]
    return found


async def _sqlite(directory: Path, seconds: float) -> Figures:
    registry = EventRegistry(RUN_EVENTS)
    with SqliteLeaseStore(directory / "leases.db") as leases:
        async with SqliteEventStore(directory / "events.db", registry) as events:
            return await _measured(directory / "runs.db", events, leases, seconds)


async def _postgres(url: str, seconds: float) -> Figures:
    async with (
        open_postgres(url) as database,
        PostgresEventStore(database, EventRegistry(RUN_EVENTS)) as events,
    ):
        return await _measured(url, events, PostgresLeaseStore(database), seconds)


async def _defaults(directory: Path, seconds: float) -> Figures:
    program = Path(__file__).with_name("dbos_defaults.py")
    command = [sys.executable, str(program), str(directory), str(seconds), str(CLIENTS), str(STEPS)]
    done = await anyio.run_process(command, stdout=PIPE, stderr=PIPE)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


async def _measured(where: Path | str, events: EventStore, leases: LeaseStore, seconds: float) -> Figures:
    went_on: dict[str, float] = {}

    async def work(_: StepContext) -> Json:
        return 1

    async def two_steps(run: RunContext, _: Json) -> Json:
        return await run.step("first", work) + await run.step("second", work)

    async def many_steps(run: RunContext, _: Json) -> Json:
        for _ in range(STEPS):
            await run.step("step", work)

    async def asks(run: RunContext, _: Json) -> Json:
        async def note(step: StepContext) -> Json:
            went_on[step.run_id] = time.perf_counter()

        await run.approval("Go on?", timeout_seconds=PATIENCE_SECONDS)
        await run.step("goes on", note)

    workflows = [Workflow("two steps", two_steps), Workflow("many steps", many_steps), Workflow("asks", asks)]
    async with open_workflows(where, workflows, events=events, leases=leases, worker_id="bench") as orchestrator:
        await _rate(orchestrator, "two steps", seconds / 5)
        completed = await _rate(orchestrator, "two steps", seconds)
        stepped = await _rate(orchestrator, "many steps", seconds) * STEPS
        latencies = sorted([await _approval(orchestrator, went_on) for _ in range(APPROVALS)])
    return {
        "workflows_per_s": completed,
        "steps_per_s": stepped,
        "approval_p50_ms": statistics.median(latencies) * 1000,
        "approval_p95_ms": latencies[int(len(latencies) * 0.95)] * 1000,
    }


async def _rate(orchestrator: DbosWorkflows, workflow: str, seconds: float) -> float:
    done = 0
    begun = time.perf_counter()

    async def client() -> None:
        nonlocal done
        while time.perf_counter() - begun < seconds:
            run = await orchestrator.start(workflow, None, OWNER)
            ended = await orchestrator.wait(run.id, PATIENCE_SECONDS)
            if ended.state != "completed":
                raise RuntimeError(f"{run.id} is {ended.state}: {ended.failure}")
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(CLIENTS):
            tasks.start_soon(client)
    return done / (time.perf_counter() - begun)


async def _approval(orchestrator: DbosWorkflows, went_on: dict[str, float]) -> float:
    run = await orchestrator.start("asks", None, OWNER)
    with anyio.fail_after(PATIENCE_SECONDS):
        while (await orchestrator.get(run.id)).state != "waiting":
            await anyio.sleep(0.002)
    asked = time.perf_counter()
    await orchestrator.approve(run.id, Verdict(True, "user:bench"))
    await orchestrator.wait(run.id, PATIENCE_SECONDS)
    return went_on[run.id] - asked
