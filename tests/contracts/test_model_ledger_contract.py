"""What every ledger of model calls promises."""

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from reference.ledger_spender import HELD, TOOK

from quantum_suite.core.errors import Conflict, Refused, Unavailable
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.llm.ledger.folding import fold_again_and_again
from quantum_suite.services.llm.ledger.interface import (
    EVERYBODY,
    MOST_REPEATS,
    Budget,
    Ledger,
    Outcome,
    Reservation,
)
from quantum_suite.services.llm.ledger.memory import MemoryLedger
from quantum_suite.services.llm.ledger.postgres import PostgresLedger
from quantum_suite.services.llm.ledger.sqlite import SqliteLedger

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Clock:
    """Time as the test sets it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Ledger]:
    if request.param == "memory":
        yield MemoryLedger(clock)
    elif request.param == "sqlite":
        with SqliteLedger(tmp_path / "ledger.db", clock) as opened:
            yield opened
    else:
        async with open_postgres(request.getfixturevalue("postgres_url")) as database:
            yield PostgresLedger(database, clock)


def held(call: str = "c1", tokens: int = 100, nano_usd: int | None = 1000, **more: object) -> Reservation:
    given: dict[str, object] = {
        "principal": "ann",
        "attempt": 1,
        "request_digest": "d",
        "expires_at": NOON + timedelta(minutes=3),
    }
    given.update(more)
    return Reservation(
        call_id=call,
        provider="local",
        model="m",
        purpose="p",
        tokens=tokens,
        nano_usd=nano_usd,
        **given,  # type: ignore[arg-type]  # named by the test
    )


def took(asked: int = 10, answered: int = 20, nano_usd: int | None = 300, state: str = "answered") -> Outcome:
    return Outcome(state, asked, answered, nano_usd, False)  # type: ignore[arg-type]  # one of the three


async def spent(ledger: Ledger, scope: str = "ann") -> tuple[int, int, int]:
    day, month = await ledger.spent(scope)
    assert (day.period, month.period) == ("2026-11-27", "2026-11")
    assert (day.tokens, day.nano_usd, day.attempts) == (month.tokens, month.nano_usd, month.attempts)
    return day.tokens, day.nano_usd, day.attempts


async def test_what_is_reserved_counts_until_it_is_settled_by_what_was_taken(ledger: Ledger) -> None:
    assert await spent(ledger) == (0, 0, 0)
    await ledger.reserve(held(), [])
    assert await spent(ledger) == (100, 1000, 1)
    assert await spent(ledger, EVERYBODY) == (100, 1000, 1)
    await ledger.settle("ann", "c1", 1, took())
    assert await spent(ledger) == (30, 300, 1)
    assert await spent(ledger, EVERYBODY) == (30, 300, 1)
    (charge,) = await ledger.charges("ann")
    assert (charge.state, charge.input_tokens, charge.output_tokens, charge.nano_usd) == ("answered", 10, 20, 300)
    assert charge.reserved_at == NOON


async def test_a_second_settling_changes_nothing(ledger: Ledger) -> None:
    await ledger.reserve(held(), [])
    await ledger.settle("ann", "c1", 1, took())
    await ledger.settle("ann", "c1", 1, took(1000, 1000, 9999, "cut"))
    await ledger.settle("ann", "never reserved", 1, took())
    assert await spent(ledger) == (30, 300, 1)
    assert len(await ledger.charges()) == 1


async def test_a_failure_gives_back_what_was_held(ledger: Ledger) -> None:
    await ledger.reserve(held(), [])
    await ledger.settle("ann", "c1", 1, took(0, 0, 0, "failed"))
    assert await spent(ledger) == (0, 0, 1)


@pytest.mark.parametrize("scope", ["ann", EVERYBODY])
async def test_a_budget_in_tokens_refuses_beforehand_and_then_nothing_is_held(ledger: Ledger, scope: str) -> None:
    budget = Budget(scope, "day", None, 150)
    await ledger.reserve(held("c1"), [budget])
    with pytest.raises(Refused, match=r"150 tokens; 100 are spent, and this may take 100 more"):
        await ledger.reserve(held("c2"), [budget])
    assert await spent(ledger) == (100, 1000, 1)
    await ledger.settle("ann", "c1", 1, took())
    await ledger.reserve(held("c2"), [budget])
    assert await spent(ledger) == (130, 1300, 2)


async def test_a_budget_in_dollars_refuses_beforehand_also_what_has_no_price(ledger: Ledger) -> None:
    budget = Budget("ann", "month", 1500, None)
    await ledger.reserve(held("c1"), [budget])
    with pytest.raises(Refused, match=r"is \$0\.00"):
        await ledger.reserve(held("c2"), [budget])
    with pytest.raises(Refused, match="No price is known for local/m"):
        await ledger.reserve(held("c2", nano_usd=None), [budget])
    await ledger.reserve(held("c3", nano_usd=None), [])


async def test_the_budget_of_one_is_not_anothers(ledger: Ledger) -> None:
    await ledger.reserve(held("c1", principal="bob"), [Budget("bob", "day", None, 150)])
    await ledger.reserve(held("c1"), [Budget("ann", "day", None, 150)])
    with pytest.raises(Refused, match="everybody together"):
        await ledger.reserve(held("c2"), [Budget("ann", "day", None, 1000), Budget(EVERYBODY, "day", None, 250)])


async def test_a_budget_begins_anew_with_the_next_day_and_the_next_month(ledger: Ledger, clock: Clock) -> None:
    daily, monthly = Budget("ann", "day", None, 150), Budget("ann", "month", None, 250)
    await ledger.reserve(held("c1"), [daily, monthly])
    clock.now = NOON + timedelta(days=1)
    await ledger.reserve(held("c2"), [daily, monthly])
    clock.now = NOON + timedelta(days=2)
    with pytest.raises(Refused, match="this month is 250 tokens"):
        await ledger.reserve(held("c3"), [daily, monthly])
    clock.now = NOON + timedelta(days=5)
    await ledger.reserve(held("c3"), [daily, monthly])


async def test_an_attempt_made_again_under_its_id_is_charged_once(ledger: Ledger) -> None:
    await ledger.reserve(held(), [Budget("ann", "day", None, 150)])
    await ledger.reserve(held(), [Budget("ann", "day", None, 150)])
    assert await spent(ledger) == (100, 1000, 1)
    await ledger.settle("ann", "c1", 1, took())
    await ledger.reserve(held(), [Budget("ann", "day", None, 1)])
    await ledger.settle("ann", "c1", 1, took())
    assert await spent(ledger) == (30, 300, 1)
    (charge,) = await ledger.charges()
    assert (charge.state, charge.repeats) == ("answered", 2)


async def test_a_reservation_made_again_may_hold_more_or_less(ledger: Ledger) -> None:
    await ledger.reserve(held(tokens=100), [])
    await ledger.reserve(held(tokens=40, nano_usd=None), [])
    assert await spent(ledger) == (40, 0, 1)
    with pytest.raises(Refused, match="may take 460 more"):
        await ledger.reserve(held(tokens=500), [Budget("ann", "day", None, 450)])
    assert await spent(ledger) == (40, 0, 1)


async def test_a_call_id_stands_for_one_request_and_not_for_ever(ledger: Ledger) -> None:
    await ledger.reserve(held(), [])
    with pytest.raises(Conflict, match="stands for another request") as refused:
        await ledger.reserve(held(request_digest="other"), [])
    assert refused.value.argument == "call_id"
    with pytest.raises(Conflict):
        await ledger.reserve(held(request_digest="other", attempt=2), [])
    await ledger.settle("ann", "c1", 1, took())
    for _ in range(MOST_REPEATS):
        await ledger.reserve(held(), [])
    with pytest.raises(Conflict, match="was made 11 times"):
        await ledger.reserve(held(), [])


async def test_attempts_of_one_call_are_charged_each(ledger: Ledger) -> None:
    await ledger.reserve(held(attempt=1), [])
    await ledger.settle("ann", "c1", 1, took(5, 0, 50, "cut"))
    await ledger.reserve(held(attempt=2), [])
    await ledger.settle("ann", "c1", 2, took())
    assert await spent(ledger) == (35, 350, 2)


async def test_what_was_never_settled_is_found_once_it_has_expired(ledger: Ledger, clock: Clock) -> None:
    await ledger.reserve(held("lost"), [])
    await ledger.reserve(held("done"), [])
    await ledger.settle("ann", "done", 1, took())
    assert await ledger.unsettled() == []
    clock.now = NOON + timedelta(minutes=4)
    assert [one.call_id for one in await ledger.unsettled("ann")] == ["lost"]
    assert await ledger.unsettled("bob") == []
    # Nobody knows what it took: it stays charged at its most.
    assert await spent(ledger) == (130, 1300, 2)


async def test_usage_is_summed_up_by_principal_model_and_purpose(ledger: Ledger, clock: Clock) -> None:
    clock.now = NOON - timedelta(days=1)
    await ledger.reserve(held("y"), [])
    await ledger.settle("ann", "y", 1, took())
    clock.now = NOON
    await ledger.reserve(held("a"), [])
    await ledger.settle("ann", "a", 1, took())
    await ledger.reserve(held("b"), [])
    await ledger.settle("ann", "b", 1, took(7, 0, None, "cut"))
    await ledger.reserve(held("c"), [])
    await ledger.settle("ann", "c", 1, took(0, 0, 0, "failed"))
    await ledger.reserve(held("d", principal="bob"), [])
    bobs, anns = await ledger.used("day")
    assert (bobs.principal, bobs.attempts, bobs.output_tokens, bobs.estimated) == ("bob", 1, 100, 1)
    assert (anns.attempts, anns.answered, anns.cut, anns.failed) == (3, 1, 1, 1)
    assert (anns.input_tokens, anns.output_tokens, anns.nano_usd, anns.unpriced) == (17, 20, 300, 1)
    assert [one.attempts for one in await ledger.used("month", "ann")] == [4]


async def test_the_newest_charges_come_first_and_no_more_than_asked(ledger: Ledger, clock: Clock) -> None:
    for number in range(5):
        clock.now = NOON + timedelta(seconds=number)
        await ledger.reserve(held(f"c{number}"), [])
    assert [one.call_id for one in await ledger.charges(limit=2)] == ["c4", "c3"]


async def test_callers_at_once_do_not_pass_a_budget_together(ledger: Ledger) -> None:
    refused = 0

    async def one(number: int) -> None:
        nonlocal refused
        try:
            await ledger.reserve(held(f"c{number}"), [Budget("ann", "day", None, 450)])
        except Refused:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(one, number)
    assert refused == 6
    assert await spent(ledger) == (400, 4000, 4)


async def some_days(ledger: Ledger, clock: Clock) -> None:
    """Charge a little of everything on each of ten days until now."""
    for number in range(10):
        clock.now = NOON - timedelta(days=9 - number)
        for call, outcome in (
            ("a", took()),
            ("b", took(7, 0, None, "cut")),
            ("c", took(0, 0, 0, "failed")),
        ):
            await ledger.reserve(held(f"{call}{number}"), [])
            await ledger.settle("ann", f"{call}{number}", 1, outcome)
        await ledger.reserve(held(f"d{number}", principal="bob"), [])
        await ledger.settle("bob", f"d{number}", 1, took(1, 1, 1))


async def accounts(ledger: Ledger) -> list[object]:
    """Return all that reports and budgets go by."""
    return [
        *[await ledger.used(per, who) for per in ("day", "month") for who in (None, "ann", "bob")],
        *[await ledger.spent(scope) for scope in ("ann", "bob", EVERYBODY)],
    ]


async def test_what_is_folded_leaves_every_sum_as_it_was(ledger: Ledger, clock: Clock) -> None:
    await some_days(ledger, clock)
    before = await accounts(ledger)
    assert len(await ledger.charges(limit=100)) == 40
    # Seven whole days, in two steps, the second of which adds to no day of the first.
    assert await ledger.fold(NOON - timedelta(days=6)) == 12
    assert await accounts(ledger) == before
    assert await ledger.fold(NOON - timedelta(days=2)) == 16
    assert await ledger.fold(NOON - timedelta(days=2)) == 0
    assert await accounts(ledger) == before
    assert len(await ledger.charges(limit=100)) == 12
    with pytest.raises(Refused, match="this month is 400 tokens; 370 are spent"):
        await ledger.reserve(held("more"), [Budget("ann", "month", None, 400)])


async def test_what_is_open_is_never_folded_and_a_late_attempt_joins_its_days_sum(
    ledger: Ledger, clock: Clock
) -> None:
    clock.now = NOON - timedelta(days=5)
    await ledger.reserve(held("slow", expires_at=NOON - timedelta(days=4)), [])
    await ledger.reserve(held("done"), [])
    await ledger.settle("ann", "done", 1, took())
    clock.now = NOON
    assert await ledger.fold(NOON) == 1
    assert [one.call_id for one in await ledger.unsettled()] == ["slow"]
    await ledger.settle("ann", "slow", 1, took())
    assert await ledger.fold(NOON) == 1
    (sums,) = await ledger.used("month")
    assert (sums.attempts, sums.answered, sums.input_tokens, sums.nano_usd) == (2, 2, 20, 600)
    assert (await ledger.spent("ann"))[1].tokens == 60


async def test_a_call_id_is_free_again_once_its_charge_is_folded(ledger: Ledger, clock: Clock) -> None:
    clock.now = NOON - timedelta(days=3)
    await ledger.reserve(held(), [])
    await ledger.settle("ann", "c1", 1, took())
    clock.now = NOON
    await ledger.fold(NOON)
    await ledger.reserve(held(request_digest="other"), [])
    assert (await ledger.spent("ann"))[1].tokens == 130


async def test_folding_goes_on_and_says_what_kept_it_from_doing_so(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now = datetime.now(UTC) - timedelta(days=20)
    await ledger.reserve(held("old"), [])
    await ledger.settle("ann", "old", 1, took())
    away = iter([Unavailable("The database is away.")])
    fold = ledger.fold

    class Flaky(MemoryLedger):
        async def fold(self, before: datetime) -> int:
            if (error := next(away, None)) is not None:
                raise error
            return await fold(before)

    caplog.set_level("INFO", logger="quantum_suite.services.llm.ledger.folding")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(fold_again_and_again, Flaky(), 10, pause_seconds=0))
        with anyio.fail_after(50):
            while await ledger.charges():
                await anyio.lowlevel.checkpoint()
            while "Folded 1 charges" not in caplog.text:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert "are folded later: The database is away." in caplog.text


async def test_two_hubs_on_one_postgresql_do_not_pass_a_budget_together(postgres_url: str) -> None:
    refused = 0

    async def one(ledger: Ledger, name: str, principal: str) -> None:
        nonlocal refused
        try:
            await ledger.reserve(held(name, principal=principal), [Budget(EVERYBODY, "day", None, 1050)])
            await ledger.settle(principal, name, 1, took(50, 0, 50))
        except Refused:
            refused += 1

    async with (
        open_postgres(postgres_url) as here,
        open_postgres(postgres_url) as there,
        anyio.create_task_group() as tasks,
    ):
        ledgers = [PostgresLedger(here), PostgresLedger(there)]
        for number in range(40):
            tasks.start_soon(one, ledgers[number % 2], f"c{number}", ("ann", "bob", "cleo")[number % 3])
    async with open_postgres(postgres_url) as database:
        (day, month) = await PostgresLedger(database).spent(EVERYBODY)
    assert refused
    assert (day.tokens, day.attempts) == ((40 - refused) * 50, 40 - refused) == (month.tokens, month.attempts)
    assert day.tokens <= 1050


async def test_one_attempt_reserved_by_two_hubs_at_once_is_charged_once(postgres_url: str) -> None:
    async with open_postgres(postgres_url) as here, open_postgres(postgres_url) as there:
        async with anyio.create_task_group() as tasks:
            for ledger in (PostgresLedger(here), PostgresLedger(there)) * 4:
                tasks.start_soon(ledger.reserve, held(), [])
        (charge,) = await PostgresLedger(here).charges()
        assert (charge.repeats, (await PostgresLedger(here).spent("ann"))[0].tokens) == (7, 100)


def spender(file: Path, name: str, tokens: int) -> subprocess.Popen[str]:
    script = Path(__file__).parents[1] / "reference/ledger_spender.py"
    command = [sys.executable, str(script), str(file), name, str(tokens)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_two_processes_do_not_pass_a_budget_together(tmp_path: Path) -> None:
    budget = 40 * TOOK
    processes = [spender(tmp_path / "ledger.db", name, budget) for name in ("one", "two")]
    printed = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        charges = await ledger.charges(limit=1000)
        (day, _) = await ledger.spent(EVERYBODY)
    assert sorted(one.call_id for one in charges) == sorted([*printed[0], *printed[1]])
    assert day.tokens == len(charges) * TOOK
    assert budget - HELD < day.tokens <= budget


async def test_a_process_that_is_killed_leaves_a_reservation_at_most_and_totals_that_are_right(
    tmp_path: Path,
) -> None:
    process = spender(tmp_path / "ledger.db", "doomed", 10**9)
    assert process.stdout is not None
    settled = [process.stdout.readline().strip() for _ in range(20)]
    process.kill()
    settled += process.stdout.read().split()
    process.wait()
    process.stdout.close()
    with SqliteLedger(tmp_path / "ledger.db", lambda: datetime.now(UTC) + timedelta(hours=1)) as ledger:
        charges = await ledger.charges(limit=100_000)
        open_ones = await ledger.unsettled()
    # Nothing that was told as settled is lost.
    assert set(settled) <= {one.call_id for one in charges if one.state == "answered"}
    assert len(open_ones) <= 1
    assert {one.call_id for one in charges if one.state == "reserved"} == {one.call_id for one in open_ones}
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        total = (await ledger.spent("ann"))[1].tokens
    assert total == sum(one.input_tokens + one.output_tokens for one in charges)


async def test_a_ledger_that_is_closed_or_away_says_so(tmp_path: Path) -> None:
    closed = SqliteLedger(tmp_path / "ledger.db")
    closed.close()
    with pytest.raises(Unavailable):
        await closed.reserve(held(), [])
    (tmp_path / "file").write_text("")
    with SqliteLedger(tmp_path / "file" / "ledger.db") as away, pytest.raises(Unavailable):
        await away.spent("ann")
