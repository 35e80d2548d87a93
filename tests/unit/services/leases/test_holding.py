"""Holding a lease while something is done: renewal, loss, election, and stores that are away."""

import logging

import anyio
import pytest

from quantum_suite.core.errors import Fenced, Unavailable
from quantum_suite.services.leases.holding import holding, lead
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.leases.memory import MemoryLeaseStore

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 50.0
TTL = 0.6


class Shaky:
    """A store that can be away, and that counts renewals."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self.away = False
        self.hangs = False
        self.renewals = 0
        self.refusals = 0

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        await self._check()
        return await self._store.acquire(name, holder, ttl_seconds)

    async def renew(self, lease: Lease) -> bool:
        await self._check()
        self.renewals += 1
        return await self._store.renew(lease)

    async def release(self, lease: Lease) -> None:
        await self._check()
        await self._store.release(lease)

    async def holders(self, prefix: str) -> dict[str, str]:
        return await self._store.holders(prefix)

    async def _check(self) -> None:
        if self.hangs:
            self.refusals += 1
            await anyio.sleep_forever()
        if self.away:
            self.refusals += 1
            raise Unavailable("away")


async def until(store: Shaky, renewals: int) -> None:
    while store.renewals < renewals:
        await anyio.sleep(0.01)


async def test_a_lease_is_renewed_for_as_long_as_it_is_held_and_then_given_up() -> None:
    store = Shaky(MemoryLeaseStore())
    with anyio.fail_after(BOUND_SECONDS):
        async with holding(store, "relay", "a", TTL):
            await until(store, 5)
            assert await store.acquire("relay", "b", TTL) is None
        assert await store.holders("") == {}


async def test_who_comes_second_waits_until_the_first_has_done() -> None:
    store, order = MemoryLeaseStore(), list[str]()

    async def work(holder: str) -> None:
        async with holding(store, "relay", holder, TTL):
            order.append(f"{holder} begins")
            await anyio.sleep(0.01)
            order.append(f"{holder} ends")

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            for holder in ("a", "b", "c"):
                tasks.start_soon(work, holder)
    assert order == [
        f"{holder} {what}" for holder in (one[0] for one in order[::2]) for what in ("begins", "ends")
    ]


async def test_a_lost_lease_cancels_what_is_done_under_it() -> None:
    store, ended = MemoryLeaseStore(), list[str]()

    async def hold() -> None:
        async with holding(store, "relay", "a", TTL) as lease:
            await store.release(lease)
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("cancelled")

    with anyio.fail_after(BOUND_SECONDS), pytest.raises(Fenced):
        await hold()
    assert ended == ["cancelled"]


@pytest.mark.parametrize(("trouble", "tries"), [("away", 3), ("hangs", 1)])
async def test_a_store_that_does_not_answer_costs_the_lease_when_its_time_is_up_and_not_before(
    trouble: str, tries: int
) -> None:
    store = Shaky(MemoryLeaseStore())

    async def hold() -> None:
        async with holding(store, "relay", "a", TTL):
            await until(store, 1)
            setattr(store, trouble, True)
            try:
                await anyio.sleep_forever()
            finally:
                setattr(store, trouble, False)

    with anyio.fail_after(BOUND_SECONDS), pytest.raises(Fenced):
        await hold()
    assert store.refusals >= tries


async def test_a_store_that_was_away_for_a_moment_costs_nothing() -> None:
    store = Shaky(MemoryLeaseStore())
    with anyio.fail_after(BOUND_SECONDS):
        async with holding(store, "relay", "a", 4 * TTL):
            await until(store, 1)
            store.away = True
            while store.refusals == 0:
                await anyio.sleep(0.01)
            store.away = False
            await until(store, 3)


async def test_errors_and_cancellation_pass_as_they_are_and_the_lease_is_given_up() -> None:
    store = MemoryLeaseStore()
    with pytest.raises(ValueError, match="mine"):
        async with holding(store, "relay", "a", TTL):
            raise ValueError("mine")
    assert await store.holders("") == {}
    with anyio.move_on_after(0.01) as scope:
        async with holding(store, "relay", "a", TTL):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await store.holders("") == {}


class SlowToAnswer(Shaky):
    """A store whose first answer to who asks for a lease takes for ever."""

    def __init__(self, store: LeaseStore) -> None:
        super().__init__(store)
        self.given = anyio.Event()

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        lease = await super().acquire(name, holder, ttl_seconds)
        if not self.given.is_set():
            self.given.set()
            await anyio.sleep_forever()
        return lease


async def test_a_lease_that_was_given_to_somebody_who_had_just_left_is_free_at_once() -> None:
    store = SlowToAnswer(MemoryLeaseStore())

    async def work(lease: Lease) -> None:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lead, store, "relay", "a", 60, work)
        await store.given.wait()
        tasks.cancel_scope.cancel()
    assert await store.holders("") == {}


async def test_a_lease_somebody_else_holds_is_not_given_up_by_who_was_cancelled_asking() -> None:
    store = SlowToAnswer(MemoryLeaseStore())
    async with holding(store._store, "relay", "b", 60):
        with anyio.move_on_after(0.01) as scope:
            async with holding(store, "relay", "a", 60):
                raise AssertionError("somebody else holds it")
        assert scope.cancelled_caught
        assert await store.holders("") == {"relay": "b"}


async def test_a_store_that_is_away_at_first_is_waited_for_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    store = Shaky(MemoryLeaseStore())
    store.away = True
    held = anyio.Event()

    async def work(lease: Lease) -> None:
        held.set()

    with anyio.fail_after(BOUND_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lead, store, "relay", "a", TTL, work)
            while store.refusals < 3:
                await anyio.sleep(0.01)
            store.away = False
            await held.wait()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, said
    assert "has to wait" in said[0]
    assert "is back" in said[1]


async def test_a_leader_that_lost_its_lease_is_elected_again_with_a_higher_token() -> None:
    store, tokens = MemoryLeaseStore(), list[int]()

    async def work(lease: Lease) -> None:
        tokens.append(lease.token)
        if len(tokens) == 1:
            await store.release(lease)
            await anyio.sleep_forever()
        if len(tokens) == 2:
            raise Fenced("somebody newer has written")

    with anyio.fail_after(BOUND_SECONDS):
        await lead(store, "relay", "a", TTL, work)
    assert len(tokens) == 3
    assert tokens == sorted(set(tokens))


async def test_work_that_fails_for_another_reason_ends_the_lead() -> None:
    async def work(lease: Lease) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await lead(MemoryLeaseStore(), "relay", "a", TTL, work)
