"""What stores of leases do when clocks are set, machines start anew and stores are lost, paused or shared."""

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from reference.backends import Nats, running

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.bus.nats_connection import NatsConnection, open_nats
from quantum_suite.services.databases.postgres import PostgresDatabase, open_postgres
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.leases.memory import MemoryLeaseStore
from quantum_suite.services.leases.nats import NatsLeaseStore
from quantum_suite.services.leases.postgres import PostgresLeaseStore
from quantum_suite.services.leases.sqlite import SqliteLeaseStore

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 50.0
SECOND = 1_000_000_000
HOUR = 3600 * SECOND


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


async def taken(store: LeaseStore, name: str, holder: str, ttl_seconds: float) -> Lease:
    lease = await store.acquire(name, holder, ttl_seconds)
    assert lease is not None
    return lease


async def taken_over(store: LeaseStore, name: str, holder: str) -> Lease:
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            lease = await store.acquire(name, holder, 60)
            if lease is not None:
                return lease
            await anyio.sleep(0.02)


@pytest.fixture(params=["memory", "sqlite"])
def wall_clock(request: pytest.FixtureRequest) -> tuple[str, Clock]:
    return request.param, Clock(1_700_000_000 * SECOND)


async def test_setting_the_machines_clock_back_or_forth_ends_no_lease_and_repeats_no_token(
    wall_clock: tuple[str, Clock], tmp_path: Path
) -> None:
    kind, wall = wall_clock
    steady = Clock(100 * SECOND)
    store: LeaseStore = (
        MemoryLeaseStore(clock=steady, wall_clock=wall)
        if kind == "memory"
        else SqliteLeaseStore(tmp_path / "leases.db", clock=steady, wall_clock=wall)
    )
    tokens = []
    for change in (0, -HOUR, 48 * HOUR, -24 * HOUR):
        wall.now += change
        lease = await taken(store, "relay", "a", 10)
        tokens.append(lease.token)
        steady.now += 9 * SECOND
        assert await store.acquire("relay", "b", 10) is None
        assert await store.renew(lease)
        steady.now += 10 * SECOND
        tokens.append((await taken(store, "relay", "b", 10)).token)
        steady.now += 10 * SECOND
    assert tokens == sorted(set(tokens))
    if isinstance(store, SqliteLeaseStore):
        store.close()


async def test_a_lease_from_before_the_machine_started_anew_lasts_no_longer_than_its_length(
    tmp_path: Path,
) -> None:
    clock = Clock(1000 * HOUR)
    with SqliteLeaseStore(tmp_path / "leases.db", clock=clock) as store:
        before = await taken(store, "relay", "a", 10)
        clock.now = 5 * SECOND
        assert await store.acquire("relay", "b", 10) is None
        clock.now += 10 * SECOND
        assert (await taken(store, "relay", "b", 10)).token > before.token
        assert not await store.renew(before)


async def test_on_sqlite_leases_survive_the_process_and_a_lost_file_starts_above_the_tokens_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "leases.db"
    with SqliteLeaseStore(path) as store:
        lease = await taken(store, "relay", "a", 60)
    with pytest.raises(Unavailable):
        await store.renew(lease)
    with SqliteLeaseStore(path) as store:
        assert await store.acquire("relay", "b", 60) is None
        assert await store.renew(lease)
    for file in tmp_path.iterdir():
        file.unlink()
    with SqliteLeaseStore(path) as store:
        assert not await store.renew(lease)
        assert (await taken(store, "relay", "b", 60)).token > lease.token


CONTENDER = """
import os, sys
from pathlib import Path
import anyio
from quantum_suite.services.leases.sqlite import SqliteLeaseStore

async def main(path, mark, holder, rounds):
    with SqliteLeaseStore(path) as store:
        for _ in range(rounds):
            while (lease := await store.acquire("relay", holder, 30)) is None:
                await anyio.sleep(0.001)
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            print(lease.token)
            await anyio.sleep(0)
            os.unlink(mark)
            await store.release(lease)

anyio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
"""


async def test_of_several_processes_one_at_a_time_holds_a_lease_with_a_token_of_its_own(tmp_path: Path) -> None:
    rounds, tokens = 25, list[list[int]]()

    async def contend(holder: str) -> None:
        command = [sys.executable, "-c", CONTENDER, str(tmp_path / "leases.db"), str(tmp_path / "held"), holder]
        done = await anyio.run_process([*command, str(rounds)], stderr=None)
        tokens.append([int(line) for line in done.stdout.split()])

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for holder in ("a", "b", "c"):
                tasks.start_soon(contend, holder)
    assert all(each == sorted(each) for each in tokens)
    assert len({token for each in tokens for token in each}) == 3 * rounds


async def test_a_postgresql_whose_clock_was_set_back_keeps_a_dead_holders_lease_for_its_length_alone(
    postgres_url: str,
) -> None:
    async with open_postgres(postgres_url) as database:
        store = PostgresLeaseStore(database)
        dead, living = await taken(store, "dead", "a", 0.3), await taken(store, "living", "a", 30)
        await set_back(database)
        assert await store.acquire("dead", "b", 60) is None
        assert (await taken_over(store, "dead", "b")).token > dead.token
        assert await store.acquire("living", "b", 60) is None
        assert await store.renew(living)
        assert await store.holders("") == {"dead": "b", "living": "a"}


async def set_back(database: PostgresDatabase) -> None:
    """Make all rows what they would be had the clock been set back by an hour."""
    async with database.connection() as connection:
        await connection.execute("UPDATE leases SET ends_at = ends_at + interval '1 hour'")


async def test_a_postgresql_that_hangs_is_away_and_then_back(postgres_url: str) -> None:
    async with open_postgres(postgres_url) as database:
        store = PostgresLeaseStore(database, answer_seconds=0.3)
        lease = await taken(store, "relay", "a", 600)
        async with database.connection() as hanging, hanging.transaction():
            await hanging.execute("SELECT FROM leases FOR UPDATE")
            with pytest.raises(Unavailable):
                await store.renew(lease)
        assert await store.renew(lease)


class SetBack(NatsConnection):
    """A broker whose clock is set back by an hour at some moment: what it stamped before is from the future."""

    def __init__(self, behind: NatsConnection) -> None:
        super().__init__(["nats://unused"], {})
        self._behind = behind
        self.since: int | None = None

    async def request(
        self, subject: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        answer = await self._behind.request(subject, body, headers)
        if self.since is not None and "ts" in answer:
            answer["ts"] = _earlier(answer["ts"])
        message = answer.get("message")
        if self.since is not None and message is not None and message["seq"] > self.since:
            message["time"] = _earlier(message["time"])
        return answer


def _earlier(time: str) -> str:
    return (datetime.fromisoformat(time) - timedelta(hours=1)).isoformat()


async def test_a_broker_whose_clock_was_set_back_keeps_a_dead_holders_lease_for_its_length_alone(
    nats_url: str,
) -> None:
    async with open_nats(nats_url) as connection:
        broker = SetBack(connection)
        store = NatsLeaseStore(broker, bucket=new_id("leases"))
        dead, living = await taken(store, "dead", "a", 0.3), await taken(store, "living", "a", 30)
        broker.since = 2
        assert await store.acquire("dead", "b", 60) is None
        assert (await taken_over(store, "dead", "b")).token > dead.token
        assert await store.acquire("living", "b", 60) is None
        assert await store.renew(living)
        assert await store.acquire("living", "b", 60) is None


async def test_a_broker_killed_paused_and_stripped_of_its_disk_repeats_no_token(tmp_path: Path) -> None:
    server = Nats(tmp_path / "nats")
    with running(server):
        async with open_nats(server.url, answer_seconds=0.5) as connection:
            store = NatsLeaseStore(connection)
            lease = await taken(store, "relay", "a", 600)

            server.pause()
            with pytest.raises(Unavailable):
                await store.renew(lease)
            server.unpause()
            assert await until_back(store, lease)

            server.kill()
            with pytest.raises(Unavailable):
                await store.acquire("relay", "b", 60)
            server.start()
            assert await until_back(store, lease)
            assert await store.acquire("relay", "b", 60) is None

            server.kill()
            for path in sorted((tmp_path / "nats" / "jetstream").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            server.start()
            assert not await until_back(store, lease)
            assert (await taken(store, "relay", "b", 60)).token > lease.token


async def until_back(store: LeaseStore, lease: Lease) -> bool:
    """Return what a renewal says once the store answers."""
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            try:
                return await store.renew(lease)
            except Unavailable:
                await anyio.sleep(0.05)
