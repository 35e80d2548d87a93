"""The store of scans in one SQLite file, with a lock file for each scan that is being worked on.

Every operation opens its own connection in a worker thread: nothing to close, safe across threads and processes.
WAL with `synchronous=FULL`: what was stored survives a crash of the machine. The locks are flock(2) locks, which
the kernel releases with the process, so a killed scan is never mistaken for a running one.
"""

import fcntl
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.core.findings import Finding, Severity
from quantum_suite.core.scans import FileStamp, NotAssessed, ScanRecord, SeverityCounts
from quantum_suite.services.databases.sqlite import make_private
from quantum_suite.services.scans.interface import (
    EXAMPLES,
    KEEP_SCANS,
    FindingPage,
    FindingQuery,
    ScanPart,
    ScanTally,
    path_matches,
    scan_is_busy,
    scan_not_found,
)
from quantum_suite.services.scans.paging import cursor_after, read_cursor

T = TypeVar("T")

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS scans (id TEXT PRIMARY KEY, owner TEXT NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS scans_by_owner ON scans (owner, id);
CREATE TABLE IF NOT EXISTS files (
    scan TEXT NOT NULL REFERENCES scans ON DELETE CASCADE, path TEXT NOT NULL,
    size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, engines TEXT NOT NULL,
    PRIMARY KEY (scan, path)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unassessed (
    scan TEXT NOT NULL REFERENCES scans ON DELETE CASCADE, path TEXT NOT NULL, what TEXT NOT NULL,
    reason TEXT NOT NULL, command TEXT NOT NULL, retry INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS unassessed_by_path ON unassessed (scan, path);
CREATE TABLE IF NOT EXISTS findings (
    scan TEXT NOT NULL REFERENCES scans ON DELETE CASCADE, fingerprint TEXT NOT NULL, severity INTEGER NOT NULL,
    confidence INTEGER NOT NULL, path TEXT NOT NULL, line INTEGER NOT NULL, suppressed INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (scan, fingerprint)) STRICT;
CREATE INDEX IF NOT EXISTS findings_in_order ON findings (scan, severity, confidence, path, line, fingerprint);
CREATE INDEX IF NOT EXISTS findings_by_path ON findings (scan, path);
CREATE INDEX IF NOT EXISTS findings_by_fingerprint ON findings (fingerprint);
CREATE TABLE IF NOT EXISTS seconds (
    scan TEXT NOT NULL REFERENCES scans ON DELETE CASCADE, engine TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (scan, engine)) STRICT;
"""
_BUSY_SECONDS = 30.0
_OPEN_TRIES = 5
_OPEN_PAUSE_SECONDS = 0.05
_CLAIM_TRIES = 20
_CLAIM_PAUSE_SECONDS = 0.01


class SqliteScanStore:
    """Keeps scans below `directory`, which is made on first use, readable by this user alone.

    Every method raises ConfigurationError, and changes nothing, when a newer release wrote the file.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._limiter: anyio.CapacityLimiter | None = None

    async def create(self, record: ScanRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO scans VALUES (?, ?, ?)", (record.id, record.owner, record.model_dump_json()))
            old = db.execute(
                "SELECT id FROM scans WHERE owner = ? ORDER BY id DESC LIMIT -1 OFFSET ?",
                (record.owner, KEEP_SCANS),
            ).fetchall()
            for (scan_id,) in old:
                if not self._is_claimed(scan_id):
                    db.execute("DELETE FROM scans WHERE id = ?", (scan_id,))
                    self._lock_path(scan_id).unlink(missing_ok=True)

        await self._run(work)

    @asynccontextmanager
    async def claim(self, scan_id: str) -> AsyncIterator[None]:
        await self._run(lambda db: _body(db, scan_id))
        path = self._lock_path(scan_id)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A reader probing the lock holds it for an instant: not a reason to give up.
            for attempt in range(_CLAIM_TRIES):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if attempt == _CLAIM_TRIES - 1:
                        raise scan_is_busy(scan_id) from None
                    await anyio.sleep(_CLAIM_PAUSE_SECONDS)
            yield
        finally:
            os.close(lock)

    async def update(self, record: ScanRecord) -> None:
        def work(db: sqlite3.Connection) -> None:
            changed = db.execute("UPDATE scans SET body = ? WHERE id = ?", (record.model_dump_json(), record.id))
            if changed.rowcount == 0:
                raise scan_not_found(record.id)

        await self._run(work)

    async def save_part(self, scan_id: str, part: ScanPart) -> None:
        def work(db: sqlite3.Connection) -> None:
            _body(db, scan_id)
            _forget(db, scan_id, {f.stamp.path for f in part.files} | {f.path for f in part.unassessed})
            db.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", _file_rows(scan_id, part))
            db.executemany(
                "INSERT INTO unassessed VALUES (?, ?, ?, ?, ?, ?)",
                ((scan_id, f.path, f.what, f.reason, f.command or "", int(f.retry)) for f in part.unassessed),
            )
            db.executemany(
                "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _finding_rows(scan_id, part)
            )
            db.executemany(
                "INSERT INTO seconds VALUES (?, ?, ?)"
                " ON CONFLICT (scan, engine) DO UPDATE SET seconds = seconds + excluded.seconds",
                ((scan_id, engine, seconds) for engine, seconds in part.seconds.items()),
            )

        await self._run(work)

    async def forget_files(self, scan_id: str, paths: Sequence[str]) -> None:
        def work(db: sqlite3.Connection) -> None:
            _body(db, scan_id)
            _forget(db, scan_id, paths)

        await self._run(work)

    async def stamps(self, scan_id: str) -> dict[str, FileStamp]:
        def work(db: sqlite3.Connection) -> dict[str, FileStamp]:
            _body(db, scan_id)
            rows = db.execute(
                "SELECT path, size, modified_ns FROM files WHERE scan = :scan AND path NOT IN"
                " (SELECT path FROM unassessed WHERE scan = :scan AND retry = 1)",
                {"scan": scan_id},
            )
            return {path: FileStamp(path=path, size=size, modified_ns=ns) for path, size, ns in rows}

        return await self._run(work)

    async def known_paths(self, scan_id: str) -> set[str]:
        def work(db: sqlite3.Connection) -> set[str]:
            _body(db, scan_id)
            rows = db.execute(
                "SELECT path FROM files WHERE scan = :scan UNION SELECT path FROM unassessed WHERE scan = :scan",
                {"scan": scan_id},
            )
            return {path for (path,) in rows}

        return await self._run(work)

    async def tally(self, scan_id: str) -> ScanTally:
        return await self._run(lambda db: _tally(db, scan_id))

    async def get(self, scan_id: str) -> ScanRecord:
        return await self._run(lambda db: self._as_seen(_body(db, scan_id)))

    async def latest(self, owner: str | None, limit: int) -> list[ScanRecord]:
        def work(db: sqlite3.Connection) -> list[ScanRecord]:
            rows = db.execute(
                "SELECT body FROM scans WHERE :owner IS NULL OR owner = :owner ORDER BY id DESC LIMIT :limit",
                {"owner": owner, "limit": limit},
            )
            return [self._as_seen(body) for (body,) in rows]

        return await self._run(work)

    async def findings(
        self, scan_id: str, query: FindingQuery, *, cursor: str | None = None, limit: int = 100
    ) -> FindingPage:
        after = read_cursor(cursor) if cursor else None

        def work(db: sqlite3.Connection) -> FindingPage:
            _body(db, scan_id)
            where, values = _where(scan_id, query)
            total = int(db.execute(f"SELECT count(*) FROM findings WHERE {where}", values).fetchone()[0])  # noqa: S608  # built from constants only
            if after is not None:
                where += " AND (severity, confidence, path, line, fingerprint) > (?, ?, ?, ?, ?)"
            rows = db.execute(
                f"SELECT body FROM findings WHERE {where}"  # noqa: S608  # built from constants only
                " ORDER BY severity, confidence, path, line, fingerprint LIMIT ?",
                [*values, *(after or ()), limit + 1],
            ).fetchall()
            page = tuple(Finding.model_validate_json(body) for (body,) in rows[:limit])
            return FindingPage(page, total, cursor_after(page[-1]) if len(rows) > limit else None)

        return await self._run(work)

    async def scans_with(self, fingerprint: str, owner: str | None) -> list[str]:
        def work(db: sqlite3.Connection) -> list[str]:
            rows = db.execute(
                "SELECT scans.id FROM findings JOIN scans ON scans.id = findings.scan"
                " WHERE fingerprint = :fingerprint AND (:owner IS NULL OR owner = :owner) ORDER BY scans.id DESC",
                {"fingerprint": fingerprint, "owner": owner},
            )
            return [scan_id for (scan_id,) in rows]

        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction, in a worker thread; a write that has begun is never abandoned halfway."""

        def in_thread() -> T:
            with self._transaction() as db:
                return work(db)

        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(4)
        return await anyio.to_thread.run_sync(in_thread, limiter=self._limiter)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        path = self._directory / "scans.sqlite3"
        if not path.exists():
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            (self._directory / "locks").mkdir(mode=0o700, exist_ok=True)
            make_private(path)
        with closing(_connect(path)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _SCHEMA_VERSION:
                raise ConfigurationError(
                    f"The scans in {path} were written by a newer release (layout {version}).",
                    "Use that release, or another data directory.",
                )
            if version < _SCHEMA_VERSION:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_SCHEMA)
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            db.create_function("path_matches", 2, path_matches, deterministic=True)
            with db:
                yield db

    def _lock_path(self, scan_id: str) -> Path:
        return self._directory / "locks" / scan_id

    def _is_claimed(self, scan_id: str) -> bool:
        try:
            lock = os.open(self._lock_path(scan_id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _as_seen(self, body: str) -> ScanRecord:
        record = ScanRecord.model_validate_json(body)
        if record.state == "running" and not self._is_claimed(record.id):
            return record.model_copy(update={"state": "interrupted"})
        return record


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file. Who closes it last removes its log: one that opens it just then meets an I/O error."""
    for attempt in range(_OPEN_TRIES):
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = FULL")
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_IOERR or attempt == _OPEN_TRIES - 1:
                raise
            time.sleep(_OPEN_PAUSE_SECONDS)
        else:
            return db
    raise AssertionError("the last try returns or raises")


def _body(db: sqlite3.Connection, scan_id: str) -> str:
    row = db.execute("SELECT body FROM scans WHERE id = ?", (scan_id,)).fetchone()
    if row is None:
        raise scan_not_found(scan_id)
    return str(row[0])


def _forget(db: sqlite3.Connection, scan_id: str, paths: Iterable[str]) -> None:
    keys = [(scan_id, path) for path in paths]
    for table in ("files", "unassessed", "findings"):
        db.executemany(f"DELETE FROM {table} WHERE scan = ? AND path = ?", keys)  # noqa: S608  # constant table names


def _file_rows(scan_id: str, part: ScanPart) -> Iterator[tuple[str, str, int, int, str]]:
    for file in part.files:
        stamp = file.stamp
        yield scan_id, stamp.path, stamp.size, stamp.modified_ns, " ".join(file.engines)


def _finding_rows(scan_id: str, part: ScanPart) -> Iterator[tuple[str, str, int, int, str, int, int, str]]:
    for finding in part.findings:
        severity, confidence, path, line, fingerprint = finding.sort_key
        suppressed = int(finding.suppressed)
        yield scan_id, fingerprint, severity, confidence, path, line, suppressed, finding.model_dump_json()


def _where(scan_id: str, query: FindingQuery) -> tuple[str, list[Any]]:
    conditions: list[tuple[str, tuple[Any, ...]]] = [("scan = ?", (scan_id,))]
    if query.severity_at_least is not None:
        conditions.append(("severity <= ?", (query.severity_at_least.rank,)))
    if query.rule is not None:
        in_others = "? IN (SELECT value FROM json_each(body, '$.other_rules'))"
        conditions.append((f"(json_extract(body, '$.rule_id') = ? OR {in_others})", (query.rule, query.rule)))
    if query.path is not None:
        conditions.append(("path_matches(?, path)", (query.path,)))
    if query.engine is not None:
        conditions.append(("? IN (SELECT value FROM json_each(body, '$.engines'))", (query.engine,)))
    if query.cwe is not None:
        conditions.append(("? IN (SELECT value FROM json_each(body, '$.cwe'))", (query.cwe,)))
    if query.fingerprint is not None:
        conditions.append(("fingerprint = ?", (query.fingerprint,)))
    if query.suppressed is not None:
        conditions.append(("suppressed = ?", (int(query.suppressed),)))
    return " AND ".join(text for text, _ in conditions), [value for _, values in conditions for value in values]


def _tally(db: sqlite3.Connection, scan_id: str) -> ScanTally:
    _body(db, scan_id)
    by_engine: dict[str, int] = defaultdict(int)
    files = 0
    for engines, number in db.execute(
        "SELECT engines, count(*) FROM files WHERE scan = ? GROUP BY engines", (scan_id,)
    ):
        files += number
        for engine in engines.split():
            by_engine[engine] += number
    counts: dict[str, int] = {}
    suppressed = 0
    severities = tuple(Severity)
    for silent, rank, number in db.execute(
        "SELECT suppressed, severity, count(*) FROM findings WHERE scan = ? GROUP BY suppressed, severity",
        (scan_id,),
    ):
        if silent:
            suppressed += number
        else:
            counts[severities[rank].value] = number
    seconds = dict(db.execute("SELECT engine, seconds FROM seconds WHERE scan = ?", (scan_id,)))
    return ScanTally(
        files=files,
        counts=SeverityCounts.model_validate(counts),
        suppressed=suppressed,
        files_by_engine=dict(by_engine),
        seconds_by_engine=seconds,
        not_assessed=tuple(_not_assessed(db, scan_id)),
    )


def _not_assessed(db: sqlite3.Connection, scan_id: str) -> Iterator[NotAssessed]:
    groups = db.execute(
        "SELECT what, reason, command, count(*) FROM unassessed WHERE scan = ?"
        " GROUP BY what, reason, command ORDER BY what, reason, command",
        (scan_id,),
    ).fetchall()
    for what, reason, command, number in groups:
        examples = db.execute(
            "SELECT path FROM unassessed WHERE scan = ? AND what = ? AND reason = ? AND command = ?"
            " ORDER BY path LIMIT ?",
            (scan_id, what, reason, command, EXAMPLES),
        )
        yield NotAssessed(
            what=what,
            reason=reason,
            count=number,
            examples=tuple(path for (path,) in examples),
            command=command or None,
        )
