"""Clients that commit numbered rows, survive the loss of the database, and go on where it is reached next."""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from quantum_suite.services.recovery.journal import JournalFile

SCHEMA = "quantum_drill"
CREATE = (
    f"CREATE SCHEMA {SCHEMA}",
    f"CREATE TABLE {SCHEMA}.rows (writer integer, number bigint, content text NOT NULL, "
    "PRIMARY KEY (writer, number))",
)
READ = f"SELECT writer, number, content FROM {SCHEMA}.rows"  # noqa: S608 - the schema is a constant
_INSERT = sql.SQL(f"INSERT INTO {SCHEMA}.rows (writer, number, content) VALUES (%s, %s, %s)")  # noqa: S608 - see READ
_PAUSE_SECONDS = 0.1


def content_of(writer: int, number: int) -> str:
    """Return what a row holds: any reader can tell whether it is as it was written."""
    return hashlib.sha256(f"{writer}/{number}".encode()).hexdigest()


class Endpoint:
    """Where clients find the database: a connection string that can be switched. Safe across threads."""

    def __init__(self, conninfo: str) -> None:
        self._now = (conninfo, 0)
        self._changed = threading.Condition()

    def get(self) -> tuple[str, int]:
        """Return where to connect now, and how often that has changed."""
        with self._changed:
            return self._now

    def wait(self, server: int) -> None:
        """Wait a moment before trying anew; no longer than until clients are sent elsewhere."""
        with self._changed:
            if self._now[1] == server:
                self._changed.wait(_PAUSE_SECONDS)

    def switch(self, conninfo: str) -> None:
        """Send whoever connects from now on elsewhere."""
        with self._changed:
            self._now = (conninfo, self._now[1] + 1)
            self._changed.notify_all()


class Writers:
    """Counts what all writers had acknowledged, and wakes whoever waits for a number of rows."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.stop = threading.Event()
        self._changed = threading.Condition()
        self._count = 0
        self._first_after: float | None = None
        self._failure: BaseException | None = None

    @property
    def count(self) -> int:
        """Return how many rows were acknowledged."""
        with self._changed:
            return self._count

    def wait_for(self, rows: int, on_check: Callable[[], None]) -> None:
        """Wait in a thread until that many rows are acknowledged. `on_check` may raise to end the wait."""
        with self._changed:
            while self._count < rows and not self.stop.is_set():
                self._raise_failure()
                on_check()
                self._changed.wait(0.05)

    def wait_first(self, on_check: Callable[[], None]) -> float:
        """Wait in a thread for the first row acknowledged since clients were sent elsewhere.

        Returns the moment of its acknowledgement (`time.monotonic`).
        """
        with self._changed:
            while self._first_after is None and not self.stop.is_set():
                self._raise_failure()
                on_check()
                self._changed.wait(0.05)
            return self._first_after or time.monotonic()

    def write(self, writer: int) -> None:
        """Write rows until told to stop: the work of one thread. What it cannot write down is a failure."""
        try:
            journal = JournalFile(self.folder, writer)
            try:
                self._write(writer, journal)
            finally:
                journal.close()
        except BaseException as error:
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()

    def _write(self, writer: int, journal: JournalFile) -> None:
        number = 0
        while not self.stop.is_set():
            conninfo, server = self.endpoint.get()
            try:
                with psycopg.connect(conninfo, autocommit=True, connect_timeout=2) as connection:
                    while not self.stop.is_set() and server == self.endpoint.get()[1]:
                        number += 1
                        journal.sending(number)
                        connection.execute(_INSERT, (writer, number, content_of(writer, number)))
                        self._acknowledge(journal, number, server)
            except psycopg.Error:
                # Whether the last row was committed is not known: it stays in doubt, and is not sent again.
                self.endpoint.wait(server)

    def _acknowledge(self, journal: JournalFile, number: int, server: int) -> None:
        came, at = time.monotonic(), time.time()
        journal.acknowledged(number, at, server)
        with self._changed:
            self._count += 1
            if server > 0 and self._first_after is None:
                self._first_after = came
            self._changed.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
