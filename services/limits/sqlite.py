"""Rate limits counted in a SQLite file, for the processes of one machine."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from quantum_suite.services.databases.volatile import VolatileSqliteDatabase
from quantum_suite.services.limits.interface import Budget
from quantum_suite.services.limits.shared import SharedRateLimiter
from quantum_suite.services.outage import REST_SECONDS

_MIGRATIONS = (
    """
CREATE TABLE buckets (
    key BLOB PRIMARY KEY, tokens REAL NOT NULL,
    filled_at REAL NOT NULL, full_at REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX buckets_by_end ON buckets (full_at);
""",
)
_BUSY_SECONDS = 0.25
_TIDIED_AT_ONCE = 4


class SqliteRateLimiter(SharedRateLimiter):
    """Counts in the file at `path`. Buckets that are full again make room. Close it, or use it in a `with`."""

    def __init__(
        self,
        path: Path,
        *,
        rest_seconds: float = REST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(str(path), rest_seconds=rest_seconds)
        self._database = VolatileSqliteDatabase(
            path, _MIGRATIONS, fresh=("DELETE FROM buckets",), busy_seconds=_BUSY_SECONDS
        )
        self._monotonic = monotonic

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    async def _take(self, name: bytes, budget: Budget, cost: float) -> float:
        def work(db: sqlite3.Connection) -> float:
            now = self._monotonic()
            row = db.execute("SELECT tokens, filled_at FROM buckets WHERE key = ?", (name,)).fetchone()
            tokens = budget.burst
            if row is not None:
                tokens = min(budget.burst, row[0] + max(0.0, now - row[1]) * budget.per_second)
            if tokens < cost:
                return (cost - tokens) / budget.per_second
            tokens -= cost
            full_at = now + (budget.burst - tokens) / budget.per_second
            db.execute(
                "DELETE FROM buckets WHERE key IN (SELECT key FROM buckets WHERE full_at <= ? LIMIT ?)",
                (now, _TIDIED_AT_ONCE),
            )
            db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?, ?)", (name, tokens, now, full_at))
            return 0.0

        return await self._database.write(work)
