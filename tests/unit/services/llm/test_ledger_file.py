"""The ledger's file: what waits for a lock, what reaches the disk, and what an older release wrote."""

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from quantum_suite.core.errors import Refused, Unavailable
from quantum_suite.services.databases.at_once import AtOnceWriter, ProcessSafeDatabase
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.llm.ledger import sqlite
from quantum_suite.services.llm.ledger.interface import Budget, Outcome, Reservation
from quantum_suite.services.llm.ledger.sqlite import SqliteLedger

pytestmark = pytest.mark.anyio


def held(call: str) -> Reservation:
    expires = datetime.now(UTC) + timedelta(minutes=1)
    return Reservation("ann", call, 1, "d", "local", "m", "", 100, 100, expires)


async def eventually(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(50):
        while not await anyio.to_thread.run_sync(holds):
            pass


def calls_in(file: Path, scratch: Path) -> list[str]:
    """Return whose charges lie in the database file itself, without its log: what was synced to it."""
    shutil.copyfile(file, scratch)
    connection = sqlite3.connect(f"file:{scratch}?immutable=1", uri=True)
    try:
        return [call for (call,) in connection.execute("SELECT call_id FROM charges ORDER BY 1")]
    except sqlite3.DatabaseError:
        return []
    finally:
        connection.close()


async def test_a_lock_of_somebody_elses_is_waited_for_while_others_go_on(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        await ledger.reserve(held("first"), [])
        assert len(await ledger.charges()) == 1
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = anyio.Event()

        async def reserve() -> None:
            waiting.set()
            await ledger.reserve(held("second"), [])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reserve)
            await waiting.wait()
            # The loop is free: what only reads is answered meanwhile.
            assert [one.call_id for one in await ledger.charges()] == ["first"]
            other.execute("COMMIT")
        other.close()
        assert {one.call_id for one in await ledger.charges()} == {"first", "second"}


async def test_what_was_written_reaches_the_disk_by_itself_and_at_the_end(tmp_path: Path) -> None:
    file, scratch = tmp_path / "ledger.db", tmp_path / "copy.db"
    with SqliteLedger(file) as ledger:
        await ledger.reserve(held("a"), [])
        await eventually(lambda: calls_in(file, scratch) == ["a"])
        await ledger.reserve(held("b"), [])
    assert calls_in(file, scratch) == ["a", "b"]


async def test_what_cannot_be_brought_to_the_disk_now_is_brought_there_later(tmp_path: Path) -> None:
    file, scratch = tmp_path / "ledger.db", tmp_path / "copy.db"
    database = ProcessSafeDatabase(file, ("CREATE TABLE charges (call_id TEXT)",))
    writer = AtOnceWriter(database, unsynced_seconds=0.01)
    await writer.write(lambda db: db.execute("INSERT INTO charges VALUES ('a')"))
    await eventually(lambda: calls_in(file, scratch) == ["a"])
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM charges").fetchone() == (1,)
    # Who reads an older state keeps what is newer from the file.
    await writer.write(lambda db: db.execute("INSERT INTO charges VALUES ('b')"))
    await writer.write(lambda db: db.execute("INSERT INTO charges VALUES ('c')"))
    assert await anyio.to_thread.run_sync(calls_in, file, scratch) == ["a"]
    reader.execute("COMMIT")
    await eventually(lambda: calls_in(file, scratch) == ["a", "b", "c"])
    reader.close()
    writer.close()
    database.close()


async def test_an_error_undoes_its_own_transaction_and_nothing_else(tmp_path: Path) -> None:
    database = ProcessSafeDatabase(tmp_path / "x.db", ("CREATE TABLE t (n INTEGER)",))
    writer = AtOnceWriter(database)

    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO t VALUES (1)")
        raise Refused("No.")

    with pytest.raises(Refused):
        await writer.write(half)
    await writer.write(lambda db: db.execute("INSERT INTO t VALUES (2)"))
    with pytest.raises(Unavailable):
        await writer.write(lambda db: db.execute("SELECT * FROM nowhere"))
    assert await database.read(lambda db: db.execute("SELECT n FROM t").fetchall()) == [(2,)]
    writer.close()
    writer.close()
    database.close()
    with pytest.raises(Unavailable):
        await writer.write(half)


async def test_a_ledger_of_an_older_release_is_read_on_and_its_old_charges_fold(tmp_path: Path) -> None:
    older = SqliteDatabase(tmp_path / "ledger.db", sqlite._MIGRATIONS[:1])
    day = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="microseconds")

    def write(db: sqlite3.Connection) -> None:
        row = ("ann", "old", 1, "d", "local", "m", "", "answered", 10, 20, 300, 0, 0, day, day)
        db.execute(f"INSERT INTO charges VALUES ({', '.join('?' * len(row))})", row)

    await older.write(write)
    older.close()
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        before = await ledger.used("month")
        assert await ledger.fold(datetime.now(UTC)) == 1
        assert (await ledger.used("month"), await ledger.charges()) == (before, [])
        await ledger.reserve(held("new"), [Budget("ann", "day", None, 100)])
        await ledger.settle("ann", "new", 1, Outcome("answered", 1, 2, 3, estimated=False))
        assert [one.call_id for one in await ledger.charges()] == ["new"]
