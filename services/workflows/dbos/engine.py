"""DBOS, as far as the suite uses it: the one file that knows its inside.

Used is DBOS's durable half: its system database (schema and migrations, status rows with their ownership tokens,
queues with their limits, delays, schedules, deletion). Left alone is its runtime, a singleton of the process with
threads of its own: the suite runs the code of workflows itself, on the event loop that opened the orchestrator.
The version is pinned, since what is used here is not DBOS's public face; `tests/unit` fails loudly when it moves.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantum_suite.core.errors import EngineMissing, Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.databases.postgres import SILENT_SECONDS, silence
from quantum_suite.services.workflows.dbos.tables import DBOS_SCHEMA, DialectName
from quantum_suite.services.workflows.interface import Queue

if TYPE_CHECKING:
    import sqlalchemy
    from dbos._queue import Queue as DbosQueue
    from dbos._sys_db import SystemDatabase, WorkflowSchedule

VERSION = "3.4.0"
DIRECT = "direct"
"""The queue of runs that were started on none, once they have to wait for a worker."""

APPLICATION = "quantum"
FUNCTION = "run"
RELEASE = "1"
"""DBOS's application version: the same in every process, for the suite tells versions of definitions itself."""

SERIALIZATION = "portable_json"
_BUSY_MILLISECONDS = 30_000
_POOL = 8
_DIRECT_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class NewRow:
    """The row of a run that begins. An executor takes it at once, under `token`; without one it stands in line."""

    run_id: str
    inputs: str
    principal: str
    queue: str
    token: str
    executor: str | None
    priority: int = 0
    delay_until_ms: int | None = None
    parent: str | None = None


class Engine:
    """DBOS's system database. Every method blocks: call it in a thread."""

    def __init__(self, system: SystemDatabase, engine: sqlalchemy.Engine, dialect: DialectName) -> None:
        self._system = system
        self._engine = engine
        self._queues: dict[str, DbosQueue] = {}
        self._lines: set[Any] = set()
        self._aborted = False
        self.dialect: DialectName = dialect
        if dialect == "postgresql":
            _listen(engine, "connect", self._connected)
            _listen(engine, "close", self._closed)

    def connect(self) -> sqlalchemy.Connection:
        """Return a connection; leaving `with connection.begin()` commits. On SQLite it is the only writer then."""
        if self._aborted:
            raise Unavailable("The orchestrator is closing, and its database does not answer.")
        return self._engine.connect()

    def close(self) -> None:
        """Close all connections."""
        self._system.destroy()
        self._engine.dispose()

    def abort(self) -> None:
        """Hang up on a server that does not answer, so that whoever waits for it goes on. From any thread."""
        self._aborted = True
        for connection in list(self._lines):
            _hang_up(connection)

    def _connected(self, connection: Any, _record: Any) -> None:
        self._lines.add(connection)
        if self._aborted:
            _hang_up(connection)

    def _closed(self, connection: Any, _record: Any) -> None:
        self._lines.discard(connection)

    def insert(self, connection: sqlalchemy.Connection, row: NewRow) -> None:
        """Insert a run's status and inputs in the transaction of `connection`; one that is there stays so."""
        status: Any = {
            "workflow_uuid": row.run_id,
            "status": _status(row),
            "name": FUNCTION,
            "class_name": None,
            "config_name": None,
            "authenticated_user": row.principal,
            "assumed_role": None,
            "authenticated_roles": None,
            "queue_name": None if row.executor else row.queue,
            "executor_id": row.executor,
            "app_version": RELEASE,
            "app_id": None,
            "workflow_timeout_ms": None,
            "workflow_deadline_epoch_ms": None,
            "deduplication_id": None,
            "priority": row.priority,
            "inputs": row.inputs,
            "queue_partition_key": None,
            "parent_workflow_id": row.parent,
            "serialization": SERIALIZATION,
            "delay_until_epoch_ms": row.delay_until_ms,
            "attributes": None,
            "schedule_name": None,
            "debounce_deadline_epoch_ms": None,
            "is_debounced": False,
            "application_name": APPLICATION,
            "shard_key": None,
        }
        self._system.init_workflow_with_connection(status, connection, creator_xid=row.token)

    def register_queues(self, queues: Sequence[Queue]) -> None:
        """Make the queues known, or bring their limits up to date."""
        for queue in (*queues, Queue(DIRECT, worker_concurrency=_DIRECT_AT_ONCE)):
            self._system.upsert_queue(
                name=queue.name,
                concurrency=queue.concurrency,
                worker_concurrency=queue.worker_concurrency,
                rate_limit_max=queue.rate[0] if queue.rate else None,
                rate_limit_period_sec=queue.rate[1] if queue.rate else None,
                polling_interval_sec=1.0,
                update_existing=True,
            )
            found = self._system.get_queue(queue.name)
            if found is None:
                raise RuntimeError(f"queue {queue.name} is gone as soon as it was made")
            self._queues[queue.name] = found

    def has_queue(self, name: str) -> bool:
        """Whether a queue of that name was registered here."""
        return name in self._queues

    def claim(self, queue: str, executor: str, running: int) -> tuple[str, list[str]]:
        """Take what the queue's limits let this executor take now; returns the ownership token and the run ids.

        `running` counts the queue's runs that this executor already works on.
        """
        token = new_id("own")
        taken, _ = self._system.start_queued_workflows(
            self._queues[queue], executor, RELEASE, None, running, owner_xid=token, is_latest_version=False
        )
        return token, taken

    def release_delayed(self) -> None:
        """Put runs in line whose delay is over."""
        self._system.transition_delayed_workflows()

    def save_schedule(self, schedule: WorkflowSchedule) -> None:
        """Add or replace a schedule, in one transaction."""
        with self._system.engine.begin() as connection:
            self._system.delete_schedule(schedule["schedule_name"], connection)
            self._system.create_schedule(schedule, connection)

    def delete_schedule(self, name: str) -> None:
        """Remove a schedule, if it is there."""
        self._system.delete_schedule(name)

    def list_schedules(self) -> list[WorkflowSchedule]:
        """Return the suite's schedules."""
        return self._system.list_schedules(application_name=APPLICATION)

    def delete(self, run_ids: Sequence[str]) -> None:
        """Delete runs, and all DBOS keeps of them."""
        self._system.delete_workflows(list(run_ids))


def open_engine(url: str) -> Engine:
    """Open `sqlite:///<path>` or `postgresql://...`, and bring DBOS's tables up to date. Blocks.

    Raises EngineMissing when DBOS is not installed, or in another version than the one pinned here.
    """
    try:  # DBOS takes most of a second to import: only once an orchestrator is opened.
        from dbos._serialization import DBOSPortableJSON
        from dbos._sys_db import SystemDatabase
        from dbos._utils import GlobalParams
    except ImportError as error:
        raise _missing("DBOS is not installed.") from error
    if GlobalParams.dbos_version != VERSION:
        raise _missing(f"DBOS is installed in version {GlobalParams.dbos_version}; {VERSION} is needed.")
    dialect: DialectName = "sqlite" if url.startswith("sqlite") else "postgresql"

    def system(engine: sqlalchemy.Engine | None) -> SystemDatabase:
        return SystemDatabase.create(
            system_database_url=url,
            engine_kwargs={},
            engine=engine,
            schema=DBOS_SCHEMA,
            serializer=DBOSPortableJSON,
            executor_id=None,
            use_listen_notify=False,
            app_name=APPLICATION,
            retry_connection_errors=False,
        )

    if dialect == "sqlite":
        _migrate_sqlite(system(None))
    engine = _sqlite_engine(url) if dialect == "sqlite" else _postgres_engine(url)
    second = system(engine)
    opened = Engine(second, engine, dialect)  # before the first connection: it keeps an eye on all of them
    if dialect == "postgresql":
        second.run_migrations()
    return opened


def _migrate_sqlite(system: Any) -> None:
    _listen(system.engine, "connect", _tell_time)
    try:
        system.run_migrations()
    finally:
        system.destroy()


def _tell_time(connection: Any, _record: Any) -> None:
    """Let a connection answer `unixepoch('subsec')`.

    DBOS asks that from Python 3.12 on, SQLite knows it from 3.42 on, and a new Python may stand on an old SQLite.
    """
    if sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", 1, lambda _: round(time.time(), 3))


def _listen(engine: sqlalchemy.Engine, name: str, listener: Callable[..., None]) -> None:
    import sqlalchemy  # loaded already, with the engine

    sqlalchemy.event.listen(engine, name, listener)


def _hang_up(connection: Any) -> None:
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _missing(message: str) -> EngineMissing:
    return EngineMissing(message, f'Run: pip install "dbos=={VERSION}"', engine="dbos")


def _status(row: NewRow) -> str:
    if row.executor:
        return "PENDING"
    return "ENQUEUED" if row.delay_until_ms is None or row.delay_until_ms <= time.time() * 1000 else "DELAYED"


def _sqlite_engine(url: str) -> sqlalchemy.Engine:
    """WAL with synchronous=FULL: what was committed survives a loss of power. A transaction takes the write lock
    when it begins: none has to be done again, and what it reads stays true until it ends."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, pool_size=_POOL, max_overflow=0, pool_timeout=10)

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout={_BUSY_MILLISECONDS}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA foreign_keys=ON")
        _tell_time(connection, _record)

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres_engine(url: str) -> sqlalchemy.Engine:
    import sqlalchemy

    return sqlalchemy.create_engine(
        sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=_POOL,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 3,
            "application_name": "quantum-orchestrator",
            "options": silence(SILENT_SECONDS),
        },
    )
