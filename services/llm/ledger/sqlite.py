"""The ledger in an SQLite file, shared by the processes of a machine."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantum_suite.services.databases.at_once import AtOnceWriter, ProcessSafeDatabase
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
    day_of,
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
    """
CREATE TABLE folded (
    day TEXT NOT NULL, principal TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL,
    attempts INTEGER NOT NULL, answered INTEGER NOT NULL, cut INTEGER NOT NULL, failed INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, nano_usd INTEGER NOT NULL,
    unpriced INTEGER NOT NULL, estimated INTEGER NOT NULL,
    PRIMARY KEY (day, principal, provider, model, purpose)) STRICT, WITHOUT ROWID;
DROP INDEX charges_by_principal;
DROP INDEX charges_open;
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
_CALL = (
    "SELECT attempt, request_digest, state, output_tokens, coalesce(nano_usd, 0), reserved_at, repeats "
    "FROM charges WHERE principal = :principal AND call_id = :call_id"
)
_HELD = f"SELECT state, output_tokens, coalesce(nano_usd, 0), reserved_at FROM charges WHERE {_KEY}"  # noqa: S608  # constants only
_REPEATED = f"UPDATE charges SET repeats = repeats + 1 WHERE {_KEY}"  # noqa: S608  # constants only
_SETTLE = (
    "UPDATE charges SET state = :state, input_tokens = :asked, output_tokens = :answered, "  # noqa: S608  # constants only
    f"nano_usd = :nano_usd, estimated = :estimated WHERE {_KEY}"
)
_ADD = (
    "INSERT INTO totals VALUES "
    "(?1, ?3, ?5, ?6, ?7), (?1, ?4, ?5, ?6, ?7), (?2, ?3, ?5, ?6, ?7), (?2, ?4, ?5, ?6, ?7) "
    "ON CONFLICT DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd, "
    "tokens = tokens + excluded.tokens, attempts = attempts + excluded.attempts"
)
_SUMS = """count(*) attempts,
    sum(state = 'answered') answered, sum(state = 'cut') cut, sum(state = 'failed') failed,
    sum(input_tokens) input_tokens, sum(output_tokens) output_tokens, sum(coalesce(nano_usd, 0)) nano_usd,
    sum(nano_usd IS NULL) unpriced, sum(estimated AND state <> 'failed') estimated"""
_USED = f"""
SELECT principal, provider, model, purpose, sum(attempts), sum(answered), sum(cut), sum(failed), sum(input_tokens),
    sum(output_tokens), sum(nano_usd), sum(unpriced), sum(estimated)
FROM (
    SELECT principal, provider, model, purpose, {_SUMS} FROM charges
    WHERE reserved_at >= :since AND (:principal IS NULL OR principal = :principal) GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT principal, provider, model, purpose, attempts, answered, cut, failed, input_tokens, output_tokens,
        nano_usd, unpriced, estimated FROM folded
    WHERE day >= :day AND (:principal IS NULL OR principal = :principal))
GROUP BY 1, 2, 3, 4 ORDER BY sum(input_tokens + output_tokens) DESC LIMIT 1000
"""  # noqa: S608  # constants only
_FOLDED_AT_ONCE = 2000
_OLD = "state <> 'reserved' AND reserved_at < ?1 ORDER BY reserved_at, principal, call_id, attempt LIMIT ?2"
_FOLD = f"""
INSERT INTO folded SELECT substr(reserved_at, 1, 10) day, principal, provider, model, purpose, {_SUMS}
FROM (SELECT * FROM charges WHERE {_OLD}) WHERE true GROUP BY 1, 2, 3, 4, 5
ON CONFLICT DO UPDATE SET attempts = attempts + excluded.attempts, answered = answered + excluded.answered,
    cut = cut + excluded.cut, failed = failed + excluded.failed,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
    nano_usd = nano_usd + excluded.nano_usd, unpriced = unpriced + excluded.unpriced,
    estimated = estimated + excluded.estimated
"""  # noqa: S608  # constants only
_FORGET = f"""
DELETE FROM charges
WHERE (principal, call_id, attempt) IN (SELECT principal, call_id, attempt FROM charges WHERE {_OLD})
"""  # noqa: S608  # constants only
_FORGET_DAYS = "DELETE FROM totals WHERE length(period) = 10 AND period < ?"


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteLedger:
    """Keeps charges in the file at `path`, which is made on first use. Close it, or use it in a `with`."""

    def __init__(self, path: Path, now: Callable[[], datetime] = _now) -> None:
        self._database = ProcessSafeDatabase(path, _MIGRATIONS)
        self._writer = AtOnceWriter(self._database)
        self._now = now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; later calls raise Unavailable."""
        self._writer.close()
        self._database.close()

    async def reserve(self, reservation: Reservation, budgets: Sequence[Budget]) -> None:
        await self._writer.write(lambda db: _reserve(db, reservation, budgets, self._now()))

    async def settle(self, principal: str, call_id: str, attempt: int, outcome: Outcome) -> None:
        key = {"principal": principal, "call_id": call_id, "attempt": attempt}
        await self._writer.write(lambda db: _settle(db, key, outcome))

    async def spent(self, scope: str) -> list[Spent]:
        periods = periods_of(self._now()).values()
        return await self._database.read(lambda db: [_total(db, scope, period) for period in periods])

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        since = began(per, self._now())
        told = {"since": _text(since), "day": day_of(since), "principal": principal}
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

    async def fold(self, before: datetime) -> int:
        day = day_of(before)
        found = 0
        while more := await self._database.write(lambda db: _fold(db, day)):
            found += more
        return found


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
    before = None
    for attempt, digest, *held in db.execute(_CALL, told):
        if digest != reservation.request_digest:
            raise another_request(reservation.call_id)
        if attempt == reservation.attempt:
            before = held
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
    _, held_tokens, held_usd, reserved_at = before
    tokens = outcome.input_tokens + outcome.output_tokens - held_tokens
    usd = (outcome.nano_usd or 0) - held_usd
    _add(db, key["principal"], datetime.fromisoformat(reserved_at), tokens, usd, attempts=0)


def _add(db: sqlite3.Connection, principal: str, at: datetime, tokens: int, nano_usd: int, attempts: int) -> None:
    periods = periods_of(at)
    db.execute(_ADD, (principal, EVERYBODY, periods["day"], periods["month"], nano_usd, tokens, attempts))


def _fold(db: sqlite3.Connection, day: str) -> int:
    """Fold the oldest attempts, so few that nobody waits for long; return how many."""
    db.execute(_FOLD, (day, _FOLDED_AT_ONCE))
    gone = db.execute(_FORGET, (day, _FOLDED_AT_ONCE)).rowcount
    if gone < _FOLDED_AT_ONCE:
        db.execute(_FORGET_DAYS, (day,))
    return gone


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
