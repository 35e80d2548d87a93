"""The port to the ledger: every attempt is reserved before it is made, and settled after."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from quantum_suite.core.errors import Conflict, Refused

NANO = 1_000_000_000
EVERYBODY = "*"
"""The scope of totals over all principals."""

MOST_REPEATS = 10
"""How often one attempt is made again without a further charge: enough for any number of crashes."""

Period = Literal["day", "month"]
State = Literal["reserved", "answered", "cut", "failed"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a principal, or everybody together, may spend in a period (UTC)."""

    scope: str
    """A principal's id, or `EVERYBODY`."""
    per: Period
    nano_usd: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """An attempt about to be made, at its upper estimate."""

    principal: str
    call_id: str
    attempt: int
    """From 1, counted over providers and rounds."""
    request_digest: str
    provider: str
    model: str
    purpose: str
    tokens: int
    """Sent and received, not to be exceeded."""
    nano_usd: int | None
    """None where no price is known: refused where a budget is in dollars."""
    expires_at: datetime
    """When the attempt has ended for certain: what is not settled by then never will be."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt took in the end."""

    state: Literal["answered", "cut", "failed"]
    """`cut`: a part of an answer came and is charged; `failed`: nothing came and nothing is charged."""
    input_tokens: int
    output_tokens: int
    nano_usd: int | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class Charge:
    """An attempt as the ledger has it."""

    principal: str
    call_id: str
    attempt: int
    provider: str
    model: str
    purpose: str
    state: State
    input_tokens: int
    output_tokens: int
    """Of a reservation: everything it holds back, counted as received."""
    nano_usd: int | None
    estimated: bool
    repeats: int
    """How often it was made again under its call id, without a further charge."""
    reserved_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent in a period, reservations included."""

    scope: str
    period: str
    """`2026-11-24` or `2026-11`."""
    nano_usd: int
    tokens: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Used:
    """What a principal used of a model for a purpose in a period."""

    principal: str
    provider: str
    model: str
    purpose: str
    attempts: int
    answered: int
    cut: int
    failed: int
    input_tokens: int
    output_tokens: int
    """What is reserved and not settled counts here."""
    nano_usd: int
    unpriced: int
    """Charged attempts whose price nobody knows: not in `nano_usd`."""
    estimated: int
    """Attempts whose tokens are estimates."""


class Ledger(Protocol):
    """Keeps charges. What `reserve` and `settle` have returned survives the process; several may use one ledger,
    and no two of them together pass a budget. Raises Unavailable while the database is away.

    A reservation stands until it is settled: one that nobody settles stays charged as it was estimated.
    """

    async def reserve(self, reservation: Reservation, budgets: Sequence[Budget]) -> None:
        """Hold back an upper estimate. Raises Refused where a budget does not cover it: then nothing is held.

        Reserved again under the same principal, call id and attempt, nothing is charged a second time. Raises
        Conflict when the call id stands for another request, and after `MOST_REPEATS`: the provider bills each.
        """
        ...

    async def settle(self, principal: str, call_id: str, attempt: int, outcome: Outcome) -> None:
        """Replace a reservation by what was taken. A second settling changes nothing."""
        ...

    async def spent(self, scope: str) -> list[Spent]:
        """Return what a principal, or `EVERYBODY`, spent today and this month."""
        ...

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        """Return what a principal, or everybody, used this day or month, what took most tokens first."""
        ...

    async def charges(self, principal: str | None = None, *, limit: int = 50) -> list[Charge]:
        """Return the newest attempts, of one principal or of all."""
        ...

    async def unsettled(self, principal: str | None = None) -> list[Charge]:
        """Return reservations that expired: attempts whose process ended first, charged as estimated."""
        ...

    async def fold(self, before: datetime) -> int:
        """Replace the settled attempts of the days (UTC) before that of `before` by sums, and return how many.

        Sums are kept a day, principal, model and purpose: what is spent and used stays exact. Charges and call ids
        are forgotten.
        """
        ...


def periods_of(moment: datetime) -> dict[Period, str]:
    """Return the names of the day and the month a moment is in."""
    day = day_of(moment)
    return {"day": day, "month": day[:7]}


def day_of(moment: datetime) -> str:
    """Return the name of the day a moment is in."""
    return moment.astimezone(UTC).date().isoformat()


def began(per: Period, moment: datetime) -> datetime:
    """Return when the day or the month began that a moment is in."""
    midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if per == "day" else midnight.replace(day=1)


def check_budget(budget: Budget, spent: Spent, reservation: Reservation, more_tokens: int, more_usd: int) -> None:
    """Raise Refused where what is spent and what is to be held back pass a budget."""
    who = "everybody together" if budget.scope == EVERYBODY else budget.scope
    again = f"It begins anew with the next {budget.per} (UTC), or raise it in providers.yaml."
    if budget.tokens is not None and spent.tokens + more_tokens > budget.tokens:
        raise Refused(
            f"The budget of {who} for this {budget.per} is {budget.tokens} tokens; {spent.tokens} are spent, "
            f"and this may take {more_tokens} more.",
            again,
        )
    if budget.nano_usd is None:
        return
    if reservation.nano_usd is None:
        raise Refused(
            f"No price is known for {reservation.provider}/{reservation.model}, and a budget is in US dollars.",
            "Give the model a price in providers.yaml.",
        )
    if spent.nano_usd + more_usd > budget.nano_usd:
        raise Refused(
            f"The budget of {who} for this {budget.per} is ${budget.nano_usd / NANO:.2f}; "
            f"${spent.nano_usd / NANO:.4f} are spent, and this may take ${more_usd / NANO:.4f} more.",
            again,
        )


def another_request(call_id: str) -> Conflict:
    """Return the error for a call id that was used for something else."""
    return Conflict(f"The call id '{call_id}' stands for another request.", "Use a new one.", argument="call_id")


def too_often(call_id: str) -> Conflict:
    """Return the error for a call id that was used again and again."""
    return Conflict(
        f"The call '{call_id}' was made {MOST_REPEATS + 1} times.",
        "Use a new call id: each time is billed by the provider.",
        argument="call_id",
    )
