"""A process that works on runs until it is killed: `workflow_worker.py DIRECTORY DATABASE NAME`.

`database` is a PostgreSQL URL, or `sqlite` for files in the directory. Lines on stdin `start <id> <queue>` start
runs here; what was acknowledged is answered `started <id>`. Every step has its effect in `effects.db`, once for a
key, and in the event store.
"""

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.to_thread

from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.events.postgres import PostgresEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.leases.postgres import PostgresLeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.workflows.dbos.workflows import DbosWorkflows, open_workflows
from quantum_suite.services.workflows.events import RUN_EVENTS
from quantum_suite.services.workflows.interface import Json, Owner, Queue, Retry, RunContext, StepContext, Workflow

STEPS = 4
LEASE_SECONDS = 1.5
PATIENT = Retry(100, 0.05, 1.5, 0.5)
"""For effects that have to wait for an event store that is away."""
OWNER = Owner("user:alice")
QUEUES = (Queue("line", worker_concurrency=4),)


class Effected(EventData):
    """A step had its effect."""

    event_type: ClassVar[str] = "tests.effect.happened"
    key: str


REGISTRY_TYPES = (*RUN_EVENTS, Effected)


@dataclass
class Effects:
    """Where effects are seen: a row and an event for each."""

    path: Path
    events: EventStore
    worker: str

    def make(self) -> None:
        """Make the file."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, run TEXT, worker TEXT)")
            database.execute("CREATE TABLE IF NOT EXISTS attempts (key TEXT, worker TEXT)")

    async def have(self, step: StepContext) -> None:
        """Have a step's effect."""
        await anyio.to_thread.run_sync(self._insert, step)
        event = NewEvent(Effected(key=step.idempotency_key), id=f"evt_{step.idempotency_key}")
        await self.events.append(f"tests.effect/{step.idempotency_key.replace(':', '-')}", ANY_VERSION, [event])

    def _insert(self, step: StepContext) -> None:
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            database.execute("INSERT INTO attempts VALUES (?, ?)", (step.idempotency_key, self.worker))
            database.execute(
                "INSERT INTO effects VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (step.idempotency_key, step.run_id, self.worker),
            )


def definitions(effects: Effects) -> list[Workflow]:
    """Return what workers here know."""

    async def counted(run: RunContext, arguments: Json) -> Json:
        async def work(step: StepContext) -> Json:
            await step.check()
            await effects.have(step)
            await anyio.sleep(0.01)
            return step.step

        async def branch(inner: RunContext) -> Json:
            return await inner.step("in a branch", work, retry=PATIENT)

        done = [await run.step(f"step {number}", work, retry=PATIENT) for number in range(STEPS - 2)]
        done += await run.parallel([branch, branch])
        return done

    async def long(run: RunContext, arguments: Json) -> Json:
        async def work(step: StepContext) -> Json:
            print(f"in step {step.run_id}", flush=True)
            await anyio.sleep(arguments)
            await step.check()
            await effects.have(step)
            return effects.worker

        first = await run.step("long", work, retry=PATIENT)
        return [first, await run.step("after", work, retry=PATIENT)]

    return [Workflow("counted", counted), Workflow("long", long)]


@dataclass
class Stores:
    """The stores of one process."""

    events: EventStore
    leases: LeaseStore


@asynccontextmanager
async def stores(directory: Path, database: str) -> AsyncIterator[Stores]:
    """Open events and leases beside the orchestrator's database."""
    registry = EventRegistry(REGISTRY_TYPES)
    async with AsyncExitStack() as stack:
        if database == "sqlite":
            leases = stack.enter_context(SqliteLeaseStore(directory / "leases.db"))
            yield Stores(
                await stack.enter_async_context(SqliteEventStore(directory / "events.db", registry)), leases
            )
        else:
            opened = await stack.enter_async_context(open_postgres(database))
            yield Stores(
                await stack.enter_async_context(PostgresEventStore(opened, registry)), PostgresLeaseStore(opened)
            )


@asynccontextmanager
async def orchestrator(
    directory: Path, database: str, name: str, *, work: bool = True
) -> AsyncIterator[tuple[DbosWorkflows, Stores]]:
    """Open all a process needs."""
    async with stores(directory, database) as opened:
        effects = Effects(directory / "effects.db", opened.events, name)
        await anyio.to_thread.run_sync(effects.make)
        where = str(directory / "runs.db") if database == "sqlite" else database
        async with open_workflows(
            where,
            definitions(effects),
            QUEUES,
            events=opened.events,
            leases=opened.leases,
            worker_id=name,
            work=work,
            lease_seconds=LEASE_SECONDS,
            poll_seconds=0.05,
            most_attempts=10_000,
        ) as workflows:
            yield workflows, opened


async def main(directory: Path, database: str, name: str) -> None:
    """Work until killed, or until stdin ends."""
    async with orchestrator(directory, database, name) as (workflows, _):
        print("ready", flush=True)
        async with anyio.wrap_file(sys.stdin) as lines:
            async for line in lines:
                _, run_id, queue, workflow, arguments = line.split()
                await workflows.start(
                    workflow,
                    float(arguments),
                    OWNER,
                    run_id=run_id,
                    queue=None if queue == "-" else queue,
                )
                print(f"started {run_id}", flush=True)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
