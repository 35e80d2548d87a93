"""The audit log of a hub that keeps nothing: tests, and one-off runs."""

import threading
from collections import deque
from collections.abc import Iterator
from datetime import datetime

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.audit.interface import AuditRecord


class MemoryAuditLog:
    """Keeps the last `max_records` records of this process."""

    def __init__(self, max_records: int = 100_000) -> None:
        self._records: deque[AuditRecord] = deque(maxlen=max_records)
        self._lock = threading.Lock()
        self._closed = False

    def check(self) -> None:
        """Raise `Unavailable` when the log is closed."""
        if self._closed:
            raise Unavailable("The audit log is closed.")

    def write(self, record: AuditRecord) -> None:
        """Append a record."""
        with self._lock:
            self.check()
            self._records.append(record)

    def read(self, since: datetime | None = None) -> Iterator[AuditRecord]:
        """Yield the records written so far, oldest first."""
        with self._lock:
            records = list(self._records)
        return (record for record in records if since is None or record.time >= since)

    def tail(self, count: int) -> list[AuditRecord]:
        """Return the last `count` records, oldest first."""
        with self._lock:
            records = list(self._records)
        return records[-count:] if count > 0 else []

    def close(self) -> None:
        """Refuse further writes."""
        self._closed = True
