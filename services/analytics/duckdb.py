"""Analytics on DuckDB: a projection with its tables and checkpoint in one file.

One process at a time has the file open (the runner's lease, and a lock of its own beside it). Questions are
answered from a copy, which the owner publishes when something has changed, so that any process on the machine may
ask, and nothing a question does can touch the tables or the process that keeps them.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
import orjson

from quantum_suite.core.errors import EngineMissing, Fenced, SuiteError, Unavailable
from quantum_suite.core.events import Event, EventFilter, Fence, Position
from quantum_suite.core.ids import new_id
from quantum_suite.services.analytics.interface import EventQuery, QueryResult
from quantum_suite.services.analytics.published import QUERY_SECONDS, PublishedTables
from quantum_suite.services.analytics.tables import SCHEMA_VERSION, TABLES
from quantum_suite.services.databases.fences import outdated

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "512MB",
    "temp_directory": "",
    "threads": "1",
    "lock_configuration": "true",
}
_INSERT = """
INSERT INTO events SELECT
    unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::BIGINT[]), unnest($4::VARCHAR[]),
    unnest($5::VARCHAR[]), unnest($6::TIMESTAMP[]), unnest($7::VARCHAR[]), unnest($8::VARCHAR[]),
    unnest($9::VARCHAR[]), unnest($10::VARCHAR[]), unnest($11::VARCHAR[])::JSON
"""
_PUBLISH_SECONDS = 2.0
_PUBLISHING_SHARE = 20
"""A copy that took a second is followed by the next one 20 seconds later at the earliest."""

_UNREADABLE = ("not a valid duckdb", "enough bytes", "corrupt", "checksum", "version number", "serializ")
"""What DuckDB says of a file that is damaged or of another release: the tables are derived, so it may go."""


class DuckdbAnalytics:
    """A projection of all events into tables, and the `Analytics` port over them.

    `run` publishes copies while this process has the tables open; start it beside the projection runner. Personal
    parts of events are left out; nothing here is encrypted, the files are this user's alone.
    """

    name = "analytics"

    def __init__(self, directory: Path, *, query_seconds: float = QUERY_SECONDS) -> None:
        """Keep the tables in `directory`; raises EngineMissing where DuckDB is not installed."""
        try:
            import duckdb  # an extra, and heavy to import
        except ImportError as error:
            raise EngineMissing(
                "Analytics need DuckDB, which is not installed.",
                'pip install "quantum-suite[analytics]"',
                engine="duckdb",
            ) from error
        self.where = EventFilter()
        self._duckdb = duckdb
        self._directory = directory
        self._tables = PublishedTables(directory / "published.duckdb", query_seconds=query_seconds)
        self._one_at_a_time = anyio.Semaphore(1)
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._descriptors: list[int] = []
        self._position: Position | None = None
        self._changed = False
        self._publish_at = 0.0

    @property
    def instance(self) -> str:
        """The name of this directory's tables, for `ProjectionRunner.add_projection`: each machine has its own."""
        path = self._directory / "instance"
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(new_id("tables"))
        fresh.write_text(fresh.name)
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass  # made before, or by another process just now
        finally:
            fresh.unlink()
        return path.read_text()

    async def checkpoint(self) -> Position | None:
        """Open the tables and return the last event they know of; Unavailable while another has them open."""

        def work(db: "duckdb.DuckDBPyConnection") -> Position | None:
            row = db.execute("SELECT position FROM progress").fetchone()
            return Position(row[0]) if row and row[0] is not None else None

        try:
            self._position = await self._with_tables(work)
        except Fenced:
            self._position = await self._with_tables(work)
        return self._position

    async def apply(self, events: Sequence[Event], fence: Fence) -> None:
        """Add events and move the checkpoint, in one transaction.

        Raises Fenced, which has the runner begin anew, also when the tables had to be made anew meanwhile.
        """
        columns = _columns(events)

        def work(db: "duckdb.DuckDBPyConnection") -> None:
            if db.execute("SELECT position FROM progress").fetchone() != (self._position,):
                raise Fenced("The analytics tables are not where they were left.", "Begin at their checkpoint.")
            row = db.execute("SELECT token FROM fences WHERE name = ?", (fence.name,)).fetchone()
            if row is not None and row[0] > fence.token:
                raise outdated(fence)
            if row is None or row[0] < fence.token:
                db.execute("DELETE FROM fences WHERE name = ?", (fence.name,))
                db.execute("INSERT INTO fences VALUES (?, ?)", (fence.name, fence.token))
            db.execute(_INSERT, columns)
            db.execute("UPDATE progress SET position = ?", (events[-1].position,))

        await self._with_tables(work)
        self._position = events[-1].position
        self._changed = True

    async def reset(self) -> None:
        """Make the tables anew, empty."""
        await self._with_tables(_make_tables)
        self._position = None
        self._changed = True

    async def release(self) -> None:
        """Close the tables, so that another process can open them."""
        async with self._one_at_a_time:
            await anyio.to_thread.run_sync(self._close)

    async def query(self, sql: str, *, max_rows: int = 100) -> QueryResult:
        """Run one SELECT on the published copy, which is brought up to date first where that is due."""
        await self.publish()
        return await self._tables.query(sql, max_rows=max_rows)

    async def latest(self, wanted: EventQuery) -> QueryResult:
        """Return events from the published copy, newest first."""
        await self.publish()
        return await self._tables.latest(wanted)

    async def run(self) -> None:
        """Publish changes until cancelled."""
        while True:
            try:
                await self.publish()
            except SuiteError as error:
                logger.warning("The analytics tables could not be published: %s", error)
            await anyio.sleep(_PUBLISH_SECONDS)

    async def publish(self) -> None:
        """Publish what has changed, if this process has the tables open and the last copy is old enough."""
        async with self._one_at_a_time:
            if self._changed and self._connection is not None and monotonic() >= self._publish_at:
                await anyio.to_thread.run_sync(self._publish)

    async def _with_tables(self, work: Callable[["duckdb.DuckDBPyConnection"], T]) -> T:
        """Do `work` in a transaction, in a worker thread."""

        def in_thread() -> T:
            db = self._connection or self._open()
            try:
                db.begin()
                result = work(db)
                db.commit()
            except SuiteError:
                db.rollback()
                raise
            except self._duckdb.Error as error:
                # A full disk, among others, leaves the connection unusable: begin again with the file.
                self._close()
                if _is_unreadable(error):
                    self._discard(error)
                    raise Fenced("The analytics tables were damaged.", "They are made anew.") from error
                raise Unavailable(f"The analytics tables cannot be used now: {error}", "See the log.") from error
            return result

        async with self._one_at_a_time:
            return await anyio.to_thread.run_sync(in_thread)

    def _open(self) -> "duckdb.DuckDBPyConnection":
        path = self._directory / "tables.duckdb"
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock()
        try:
            db = self._connect(path)
            path.chmod(0o600)
            # Kept open for copies: closing any descriptor of the file would drop DuckDB's own (POSIX) lock on it.
            self._descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            if not _is_current(db):
                _make_tables(db)
        except BaseException:
            self._close()
            raise
        self._connection, self._changed = db, True
        return db

    def _connect(self, path: Path) -> "duckdb.DuckDBPyConnection":
        try:
            return self._duckdb.connect(str(path), config=_CONFIG)
        except self._duckdb.Error as error:
            if not _is_unreadable(error):
                raise Unavailable(f"{path} cannot be opened: {error}", "See the log.") from error
            self._discard(error)
            return self._duckdb.connect(str(path), config=_CONFIG)

    def _discard(self, error: Exception) -> None:
        path = self._directory / "tables.duckdb"
        logger.error("%s cannot be read and is made anew from the events: %s", path, error)
        for file in (path, path.with_name(f"{path.name}.wal")):
            file.unlink(missing_ok=True)

    def _lock(self) -> None:
        lock = os.open(self._directory / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Unavailable("Another process has the analytics tables open.", "It answers too.") from error
        self._descriptors.append(lock)

    def _publish(self) -> None:
        started = monotonic()
        db = self._connection
        if db is None:
            return
        try:
            db.execute("CHECKPOINT")
            self._tables.replace(self._descriptors[-1])
        except (OSError, self._duckdb.Error) as error:
            self._publish_at = monotonic() + _PUBLISH_SECONDS
            raise Unavailable(f"No copy of the analytics tables can be made: {error}", "Free the disk.") from error
        self._changed = False
        self._publish_at = started + max(_PUBLISH_SECONDS, _PUBLISHING_SHARE * (monotonic() - started))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        while self._descriptors:
            os.close(self._descriptors.pop())


def _is_unreadable(error: Exception) -> bool:
    return any(sign in str(error).lower() for sign in _UNREADABLE)


def _is_current(db: "duckdb.DuckDBPyConnection") -> bool:
    found = db.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name IN ('progress', 'fences', 'events')"
    ).fetchone()
    if found is None or found[0] != 3:
        return False
    return db.execute("SELECT schema_version FROM progress").fetchall() == [(SCHEMA_VERSION,)]


def _make_tables(db: "duckdb.DuckDBPyConnection") -> None:
    for view in ("calls", "scans", "runs"):
        db.execute(f"DROP VIEW IF EXISTS {view}")
    for table in ("events", "progress"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    db.execute("CREATE TABLE IF NOT EXISTS fences (name VARCHAR NOT NULL, token BIGINT NOT NULL)")
    for statement in TABLES:
        db.execute(statement)
    db.execute("INSERT INTO progress VALUES (NULL, ?)", (SCHEMA_VERSION,))


def _columns(events: Sequence[Event]) -> list[list[object]]:
    """Return the events column by column: DuckDB takes lists far faster than rows."""
    rows = [
        (
            event.position,
            event.stream,
            event.version,
            event.id,
            event.type,
            event.time.astimezone(UTC).replace(tzinfo=None).isoformat(),
            event.subject,
            event.principal,
            event.correlation_id,
            event.causation_id,
            orjson.dumps(dict(event.data)).decode(),
        )
        for event in events
    ]
    return [list(column) for column in zip(*rows, strict=True)]
