"""The ledger in memory: for tests, and for a suite that should leave no trace."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TypeVar

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

_Key = tuple[str, str, int]
_Names = TypeVar("_Names", bound=tuple[str, ...])
_COUNTS = tuple(field.name for field in fields(Used) if field.type in (int, "int"))


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryLedger:
    """Holds charges for as long as the process lives."""

    def __init__(self, now: Callable[[], datetime] = _now) -> None:
        self._now = now
        self._charges: dict[_Key, Charge] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._totals: dict[tuple[str, str], Spent] = {}
        self._folded: dict[tuple[str, str, str, str, str], Used] = {}

    async def reserve(self, reservation: Reservation, budgets: Sequence[Budget]) -> None:
        call = (reservation.principal, reservation.call_id)
        if self._digests.get(call, reservation.request_digest) != reservation.request_digest:
            raise another_request(reservation.call_id)
        key = (*call, reservation.attempt)
        before = self._charges.get(key)
        if before is not None and before.repeats >= MOST_REPEATS:
            raise too_often(reservation.call_id)
        if before is not None and before.state != "reserved":
            self._charges[key] = replace(before, repeats=before.repeats + 1)
            return
        more_tokens = reservation.tokens - (before.output_tokens if before else 0)
        more_usd = (reservation.nano_usd or 0) - ((before.nano_usd or 0) if before else 0)
        at = before.reserved_at if before else self._now()
        for budget in budgets:
            spent = self._total(budget.scope, periods_of(at)[budget.per])
            check_budget(budget, spent, reservation, more_tokens, more_usd)
        self._digests[call] = reservation.request_digest
        self._charges[key] = Charge(
            *key,
            provider=reservation.provider,
            model=reservation.model,
            purpose=reservation.purpose,
            state="reserved",
            input_tokens=0,
            output_tokens=reservation.tokens,
            nano_usd=reservation.nano_usd,
            estimated=True,
            repeats=before.repeats + 1 if before else 0,
            reserved_at=at,
            expires_at=reservation.expires_at,
        )
        self._add(reservation.principal, at, more_tokens, more_usd, attempts=0 if before else 1)

    async def settle(self, principal: str, call_id: str, attempt: int, outcome: Outcome) -> None:
        key = (principal, call_id, attempt)
        before = self._charges.get(key)
        if before is None or before.state != "reserved":
            return
        self._charges[key] = replace(
            before,
            state=outcome.state,
            input_tokens=outcome.input_tokens,
            output_tokens=outcome.output_tokens,
            nano_usd=outcome.nano_usd,
            estimated=outcome.estimated,
        )
        tokens = outcome.input_tokens + outcome.output_tokens - before.output_tokens
        self._add(
            principal, before.reserved_at, tokens, (outcome.nano_usd or 0) - (before.nano_usd or 0), attempts=0
        )

    async def spent(self, scope: str) -> list[Spent]:
        return [self._total(scope, period) for period in periods_of(self._now()).values()]

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        since = began(per, self._now())
        groups: dict[tuple[str, str, str, str], list[Charge]] = {}
        for one in self._charges.values():
            if principal in (None, one.principal) and one.reserved_at >= since:
                groups.setdefault(_names(one), []).append(one)
        sums = {names: _used(names, charges) for names, charges in groups.items()}
        for (day, *_), folded in self._folded.items():
            if day >= day_of(since) and principal in (None, folded.principal):
                _sum_up(sums, _names(folded), folded)
        return sorted(sums.values(), key=lambda one: one.input_tokens + one.output_tokens, reverse=True)

    async def charges(self, principal: str | None = None, *, limit: int = 50) -> list[Charge]:
        found = [one for one in self._charges.values() if principal in (None, one.principal)]
        return sorted(found, key=lambda one: one.reserved_at, reverse=True)[:limit]

    async def unsettled(self, principal: str | None = None) -> list[Charge]:
        now = self._now()
        found = await self.charges(principal, limit=len(self._charges))
        return [one for one in found if one.state == "reserved" and one.expires_at < now]

    async def fold(self, before: datetime) -> int:
        day = day_of(before)
        old = [
            (key, one)
            for key, one in self._charges.items()
            if one.state != "reserved" and day_of(one.reserved_at) < day
        ]
        for key, one in old:
            _sum_up(self._folded, (day_of(one.reserved_at), *_names(one)), _used(_names(one), [one]))
            del self._charges[key]
        calls = {key[:2] for key in self._charges}
        self._digests = {call: digest for call, digest in self._digests.items() if call in calls}
        self._totals = {
            names: spent for names, spent in self._totals.items() if len(names[1]) < len(day) or names[1] >= day
        }
        return len(old)

    def _total(self, scope: str, period: str) -> Spent:
        return self._totals.get((scope, period)) or Spent(scope, period, 0, 0, 0)

    def _add(self, principal: str, at: datetime, tokens: int, nano_usd: int, attempts: int) -> None:
        for scope in (principal, EVERYBODY):
            for period in periods_of(at).values():
                before = self._total(scope, period)
                self._totals[scope, period] = Spent(
                    scope, period, before.nano_usd + nano_usd, before.tokens + tokens, before.attempts + attempts
                )


def _names(one: Charge | Used) -> tuple[str, str, str, str]:
    return one.principal, one.provider, one.model, one.purpose


def _sum_up(sums: dict[_Names, Used], names: _Names, more: Used) -> None:
    """Add to a sum, whose counts are all that is not a name."""
    if (before := sums.get(names)) is not None:
        added = {name: getattr(before, name) + getattr(more, name) for name in _COUNTS}
        more = replace(before, **added)
    sums[names] = more


def _used(names: tuple[str, str, str, str], charges: Sequence[Charge]) -> Used:
    states = Counter(one.state for one in charges)
    return Used(
        *names,
        attempts=len(charges),
        answered=states["answered"],
        cut=states["cut"],
        failed=states["failed"],
        input_tokens=sum(one.input_tokens for one in charges),
        output_tokens=sum(one.output_tokens for one in charges),
        nano_usd=sum(one.nano_usd or 0 for one in charges),
        unpriced=sum(one.nano_usd is None for one in charges),
        estimated=sum(one.estimated and one.state != "failed" for one in charges),
    )
