"""The audit log as JSON Lines files: one a day, a new one when a day's file grows large."""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.journal_files import decode_record, journal_files

logger = logging.getLogger(__name__)

_ENCODING = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class JsonlAuditLog:
    """Appends to `<directory>/audit-<day>.<number>.jsonl`, mode 0600, until closed.

    Each record is one `write(2)` on a descriptor opened with O_APPEND, which local file systems keep whole and
    apart from the writes of other processes. A thread of the log's own brings written records to the disk
    `sync_seconds` after the first of them. A file once left is never opened for writing again, and none is ever
    deleted here: how long to keep them is the operator's to say.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 64 * 1024 * 1024, sync_seconds: float = 1.0) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._sync_seconds = sync_seconds
        self._lock = threading.Lock()
        self._descriptor = -1
        self._day: date | None = None
        self._number = 0
        self._size = 0
        self._trouble: str | None = None
        self._unsynced = False
        self._closed = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(
                f"The audit log's directory {directory} cannot be made: {error.strerror}.",
                "Choose another data directory, or mend this one.",
            ) from error
        self._syncer = threading.Thread(target=self._sync_until_stopped, name="audit-sync", daemon=True)
        self._syncer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Return when the log can be written, as far as is known; after a failure, try."""
        if self._trouble is None:
            return
        with self._lock:
            self._append(datetime.now(UTC).date(), b"\n")

    def write(self, record: AuditRecord) -> None:
        """Append a record; it has reached the operating system when this returns."""
        line = orjson.dumps(record, option=_ENCODING)
        with self._lock:
            self._append(record.time.date(), line)

    def read(self, since: datetime | None = None) -> Iterator[AuditRecord]:
        """Yield what the files hold, day by day, number by number."""
        for found in journal_files(self._directory):
            if since is not None and found.day < since.date():
                continue
            with found.path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    record = decode_record(line, found.path, number)
                    if record is not None and (since is None or record.time >= since):
                        yield record

    def tail(self, count: int) -> list[AuditRecord]:
        """Return the last `count` records, reading no more files than it takes."""
        found: list[AuditRecord] = []
        for journal in reversed(journal_files(self._directory)):
            wanted = count - len(found)
            if wanted <= 0:
                break
            with journal.path.open("rb") as file:
                last = deque(((n, line) for n, line in enumerate(file, 1) if _whole(line)), maxlen=wanted)
            decoded = (decode_record(line, journal.path, number) for number, line in last)
            found = [record for record in decoded if record is not None] + found
        return found

    def close(self) -> None:
        """Bring everything to the disk and release the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.set()
        self._wake.set()
        self._syncer.join()
        self._sync()
        with self._lock:
            self._trouble = "it is closed"
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _append(self, day: date, line: bytes) -> None:
        if self._closed:
            raise _unwritable(self._directory, "it is closed")
        try:
            if self._day is None or day > self._day:
                self._open(day, 0)
            elif self._trouble is not None or self._size >= self._max_bytes:
                self._open(self._day, self._number)
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(0, "the disk is full")
            # After an O_APPEND write the offset is the end of the file, other processes' writes included.
            self._size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        except OSError as error:
            self._trouble = error.strerror or str(error)
            raise _unwritable(self._directory, self._trouble) from error
        self._trouble = None
        if not self._unsynced:
            self._unsynced = True
            self._wake.set()

    def _open(self, day: date, number: int) -> None:
        """Go on in the first file of `day`, from `number` on, that has room."""
        while True:
            path = self._directory / f"audit-{day.isoformat()}.{number:04}.jsonl"
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            size = os.fstat(descriptor).st_size
            if size < self._max_bytes:
                break
            os.close(descriptor)
            number += 1
        try:
            os.fsync(descriptor)
            _sync_directory(self._directory)
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # ends the line that a crash or a full disk tore
        except OSError:
            os.close(descriptor)
            raise
        previous, self._descriptor = self._descriptor, descriptor
        self._day, self._number, self._size = day, number, size
        if previous >= 0:
            try:
                os.fsync(previous)
            finally:
                os.close(previous)

    def _sync_until_stopped(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._stop.wait(self._sync_seconds)
            self._sync()

    def _sync(self) -> None:
        try:
            with self._lock:
                if not self._unsynced or self._descriptor < 0:
                    return
                self._unsynced = False
                descriptor = os.dup(self._descriptor)  # the file may be changed for the next one meanwhile
            try:
                os.fsync(descriptor)
                trouble = None if os.fstat(descriptor).st_nlink else "its file was removed while in use"
            finally:
                os.close(descriptor)
        except OSError as error:
            trouble = error.strerror or str(error)
        if trouble is not None:
            logger.error("Audit records in %s may not have reached the disk: %s", self._directory, trouble)
            with self._lock:
                self._trouble = trouble  # the next write opens and syncs a file before it trusts the disk


def _unwritable(directory: Path, why: str | None) -> Unavailable:
    return Unavailable(
        f"The audit log in {directory} cannot be written: {why}.",
        "No call is answered that cannot be recorded; free space or mend the directory, then try again.",
    )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(line: bytes) -> bool:
    return line.startswith(b"{") and line.endswith(b"}\n")
