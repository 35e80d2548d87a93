"""Following the log in processes that are killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from reference.happenings import Happened, happen

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sqlite import SqliteEventStore
from quantum_suite.services.projections.control_events import CONTROL_EVENTS

pytestmark = pytest.mark.anyio

WORKER = Path(__file__).parents[3] / "reference" / "following_worker.py"
KILLS = 4
EACH = 60


@contextmanager
def follower(directory: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    worker = subprocess.Popen([sys.executable, WORKER, directory, name], stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"following\n"
        yield worker
    finally:
        worker.kill()
        worker.communicate()


def told(directory: Path) -> list[int]:
    file = directory / "told"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


async def until_told(directory: Path, number: int) -> None:
    with anyio.fail_after(30):
        while number not in told(directory):
            await anyio.sleep(0.005)


async def test_whoever_is_killed_nothing_is_missed_and_tables_hold_each_event_once(tmp_path: Path) -> None:
    registry = EventRegistry([Happened, *CONTROL_EVENTS])
    async with SqliteEventStore(tmp_path / "events.sqlite3", registry) as events:
        for kill in range(KILLS):
            first = kill * EACH
            await happen(events, *range(first, first + EACH))
            with follower(tmp_path, f"worker-{kill}") as worker:
                # Somewhere in the middle of the batch.
                await until_told(tmp_path, first + EACH // 3)
                worker.send_signal(signal.SIGKILL)
        total = KILLS * EACH
        with follower(tmp_path, "last"), follower(tmp_path, "standing-by"):
            await until_told(tmp_path, total - 1)
            with anyio.fail_after(30):
                while (held := await in_tables(tmp_path)) != (total, total):
                    await anyio.sleep(0.05)
    assert held == (total, total)
    numbers = told(tmp_path)
    assert list(dict.fromkeys(numbers)) == list(range(total))
    # What was told and not yet noted when a process died is told again: a moment's worth each time.
    assert len(numbers) - total <= KILLS * EACH // 2


async def in_tables(directory: Path) -> tuple[int, int] | None:
    """Return how many events, and how many different ones, the published tables hold."""
    counts = "SELECT count(*), count(DISTINCT id) FROM events WHERE starts_with(type, 'demo.')"
    try:
        ((events, different),) = (await DuckdbAnalytics(directory / "analytics").query(counts)).rows
    except Unavailable:
        return None
    return events, different
