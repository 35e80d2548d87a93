"""Events for which nobody waits: written down at once, and brought into the event store a moment later.

Writing one down is a small transaction of a file of this machine; the store is given many together. What was
written outlives a killed process at once and a machine that goes down within a second, and stays there while the
store is away. The file holds no personal data, and a payload only until the store, which encrypts it, has it.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import anyio
import orjson

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.services.backoff import Backoff
from quantum_suite.services.databases.at_once import AtOnceWriter, ProcessSafeDatabase
from quantum_suite.services.events.interface import EventStore

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.25
"""How long an event waits for others, to be stored together with them."""
_LOOK_SECONDS = 30.0
"""How often one looks for what processes left that were killed meanwhile."""
_BATCH = 200

_MIGRATIONS = (
    """
CREATE TABLE waiting (
    number INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    time TEXT NOT NULL, data BLOB NOT NULL, attributes BLOB NOT NULL) STRICT;
""",
)
_PUT = "INSERT INTO waiting (stream, id, type, time, data, attributes) VALUES (?, ?, ?, ?, ?, ?)"
_OLDEST = """
SELECT number, stream, id, type, time, data, attributes FROM waiting
WHERE number NOT IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT ?
"""
_DELETE = "DELETE FROM waiting WHERE number IN (SELECT value FROM json_each(?))"
_ATTRIBUTES = ("subject", "principal", "correlation_id", "causation_id", "traceparent")

_Row = tuple[int, str, str, str, str, bytes, bytes]


class EventOutbox:
    """Keeps events in the file at `path` until `store` has them, each once. Several processes may share the file.

    Takes events of `types`, each the first of a stream of its own: in which order they come does not matter.
    `run` brings them over. Close it, or use it in a `with`.
    """

    def __init__(
        self,
        path: Path,
        store: EventStore,
        types: Iterable[type[EventData]],
        *,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._store = store
        self._types = {data.event_type: data for data in types}
        self._gather_seconds = gather_seconds
        self._database = ProcessSafeDatabase(path, _MIGRATIONS)
        self._writer = AtOnceWriter(self._database)
        self._news = anyio.Event()
        self._stuck: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. What is in it is brought over by whoever opens it next."""
        self._writer.close()
        self._database.close()

    async def append(self, stream: str, expected_version: int, events: Sequence[NewEvent]) -> None:
        """Write an event down, the first of `stream`; it is kept once this returns.

        Raises CallerError for anything else, Unavailable when the file cannot be written.
        """
        if expected_version != 0 or len(events) != 1:
            raise CallerError("An outbox takes one event, the first of its stream.", argument="events")
        (event,) = events
        if event.personal or event.data.event_type not in self._types:
            raise CallerError(
                f"This outbox takes no {event.data.event_type}, and nothing about a person.",
                "Append it to the event store.",
                argument="events",
            )
        row = _row(stream, event)
        await self._writer.write(lambda db: db.execute(_PUT, row))
        self._news.set()

    async def run(self) -> NoReturn:
        """Bring over what comes, until cancelled. While the store is away, wait; the log says so once."""
        backoff, told = Backoff(), False
        while True:
            self._news = anyio.Event()
            try:
                while await self.carry() == _BATCH:
                    pass
            except Exception as error:
                if not isinstance(error, SuiteError):
                    logger.exception("Bringing events over from %s is tried again.", self._database.path)
                elif not told:
                    logger.warning("Events stay in %s until they can be stored: %s", self._database.path, error)
                told = True
                await anyio.sleep(backoff.next())
                continue
            told = False
            backoff.reset()
            with anyio.move_on_after(_LOOK_SECONDS):
                await self._news.wait()
            await anyio.sleep(self._gather_seconds)

    async def carry(self) -> int:
        """Bring over the oldest; returns how many there were. Raises Unavailable when file or store is away.

        Who was killed after storing some of them left them here: the store knows them by their ids.
        """
        stuck = orjson.dumps(sorted(self._stuck)).decode()
        rows = await self._database.read(lambda db: db.execute(_OLDEST, (stuck, _BATCH)).fetchall())
        done: list[int] = []
        failures: list[SuiteError] = []

        async def store(row: _Row) -> None:
            try:
                await self._store.append(row[1], 0, [self._event(row)])
            except SuiteError as error:
                if error.retryable:
                    failures.append(error)
                else:
                    self._leave(row, error)
            except Exception as error:  # one that cannot be read holds the others up no more than one refused
                self._leave(row, error)
            else:
                done.append(row[0])

        try:
            async with anyio.create_task_group() as tasks:
                for row in rows:
                    tasks.start_soon(store, row)
        finally:
            if done:
                with anyio.CancelScope(shield=True):
                    told = orjson.dumps(done).decode()
                    await self._writer.write(lambda db: db.execute(_DELETE, (told,)))
        if failures:
            raise failures[0]
        return len(rows)

    def _leave(self, row: _Row, error: Exception) -> None:
        """Leave behind what the store will never take: a newer release may have written it."""
        logger.error("Event %s (%s) stays in %s: %s", row[2], row[3], self._database.path, error)
        self._stuck.add(row[0])

    def _event(self, row: _Row) -> NewEvent:
        _, _, event_id, event_type, time, data, attributes = row
        payload = self._types[event_type].model_validate_json(data)
        return NewEvent(payload, id=event_id, time=datetime.fromisoformat(time), **orjson.loads(attributes))


def _row(stream: str, event: NewEvent) -> tuple[str, str, str, str, bytes, bytes]:
    attributes = {name: said for name in _ATTRIBUTES if (said := getattr(event, name)) is not None}
    data = event.data.__pydantic_serializer__.to_json(event.data)
    return stream, event.id, event.data.event_type, event.time.isoformat(), data, orjson.dumps(attributes)
