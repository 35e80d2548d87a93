"""The ledger in PostgreSQL, shared by the hubs of several machines."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
from psycopg import AsyncConnection

from quantum_suite.services.databases.postgres import PostgresDatabase
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

_COLUMNS = (
    "principal, call_id, attempt, provider, model, purpose, state, input_tokens, output_tokens, nano_usd, "
    "estimated, repeats, reserved_at, expires_at"
)
_KEY = "principal = %(principal)s AND call_id = %(call_id)s AND attempt = %(attempt)s"
_LOCK_CALL = "SELECT pg_advisory_xact_lock(hashtextextended(%(principal)s || ' ' || %(call_id)s, 0))"
_CALL = """
SELECT attempt, request_digest, state, output_tokens, coalesce(nano_usd, 0), reserved_at, repeats
FROM model_charges WHERE principal = %(principal)s AND call_id = %(call_id)s FOR UPDATE
"""
_RESERVE = """
INSERT INTO model_charges AS held
VALUES (%(principal)s, %(call_id)s, %(attempt)s, %(request_digest)s, %(provider)s, %(model)s, %(purpose)s,
    'reserved', 0, %(tokens)s, %(nano_usd)s, true, 0, %(reserved_at)s, %(expires_at)s)
ON CONFLICT (principal, call_id, attempt) DO UPDATE SET provider = excluded.provider, model = excluded.model,
    output_tokens = excluded.output_tokens, nano_usd = excluded.nano_usd, repeats = held.repeats + 1,
    expires_at = excluded.expires_at
"""
_REPEATED = f"UPDATE model_charges SET repeats = repeats + 1 WHERE {_KEY}"  # noqa: S608  # constants only
_HELD = f"""
SELECT state, output_tokens, coalesce(nano_usd, 0), reserved_at FROM model_charges WHERE {_KEY} FOR UPDATE
"""  # noqa: S608  # constants only
_SETTLE = f"""
UPDATE model_charges SET state = %(state)s, input_tokens = %(asked)s, output_tokens = %(answered)s,
    nano_usd = %(nano_usd)s, estimated = %(estimated)s WHERE {_KEY}
"""  # noqa: S608  # constants only
# Whoever adds holds these rows until the transaction ends, always in this order: nobody else looks at the budgets
# meanwhile, and nobody waits in a circle.
_ADD = """
INSERT INTO model_totals AS held (scope, period, nano_usd, tokens, attempts) VALUES
    (%(principal)s, %(day)s, %(nano_usd)s, %(tokens)s, %(attempts)s),
    (%(principal)s, %(month)s, %(nano_usd)s, %(tokens)s, %(attempts)s),
    (%(everybody)s, %(day)s, %(nano_usd)s, %(tokens)s, %(attempts)s),
    (%(everybody)s, %(month)s, %(nano_usd)s, %(tokens)s, %(attempts)s)
ON CONFLICT (scope, period) DO UPDATE SET nano_usd = held.nano_usd + excluded.nano_usd,
    tokens = held.tokens + excluded.tokens, attempts = held.attempts + excluded.attempts
RETURNING scope, period, nano_usd, tokens, attempts
"""
_SPENT = """
SELECT scope, period, nano_usd, tokens, attempts FROM model_totals
WHERE scope = %(scope)s AND period = ANY(%(periods)s)
"""
_SUMS = """count(*) AS attempts, count(*) FILTER (WHERE state = 'answered') AS answered,
    count(*) FILTER (WHERE state = 'cut') AS cut, count(*) FILTER (WHERE state = 'failed') AS failed,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(coalesce(nano_usd, 0)) AS nano_usd,
    count(*) FILTER (WHERE nano_usd IS NULL) AS unpriced,
    count(*) FILTER (WHERE estimated AND state <> 'failed') AS estimated"""
_OF_PRINCIPAL = "(%(principal)s::text IS NULL OR principal = %(principal)s)"
_USED = f"""
SELECT principal, provider, model, purpose, sum(attempts)::bigint, sum(answered)::bigint, sum(cut)::bigint,
    sum(failed)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(nano_usd)::bigint,
    sum(unpriced)::bigint, sum(estimated)::bigint
FROM (
    SELECT principal, provider, model, purpose, {_SUMS} FROM model_charges
    WHERE reserved_at >= %(since)s AND {_OF_PRINCIPAL} GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT principal, provider, model, purpose, attempts, answered, cut, failed, input_tokens, output_tokens,
        nano_usd, unpriced, estimated FROM model_charges_folded
    WHERE day >= %(day)s AND {_OF_PRINCIPAL}) AS counted
GROUP BY 1, 2, 3, 4 ORDER BY sum(input_tokens + output_tokens) DESC LIMIT 1000
"""  # noqa: S608  # constants only
_CHARGES = f"""
SELECT {_COLUMNS} FROM model_charges WHERE {_OF_PRINCIPAL} ORDER BY reserved_at DESC LIMIT %(limit)s
"""  # noqa: S608  # constants only
_UNSETTLED = f"""
SELECT {_COLUMNS} FROM model_charges WHERE state = 'reserved' AND expires_at < %(now)s AND {_OF_PRINCIPAL}
ORDER BY expires_at DESC LIMIT 1000
"""  # noqa: S608  # constants only
_FOLDED_AT_ONCE = 2000
_FOLD = f"""
WITH old AS (
    DELETE FROM model_charges WHERE (principal, call_id, attempt) IN (
        SELECT principal, call_id, attempt FROM model_charges
        WHERE state <> 'reserved' AND reserved_at < %(before)s
        ORDER BY reserved_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING *
), kept AS (
    INSERT INTO model_charges_folded AS held
    SELECT (reserved_at AT TIME ZONE 'UTC')::date::text, principal, provider, model, purpose, {_SUMS}
    FROM old GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (day, principal, provider, model, purpose) DO UPDATE SET
        attempts = held.attempts + excluded.attempts, answered = held.answered + excluded.answered,
        cut = held.cut + excluded.cut, failed = held.failed + excluded.failed,
        input_tokens = held.input_tokens + excluded.input_tokens,
        output_tokens = held.output_tokens + excluded.output_tokens, nano_usd = held.nano_usd + excluded.nano_usd,
        unpriced = held.unpriced + excluded.unpriced, estimated = held.estimated + excluded.estimated
)
SELECT count(*) FROM old
"""  # noqa: S608  # constants only
_FORGET_DAYS = "DELETE FROM model_totals WHERE length(period) = 10 AND period < %(day)s"


def _now() -> datetime:
    return datetime.now(UTC)


class PostgresLedger:
    """Keeps charges in the suite's schema. Whoever opened the database closes it."""

    def __init__(self, database: PostgresDatabase, now: Callable[[], datetime] = _now) -> None:
        self._database = database
        self._now = now

    async def reserve(self, reservation: Reservation, budgets: Sequence[Budget]) -> None:
        # Who is cancelled has to know what became of it all the same.
        with anyio.CancelScope(shield=True):
            async with self._database.connection() as connection, connection.transaction():
                await _reserve(connection, reservation, budgets, self._now())

    async def settle(self, principal: str, call_id: str, attempt: int, outcome: Outcome) -> None:
        key = {"principal": principal, "call_id": call_id, "attempt": attempt}
        async with self._database.connection() as connection, connection.transaction():
            await _settle(connection, key, outcome)

    async def spent(self, scope: str) -> list[Spent]:
        periods = list(periods_of(self._now()).values())
        rows = await self._rows(_SPENT, {"scope": scope, "periods": periods})
        found = {row[1]: Spent(*row) for row in rows}
        return [found.get(period) or Spent(scope, period, 0, 0, 0) for period in periods]

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        since = began(per, self._now())
        told = {"since": since, "day": day_of(since), "principal": principal}
        return [Used(*row) for row in await self._rows(_USED, told)]

    async def charges(self, principal: str | None = None, *, limit: int = 50) -> list[Charge]:
        return [_charge(row) for row in await self._rows(_CHARGES, {"principal": principal, "limit": limit})]

    async def unsettled(self, principal: str | None = None) -> list[Charge]:
        told = {"principal": principal, "now": self._now()}
        return [_charge(row) for row in await self._rows(_UNSETTLED, told)]

    async def fold(self, before: datetime) -> int:
        midnight = began("day", before)
        found = 0
        while True:
            ((more,),) = await self._rows(_FOLD, {"before": midnight, "limit": _FOLDED_AT_ONCE})
            found += int(more)
            if not more:
                break
        async with self._database.connection() as connection:
            await connection.execute(_FORGET_DAYS, {"day": day_of(midnight)})
        return found

    async def _rows(self, query: str, told: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._database.connection() as connection:
            return await (await connection.execute(query, told)).fetchall()


async def _reserve(
    connection: AsyncConnection[Any], reservation: Reservation, budgets: Sequence[Budget], now: datetime
) -> None:
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
        "expires_at": reservation.expires_at,
    }
    await connection.execute(_LOCK_CALL, told)
    before = None
    for attempt, digest, *held in await (await connection.execute(_CALL, told)).fetchall():
        if digest != reservation.request_digest:
            raise another_request(reservation.call_id)
        if attempt == reservation.attempt:
            before = held
    if before is not None and before[4] >= MOST_REPEATS:
        raise too_often(reservation.call_id)
    if before is not None and before[0] != "reserved":
        await connection.execute(_REPEATED, told)
        return
    _, held_tokens, held_usd, at, _ = before or ("", 0, 0, now, 0)
    more_tokens, more_usd = reservation.tokens - held_tokens, (reservation.nano_usd or 0) - held_usd
    await connection.execute(_RESERVE, {**told, "reserved_at": at})
    # Added first, looked at then: by whom a budget is passed, all of this is undone.
    totals = await _add(connection, reservation.principal, at, more_tokens, more_usd, 0 if before else 1)
    for budget in budgets:
        after = totals[budget.scope, periods_of(at)[budget.per]]
        spent = Spent(after.scope, after.period, after.nano_usd - more_usd, after.tokens - more_tokens, 0)
        check_budget(budget, spent, reservation, more_tokens, more_usd)


async def _settle(connection: AsyncConnection[Any], key: dict[str, Any], outcome: Outcome) -> None:
    before = await (await connection.execute(_HELD, key)).fetchone()
    if before is None or before[0] != "reserved":
        return
    took = {
        "state": outcome.state,
        "asked": outcome.input_tokens,
        "answered": outcome.output_tokens,
        "nano_usd": outcome.nano_usd,
        "estimated": outcome.estimated,
    }
    await connection.execute(_SETTLE, {**key, **took})
    _, held_tokens, held_usd, at = before
    tokens = outcome.input_tokens + outcome.output_tokens - held_tokens
    await _add(connection, key["principal"], at, tokens, (outcome.nano_usd or 0) - held_usd, 0)


async def _add(
    connection: AsyncConnection[Any], principal: str, at: datetime, tokens: int, nano_usd: int, attempts: int
) -> dict[tuple[str, str], Spent]:
    periods = periods_of(at)
    told = {
        "principal": principal,
        "everybody": EVERYBODY,
        "day": periods["day"],
        "month": periods["month"],
        "tokens": tokens,
        "nano_usd": nano_usd,
        "attempts": attempts,
    }
    rows = await (await connection.execute(_ADD, told)).fetchall()
    return {(row[0], row[1]): Spent(*row) for row in rows}


def _charge(row: tuple[Any, ...]) -> Charge:
    told: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("reserved_at", "expires_at"):
        told[name] = told[name].astimezone(UTC)
    return Charge(**told)
