"""What the processes of the crash suite do: workflows with effects, a projection, consumers, and where it shows.

All of it is written down in one SQLite file beside the data plane, the world outside. An effect is a row under its
idempotency key; every attempt at it leaves a row too, so that one can see what a missing key would have doubled.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from quantum_suite.core.events import Event, EventFilter, Fence, Position
from quantum_suite.core.ids import new_id
from quantum_suite.services.bus.interface import Message
from quantum_suite.services.databases.fences import SQLITE_FENCES, check_sqlite_fence
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.workflows.interface import Json, Owner, RunContext, StepContext, Workflow
from quantum_suite.services.workflows.queues import HEAVY

OWNER = Owner("user:crash")
MODULE = "qsecure."
"""The events that the consumers want: those of the hubs' streams."""

SUBJECT = "quantum.events.qsecure.>"
GO = "go"
AFTER_EFFECT_SECONDS = 0.03
"""How long a step goes on after its effect: who is killed then has had it, and knows nothing of it."""

SIGNAL_SECONDS = 3600.0

KINDS: Sequence[tuple[str, str | None]] = (
    ("plain", None),
    ("asking", None),
    ("family", None),
    ("plain", HEAVY),
    ("branching", "default"),
    ("asking", "default"),
)
"""Workflows and the queues they are started on, one after the other."""

STEPS = {"plain": 3, "asking": 2, "family": 2, "branching": 5}
"""Steps with an effect, those of children left out."""

CHILDREN = {"plain": 0, "asking": 0, "family": 2, "branching": 0}
"""Children, each of them a `plain` one."""

_LAYOUT = (
    f"""
CREATE TABLE effects (key TEXT PRIMARY KEY, run TEXT NOT NULL, token TEXT NOT NULL) STRICT;
CREATE TABLE attempts (number INTEGER PRIMARY KEY, key TEXT NOT NULL, worker TEXT NOT NULL) STRICT;
CREATE TABLE handled (consumer TEXT NOT NULL, event TEXT NOT NULL, PRIMARY KEY (consumer, event)) STRICT;
CREATE TABLE handlings (number INTEGER PRIMARY KEY, consumer TEXT NOT NULL, event TEXT NOT NULL) STRICT;
CREATE TABLE projected (number INTEGER PRIMARY KEY, event TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), position TEXT NOT NULL) STRICT;
{SQLITE_FENCES}
""",
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a child is to be."""

    name: str
    """Of the process, and of the stream it writes; a child that is started again has the name of the last one."""
    produces: bool
    """Whether it is a hub, which produces, or a worker alone."""
    settings: dict[str, Any]
    world: str
    """The directory of what shows effects."""
    said: str
    """The file it speaks to."""


@dataclass(frozen=True, slots=True)
class World:
    """Where effects are seen."""

    database: SqliteDatabase
    process: str

    async def effect(self, step: StepContext) -> str:
        """Have a step's effect, once for its key; returns what the first attempt left."""

        def work(db: sqlite3.Connection) -> str:
            db.execute("INSERT INTO attempts (key, worker) VALUES (?, ?)", (step.idempotency_key, self.process))
            db.execute(
                "INSERT INTO effects VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (step.idempotency_key, step.run_id, new_id("tok")),
            )
            row = db.execute("SELECT token FROM effects WHERE key = ?", (step.idempotency_key,)).fetchone()
            return str(row[0])

        return await self.database.write(work)

    async def handle(self, consumer: str, event_id: str) -> None:
        """Have a consumer's effect, once for the event."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO handlings (consumer, event) VALUES (?, ?)", (consumer, event_id))
            db.execute("INSERT INTO handled VALUES (?, ?) ON CONFLICT DO NOTHING", (consumer, event_id))

        await self.database.write(work)

    async def rows(self, query: str) -> list[tuple[str, ...]]:
        """Return what a query finds."""
        return await self.database.read(lambda db: db.execute(query).fetchall())


def world(directory: Path, process: str) -> World:
    """Open the file in `directory`."""
    return World(SqliteDatabase(directory / "world.db", _LAYOUT), process)


class Counting:
    """A projection: counts events, each of which it may see once."""

    name = "crash.counting"
    where = EventFilter(types=frozenset({MODULE}))

    def __init__(self, world: World) -> None:
        self._world = world

    async def checkpoint(self) -> Position | None:
        rows = await self._world.rows("SELECT position FROM checkpoint")
        return Position(rows[0][0]) if rows else None

    async def apply(self, events: Sequence[Event], fence: Fence) -> None:
        def work(db: sqlite3.Connection) -> None:
            check_sqlite_fence(db, fence)
            db.executemany("INSERT INTO projected (event) VALUES (?)", [(event.id,) for event in events])
            db.execute("INSERT OR REPLACE INTO checkpoint VALUES (1, ?)", (events[-1].position,))

        await self._world.database.write(work)

    async def reset(self) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM projected")
            db.execute("DELETE FROM checkpoint")

        await self._world.database.write(work)


class Following:
    """A consumer of the log."""

    name = "crash.following"
    where = EventFilter(types=frozenset({MODULE}))

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, event: Event) -> None:
        await self._world.handle(self.name, event.id)
        await anyio.sleep(AFTER_EFFECT_SECONDS / 10)


class Listening:
    """A consumer of the bus."""

    name = "crash-listening"

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, message: Message) -> None:
        await self._world.handle(self.name, str(message.body["id"]))
        await anyio.sleep(AFTER_EFFECT_SECONDS / 10)


def definitions(world: World) -> list[Workflow]:
    """Return the workflows. Each returns what its effects left, in the order of its code."""

    async def work(step: StepContext) -> Json:
        await step.check()
        left = await world.effect(step)
        await anyio.sleep(AFTER_EFFECT_SECONDS)
        return left

    async def plain(run: RunContext, arguments: Json) -> Json:
        return [await run.step(f"step {number}", work) for number in range(STEPS["plain"])]

    async def asking(run: RunContext, arguments: Json) -> Json:
        before = await run.step("before", work)
        said = await run.wait_for_signal(GO, timeout_seconds=SIGNAL_SECONDS)
        return [before, said, await run.step("after", work)]

    async def family(run: RunContext, arguments: Json) -> Json:
        first = await run.step("first", work)
        children = [await run.child("plain", number) for number in range(CHILDREN["family"])]
        await run.sleep(0.05)
        return [first, children, await run.step("last", work)]

    async def branching(run: RunContext, arguments: Json) -> Json:
        async def branch(inner: RunContext) -> Json:
            return [await inner.step("one", work), await inner.step("two", work)]

        first = await run.step("first", work)
        return [first, await run.parallel([branch, branch])]

    bodies = {"plain": plain, "asking": asking, "family": family, "branching": branching}
    return [Workflow(name, body) for name, body in bodies.items()]
