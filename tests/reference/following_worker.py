"""A process that follows the log until it is killed: `following_worker.py <directory> <holder>`.

Its consumer appends each event's number to `<directory>/told`, its projection keeps them in DuckDB.
"""

import os
import sys
from pathlib import Path

import anyio
from happenings import Happened

from quantum_suite.core.events import Event, EventFilter
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS
from quantum_suite.services.projections.runner import ProjectionRunner
from quantum_suite.services.projections.sqlite import SqliteProgressStore
from quantum_suite.services.projections.worker import RunnerSettings

LEASE_SECONDS = 0.6


class Teller:
    """Appends each event's number to a file."""

    name = "teller"
    where = EventFilter(types=frozenset({"demo."}))

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle(self, event: Event) -> None:
        os.write(self._file, b"%d\n" % event.data["number"])
        await anyio.sleep(0.001)


async def main(directory: Path, holder: str) -> None:
    """Follow for ever."""
    registry = EventRegistry([Happened, *CONTROL_EVENTS])
    with (
        SqliteProgressStore(directory / "progress.sqlite3") as progress,
        SqliteLeaseStore(directory / "leases.sqlite3") as leases,
    ):
        async with SqliteEventStore(directory / "events.sqlite3", registry, polling_seconds=0.02) as events:
            settings = RunnerSettings(lease_seconds=LEASE_SECONDS, first_retry_seconds=0.05)
            runner = ProjectionRunner(events, progress, leases, holder=holder, settings=settings)
            runner.add_consumer(Teller(directory))
            tables = DuckdbAnalytics(directory / "analytics")
            runner.add_projection(tables)
            print("following", flush=True)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tables.run)
                tasks.start_soon(runner.run)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
