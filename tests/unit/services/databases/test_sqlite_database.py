"""SQLite files that several processes and threads share."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from quantum_suite.core.errors import ConfigurationError, Damaged, Unavailable
from quantum_suite.services.databases.sqlite import Insertion, SqliteDatabase

pytestmark = pytest.mark.anyio

NOTES = ("CREATE TABLE notes (text TEXT NOT NULL) STRICT",)
ADD = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(\"INSERT INTO notes VALUES ('theirs')\"); "
)


def add(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes VALUES ('mine')")


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]


def test_a_process_that_leaves_takes_nothing_from_those_that_stay(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    with SqliteDatabase(path, NOTES) as database:
        database.write_now(add)
        # A connection more: opening it must not drop the lock that says that the file is in use.
        assert database.read_now(texts) == ["mine"]
        subprocess.run([sys.executable, "-c", ADD + "db.commit(); db.close()", str(path)], check=True)
        assert Path(f"{path}-wal").exists()
        database.write_now(add)
        assert database.read_now(texts) == ["mine", "theirs", "mine"]
    with SqliteDatabase(path, NOTES) as database:
        assert database.read_now(texts) == ["mine", "theirs", "mine"]


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "notes.sqlite3"
    with SqliteDatabase(path, NOTES) as database:
        database.write_now(add)
        for file in path.parent.iterdir():
            assert file.stat().st_mode & 0o777 == 0o600
        connection = database.connect()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        connection.close()
    assert [file.name for file in path.parent.iterdir()] == ["notes.sqlite3"]


def test_what_a_failed_transaction_wrote_is_undone(tmp_path: Path) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        add(connection)
        raise KeyError("no")

    with SqliteDatabase(tmp_path / "notes.sqlite3", NOTES) as database:
        with pytest.raises(KeyError):
            database.write_now(fail)
        database.write_now(add)
        assert database.read_now(texts) == ["mine"]


def test_a_file_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    with SqliteDatabase(path, (*NOTES, "ALTER TABLE notes ADD COLUMN more TEXT")) as newer:
        newer.write_now(add_more)
    with SqliteDatabase(path, NOTES) as older, pytest.raises(ConfigurationError, match="newer release"):
        older.write_now(add)


def add_more(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO notes VALUES ('mine', 'more')")


def test_what_is_no_database_counts_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite3"
    path.write_bytes(b"no database at all" * 1000)
    with SqliteDatabase(path, NOTES) as database, pytest.raises(Damaged):
        database.read_now(texts)


def test_a_directory_that_cannot_be_made_counts_as_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with SqliteDatabase(tmp_path / "file" / "notes.sqlite3", NOTES) as database, pytest.raises(Unavailable):
        database.write_now(add)


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "notes.sqlite3", NOTES)
    database.close()
    database.close()
    with pytest.raises(Unavailable):
        database.write_now(add)


async def test_many_who_wait_for_the_file_leave_threads_to_others(tmp_path: Path) -> None:
    with SqliteDatabase(tmp_path / "notes.sqlite3", NOTES) as database:
        database.write_now(add)
        with anyio.fail_after(50):
            async with anyio.create_task_group() as tasks:
                with database._reading, database._writing:
                    for _ in range(100):
                        tasks.start_soon(database.read, texts)
                        tasks.start_soon(database.write, add)
                    assert await anyio.to_thread.run_sync(os.getpid) == os.getpid()
        assert len(await database.read(texts)) == 101


@pytest.mark.parametrize("count", [0, 1, 4, 63, 256, 1000])
async def test_any_number_of_rows_is_inserted_whole_and_in_order_by_few_statements(
    tmp_path: Path, count: int
) -> None:
    wanted = [(f"note {number}",) for number in range(count)]
    statements: list[str] = []
    insertion = Insertion("notes", 1)
    with SqliteDatabase(tmp_path / "notes.db", NOTES) as database:

        def work(connection: sqlite3.Connection) -> None:
            connection.set_trace_callback(statements.append)
            insertion.into(connection, wanted)
            connection.set_trace_callback(None)

        await database.write(work)
        found = await database.read(texts)
    assert found == [text for (text,) in wanted]
    assert len(statements) <= 16
