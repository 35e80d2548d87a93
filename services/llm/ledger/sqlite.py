"""The ledger in an SQLite file, shared by the processes of a machine."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.llm.ledger.interface import (
    EVERYBODY,
    MOST_REPEATS,
    Budget,
    Charge,
    Outcome,
    Period,
    Reservation,
    Spent,
    Used,
    another_request,
    began,
    check_budget,
    periods_of,
    too_often,
)

_MIGRATIONS = (
    """
CREATE TABLE charges (
    principal TEXT NOT NULL, call_id TEXT NOT NULL, attempt INTEGER NOT NULL, request_digest TEXT NOT NULL,
    provider TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL, state TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, nano_usd INTEGER, estimated INTEGER NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0, reserved_at TEXT NOT NULL, expires_at TEXT NOT NULL,
    PRIMARY KEY (principal, call_id, attempt)) STRICT, WITHOUT ROWID;
CREATE INDEX charges_by_time ON charges (reserved_at);
CREATE INDEX charges_by_principal ON charges (principal, reserved_at);
CREATE INDEX charges_open ON charges (expires_at) WHERE state = 'reserved';
CREATE TABLE totals (
    scope TEXT NOT NULL, period TEXT NOT NULL, nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL,
    attempts INTEGER NOT NULL, PRIMARY KEY (scope, period)) STRICT, WITHOUT ROWID;
""",
)
_COLUMNS = (
    "principal, call_id, attempt, provider, model, purpose, state, input_tokens, output_tokens, nano_usd, "
    "estimated, repeats, reserved_at, expires_at"
)
_RESERVE = (
    "INSERT INTO charges VALUES (:principal, :call_id, :attempt, :request_digest, :provider, :model, :purpose, "
    "'reserved', 0, :tokens, :nano_usd, 1, 0, :reserved_at, :expires_at) "
    "ON CONFLICT DO UPDATE SET provider = :provider, model = :model, output_tokens = :tokens, "
    "nano_usd = :nano_usd, repeats = repeats + 1, expires_at = :expires_at"
)
_KEY = "principal = :principal AND call_id = :call_id AND attempt = :attempt"
_HELD = (
    "SELECT state, output_tokens, coalesce(nano_usd, 0), reserved_at, repeats FROM charges "  # noqa: S608  # constants only
    f"WHERE {_KEY}"
)
_REPEATED = f"UPDATE charges SET repeats = repeats + 1 WHERE {_KEY}"  # noqa: S608  # constants only
_SETTLE = (
    "UPDATE charges SET state = :state, input_tokens = :asked, output_tokens = :answered, "  # noqa: S608  # constants only
    f"nano_usd = :nano_usd, estimated = :estimated WHERE {_KEY}"
)
_ADD = (
    "INSERT INTO totals VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd, "
    "tokens = tokens + excluded.tokens, attempts = attempts + excluded.attempts"
)
_USED = """
SELECT principal, provider, model, purpose, count(*), sum(state = 'answered'), sum(state = 'cut'),
    sum(state = 'failed'), sum(input_tokens), sum(output_tokens), sum(coalesce(nano_usd, 0)),
    sum(nano_usd IS NULL), sum(estimated AND state <> 'failed')
FROM charges WHERE reserved_at >= ?1 AND (?2 IS NULL OR principal = ?2)
GROUP BY 1, 2, 3, 4 ORDER BY sum(input_tokens + output_tokens) DESC LIMIT 1000
"""


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteLedger:
    """Keeps charges in the file at `path`, which is made on first use. Close it, or use it in a `with`."""

    def __init__(self, path: Path, now: Callable[[], datetime] = _now) -> None:
        self._database = SqliteDatabase(path, _MIGRATIONS)
        self._now = now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later calls raise Unavailable."""
        self._database.close()

    async def reserve(self, reservation: Reservation, budgets: Sequence[Budget]) -> None:
        await self._database.write(lambda db: _reserve(db, reservation, budgets, self._now()))

    async def settle(self, principal: str, call_id: str, attempt: int, outcome: Outcome) -> None:
        key = {"principal": principal, "call_id": call_id, "attempt": attempt}
        await self._database.write(lambda db: _settle(db, key, outcome))

    async def spent(self, scope: str) -> list[Spent]:
        periods = periods_of(self._now()).values()
        return await self._database.read(lambda db: [_total(db, scope, period) for period in periods])

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        told = (_text(began(per, self._now())), principal)
        return await self._database.read(lambda db: [Used(*row) for row in db.execute(_USED, told)])

    async def charges(self, principal: str | None = None, *, limit: int = 50) -> list[Charge]:
        query = (
            f"SELECT {_COLUMNS} FROM charges WHERE ?1 IS NULL OR principal = ?1 "  # noqa: S608  # constants only
            "ORDER BY reserved_at DESC LIMIT ?2"
        )
        return await self._database.read(
            lambda db: [_charge(row) for row in db.execute(query, (principal, limit))]
        )

    async def unsettled(self, principal: str | None = None) -> list[Charge]:
        query = (
            f"SELECT {_COLUMNS} FROM charges WHERE state = 'reserved' AND expires_at < ?1 "  # noqa: S608  # constants only
            "AND (?2 IS NULL OR principal = ?2) ORDER BY expires_at DESC LIMIT 1000"
        )
        now = _text(self._now())
        return await self._database.read(lambda db: [_charge(row) for row in db.execute(query, (now, principal))])


def _reserve(db: sqlite3.Connection, reservation: Reservation, budgets: Sequence[Budget], now: datetime) -> None:
    told: dict[str, Any] = {
        "principal": reservation.principal,
        "call_id": reservation.call_id,
        "attempt": reservation.attempt,
        "request_digest": reservation.request_digest,
        "provider": reservation.provider,
        "model": reservation.model,
        "purpose": reservation.purpose,
        "tokens": reservation.tokens,
        "nano_usd": reservation.nano_usd,
        "expires_at": _text(reservation.expires_at),
    }
    other = db.execute(
        "SELECT 1 FROM charges WHERE principal = :principal AND call_id = :call_id "
        "AND request_digest <> :request_digest LIMIT 1",
        told,
    )
    if other.fetchone() is not None:
        raise another_request(reservation.call_id)
    before = db.execute(_HELD, told).fetchone()
    if before is not None and before[4] >= MOST_REPEATS:
        raise too_often(reservation.call_id)
    if before is not None and before[0] != "reserved":
        db.execute(_REPEATED, told)
        return
    _, held_tokens, held_usd, reserved_at, _ = before or ("", 0, 0, _text(now), 0)
    more_tokens, more_usd = reservation.tokens - held_tokens, (reservation.nano_usd or 0) - held_usd
    at = datetime.fromisoformat(reserved_at)
    for budget in budgets:
        spent = _total(db, budget.scope, periods_of(at)[budget.per])
        check_budget(budget, spent, reservation, more_tokens, more_usd)
    db.execute(_RESERVE, {**told, "reserved_at": reserved_at})
    _add(db, reservation.principal, at, more_tokens, more_usd, attempts=0 if before else 1)


def _settle(db: sqlite3.Connection, key: dict[str, Any], outcome: Outcome) -> None:
    before = db.execute(_HELD, key).fetchone()
    if before is None or before[0] != "reserved":
        return
    db.execute(
        _SETTLE,
        {
            **key,
            "state": outcome.state,
            "asked": outcome.input_tokens,
            "answered": outcome.output_tokens,
            "nano_usd": outcome.nano_usd,
            "estimated": outcome.estimated,
        },
    )
    _, held_tokens, held_usd, reserved_at, _ = before
    tokens = outcome.input_tokens + outcome.output_tokens - held_tokens
    usd = (outcome.nano_usd or 0) - held_usd
    _add(db, key["principal"], datetime.fromisoformat(reserved_at), tokens, usd, attempts=0)


def _add(db: sqlite3.Connection, principal: str, at: datetime, tokens: int, nano_usd: int, attempts: int) -> None:
    rows = [
        (scope, period, nano_usd, tokens, attempts)
        for scope in (principal, EVERYBODY)
        for period in periods_of(at).values()
    ]
    db.executemany(_ADD, rows)


def _total(db: sqlite3.Connection, scope: str, period: str) -> Spent:
    query = "SELECT nano_usd, tokens, attempts FROM totals WHERE scope = ? AND period = ?"
    return Spent(scope, period, *(db.execute(query, (scope, period)).fetchone() or (0, 0, 0)))


def _charge(row: tuple[Any, ...]) -> Charge:
    told: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("reserved_at", "expires_at"):
        told[name] = datetime.fromisoformat(told[name])
    return Charge(**{**told, "estimated": bool(told["estimated"])})


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
