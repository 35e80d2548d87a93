"""The published copy of the tables: replaced whole by their owner, read by whoever asks."""

import os
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import anyio
import orjson

from quantum_suite.core.errors import CallerError, EngineError, Unavailable
from quantum_suite.services.analytics.interface import MAX_ROWS, EventQuery, QueryResult
from quantum_suite.services.process import ProcessOutputTooLarge, ProcessTimeout, run

QUERY_SECONDS = 15.0
_MAX_BYTES = 256 * 1024
_MAX_SQL_CHARACTERS = 20_000
_AT_ONCE = 2
_COPY_BYTES = 16 * 1024 * 1024


class PublishedTables:
    """Answers from the newest copy, each question in a process of its own with limits of its own."""

    def __init__(self, path: Path, *, query_seconds: float = QUERY_SECONDS) -> None:
        self.path = path
        self._seconds = query_seconds
        self._room = anyio.Semaphore(_AT_ONCE)

    def replace(self, source: int) -> None:
        """Publish what the open file `source` holds; readers of the copy before keep theirs."""
        fresh = self.path.with_suffix(".new")
        try:
            target = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _copy(source, target)
            finally:
                os.close(target)
            fresh.replace(self.path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    async def query(self, sql: str, *, max_rows: int = 100) -> QueryResult:
        """Run one SELECT on the copy; see `Analytics.query`."""
        if len(sql) > _MAX_SQL_CHARACTERS:
            raise CallerError("The query is too long.", f"Stay below {_MAX_SQL_CHARACTERS}.", argument="sql")
        return await self._answer(sql, {}, max_rows)

    async def latest(self, wanted: EventQuery) -> QueryResult:
        """Return events, newest first; see `Analytics.latest`."""
        since = wanted.since.astimezone(UTC).replace(tzinfo=None).isoformat() if wanted.since else None
        values = {
            "principal": wanted.principal,
            "types": list(wanted.types),
            "since": since,
            "limit": wanted.limit,
        }
        return await self._answer(_LATEST, values, wanted.limit)

    async def _answer(self, sql: str, values: dict[str, Any], max_rows: int) -> QueryResult:
        if not self.path.exists():
            raise Unavailable("There are no analytics tables yet.", "Start the suite, and try again shortly.")
        asked = {
            "path": str(self.path),
            "sql": sql,
            "values": values,
            "max_rows": min(max_rows, MAX_ROWS),
            "max_bytes": _MAX_BYTES,
            "seconds": self._seconds,
        }
        async with self._room:
            answer = await self._ask(asked)
        if problem := answer.get("problem"):
            raise CallerError(_first_lines(problem), _HINT, argument="sql")
        return QueryResult(
            tuple(answer["columns"]),
            tuple(tuple(row) for row in answer["rows"]),
            answer["truncated"],
            answer["as_of"],
        )

    async def _ask(self, asked: dict[str, object]) -> dict[str, Any]:
        try:
            done = await run(
                [sys.executable, "-I", "-m", "quantum_suite.services.analytics.query_process"],
                stdin=orjson.dumps(asked),
                timeout_seconds=self._seconds,
                max_output_bytes=8 * _MAX_BYTES,
            )
        except ProcessTimeout as error:
            raise CallerError(
                f"The query did not finish within {self._seconds:g} seconds.", _HINT, argument="sql"
            ) from error
        except ProcessOutputTooLarge as error:
            raise CallerError("The query's answer is too large.", _HINT, argument="sql") from error
        if done.returncode > 0 and "ModuleNotFoundError" in done.stderr_tail:
            raise EngineError("DuckDB cannot be loaded.", engine="duckdb", printed=done.stderr_tail)
        if done.returncode != 0:
            raise CallerError("The query used more memory or time than it may.", _HINT, argument="sql")
        answer: dict[str, Any] = orjson.loads(done.stdout)
        return answer


_LATEST = """
SELECT position, stream, version, id, type, strftime(time, '%Y-%m-%dT%H:%M:%S.%fZ'), subject, principal, data
FROM events
WHERE ($principal IS NULL OR principal = $principal) AND ($since IS NULL OR time >= $since::TIMESTAMP)
    AND (len($types::VARCHAR[]) = 0 OR list_bool_or(list_transform($types::VARCHAR[], lambda wanted:
        CASE WHEN ends_with(wanted, '.') THEN starts_with(type, wanted)
        ELSE regexp_replace(type, '[.]v[0-9]+$', '') = wanted END)))
ORDER BY time DESC, version DESC LIMIT $limit
"""
_HINT = "Ask with one SELECT, for less at once: filter, aggregate, or set a LIMIT."


def _first_lines(text: str) -> str:
    return text.partition("\n\nPossible solutions")[0].strip()[:500]


def _copy(source: int, target: int) -> None:
    size, offset = os.fstat(source).st_size, 0
    while offset < size:
        data = os.pread(source, min(_COPY_BYTES, size - offset), offset)
        if not data:
            return
        written = 0
        while written < len(data):
            written += os.write(target, data[written:])
        offset += len(data)
