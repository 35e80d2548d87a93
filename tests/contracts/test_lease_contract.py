"""What every store of leases guarantees, on every adapter."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.core.ids import new_id
from quantum_suite.services.bus.nats_connection import open_nats
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.leases.nats import NatsLeaseStore
from quantum_suite.services.leases.postgres import PostgresLeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore

pytestmark = pytest.mark.anyio

Found = TypeVar("Found")
LONG, SHORT = 60.0, 0.3
BOUND_SECONDS = 50.0


@pytest.fixture(params=["memory", "sqlite", "postgres", "nats"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[LeaseStore, LeaseStore]]:
    """Two processes' views of one place."""
    first: LeaseStore
    second: LeaseStore
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            first = second = MemoryLeaseStore()
        elif request.param == "sqlite":
            first = stack.enter_context(SqliteLeaseStore(tmp_path / "leases.db"))
            second = stack.enter_context(SqliteLeaseStore(tmp_path / "leases.db"))
        elif request.param == "postgres":
            url = request.getfixturevalue("postgres_url")
            first = PostgresLeaseStore(await stack.enter_async_context(open_postgres(url)))
            second = PostgresLeaseStore(await stack.enter_async_context(open_postgres(url)))
        else:
            url, bucket = request.getfixturevalue("nats_url"), new_id("leases")
            first = NatsLeaseStore(await stack.enter_async_context(open_nats(url)), bucket=bucket)
            second = NatsLeaseStore(await stack.enter_async_context(open_nats(url)), bucket=bucket)
        yield first, second


async def test_a_lease_is_had_by_one_holder_until_it_is_released(stores: tuple[LeaseStore, LeaseStore]) -> None:
    here, there = stores
    lease = await taken(here, "relay", "a")
    assert (lease.name, lease.holder, lease.ttl_seconds) == ("relay", "a", LONG)
    assert (lease.fence.name, lease.fence.token) == ("relay", lease.token)
    assert await there.acquire("relay", "b", LONG) is None
    assert await here.renew(lease)
    assert await there.holders("") == {"relay": "a"}
    await here.release(lease)
    assert await there.holders("") == {}
    assert (await taken(there, "relay", "b")).token > lease.token


async def test_a_lease_that_is_not_renewed_passes_on_and_cannot_be_renewed_any_more(
    stores: tuple[LeaseStore, LeaseStore],
) -> None:
    here, there = stores
    lease = await taken(here, "relay", "a", SHORT)
    successor = await eventually(lambda: there.acquire("relay", "b", LONG))
    assert successor.token > lease.token
    assert not await here.renew(lease)
    await here.release(lease)
    assert await here.holders("relay") == {"relay": "b"}
    assert await there.renew(successor)


async def test_a_lease_that_ended_is_lost_even_when_nobody_else_took_it(
    stores: tuple[LeaseStore, LeaseStore],
) -> None:
    here, there = stores
    lease = await taken(here, "relay", "a", SHORT)

    async def is_free() -> bool:
        return await there.holders("relay") == {}

    await eventually(is_free)
    assert not await here.renew(lease)


async def test_the_holder_itself_gets_a_lease_anew_with_a_higher_token(
    stores: tuple[LeaseStore, LeaseStore],
) -> None:
    here, there = stores
    before = await taken(here, "relay", "a")
    after = await taken(there, "relay", "a")
    assert after.token > before.token
    assert not await here.renew(before)
    await here.release(before)
    assert await there.renew(after)


async def test_leases_of_different_length_and_name_do_not_touch(stores: tuple[LeaseStore, LeaseStore]) -> None:
    here, there = stores
    names = ("worker/1", "worker/2", "worker_2", "wor%er", "quantum.relay", "relay of ü and *>")
    for name in names:
        await taken(here, name, f"holder of {name}")
    short = await taken(here, "short", "a", SHORT)
    await eventually(lambda: there.acquire("short", "b", SHORT))
    assert not await here.renew(short)
    assert await there.holders("worker/") == {f"worker/{n}": f"holder of worker/{n}" for n in (1, 2)}
    assert await there.holders("wor%") == {"wor%er": "holder of wor%er"}
    assert {name for name in await there.holders("") if name != "short"} == set(names)


async def test_of_many_who_ask_at_once_one_gets_it(stores: tuple[LeaseStore, LeaseStore]) -> None:
    got: list[Lease] = []

    async def ask(number: int) -> None:
        lease = await stores[number % 2].acquire("relay", f"holder {number}", LONG)
        if lease is not None:
            got.append(lease)

    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(ask, number)
        await stores[0].release(got[-1])
    assert len(got) == 3
    tokens = [lease.token for lease in got]
    assert tokens == sorted(set(tokens))


async def test_a_release_is_done_once_and_may_come_late(stores: tuple[LeaseStore, LeaseStore]) -> None:
    here, there = stores
    lease = await taken(here, "relay", "a")
    await here.release(lease)
    await here.release(lease)
    assert not await here.renew(lease)
    await here.release(Lease("never held", "a", 1, LONG))
    assert await there.holders("") == {}


@pytest.mark.parametrize(
    ("name", "holder", "ttl_seconds"),
    [("", "a", 1), ("n" * 201, "a", 1), ("a\nb", "a", 1), ("n", "", 1), ("n", "a", 0), ("n", "a", 1e9)],
)
async def test_what_cannot_be_a_lease_is_refused(
    stores: tuple[LeaseStore, LeaseStore], name: str, holder: str, ttl_seconds: float
) -> None:
    with pytest.raises(CallerError):
        await stores[0].acquire(name, holder, ttl_seconds)


async def taken(store: LeaseStore, name: str, holder: str, ttl_seconds: float = LONG) -> Lease:
    lease = await store.acquire(name, holder, ttl_seconds)
    assert lease is not None
    return lease


async def eventually(probe: Callable[[], Awaitable[Found | None]]) -> Found:
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            found = await probe()
            if found:
                return found
            await anyio.sleep(0.02)
