"""A SQLite file for what one machine's processes share while it is up, and may lose when it goes down."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from quantum_suite.services.databases.sqlite import SqliteDatabase

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class VolatileSqliteDatabase(SqliteDatabase):
    """A file that begins empty after the machine was started anew, and is not synced on every commit.

    So times in it may be those of `time.monotonic()`, which the processes of a machine have in common, and a
    change that a loss of power undoes was never seen by anybody who is still there. The `fresh` statements empty
    the tables; they run in the transaction that finds the machine restarted.
    """

    def __init__(
        self, path: Path, migrations: Sequence[str], *, fresh: Sequence[str], busy_seconds: float
    ) -> None:
        super().__init__(path, migrations, busy_seconds=busy_seconds)
        self._fresh = tuple(fresh)

    def connect(self) -> sqlite3.Connection:
        """Return another connection that waits for the disk at checkpoints alone."""
        connection = super().connect()
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        super()._migrate(connection)
        connection.execute("CREATE TABLE IF NOT EXISTS boot (id TEXT NOT NULL)")
        boot = boot_id()
        if connection.execute("SELECT id FROM boot").fetchall() != [(boot,)]:
            for statement in (*self._fresh, "DELETE FROM boot"):
                connection.execute(statement)
            connection.execute("INSERT INTO boot VALUES (?)", (boot,))


def boot_id() -> str:
    """Name this run of the machine: by the kernel's own name for it, else by the minute it began."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return str(round((time.time() - time.monotonic()) / 60))
