"""What every rate limiter does."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from reference.backends import Valkey, running

from quantum_suite.core.ids import new_id
from quantum_suite.services.databases.valkey import Script, open_valkey
from quantum_suite.services.limits.interface import Budget, RateLimiter
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.limits.sqlite import SqliteRateLimiter
from quantum_suite.services.limits.valkey import ValkeyRateLimiter

pytestmark = pytest.mark.anyio

SLOW = Budget(per_minute=0.01, burst=5)
"""So slow that no token comes back within a test."""
QUICK = Budget(per_minute=600, burst=2)


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def limiter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield MemoryRateLimiter()
    elif request.param == "sqlite":
        with SqliteRateLimiter(tmp_path / "limits.db") as limiter:
            yield limiter
    else:
        async with open_valkey(request.getfixturevalue("valkey_url"), timeout_seconds=5) as server:
            yield ValkeyRateLimiter(server, namespace=new_id("test"))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Valkey]:
    """A server that may be killed."""
    server = Valkey(tmp_path / "valkey")
    with running(server):
        yield server


async def granted(limiter: RateLimiter, tries: int, key: str = "k", budget: Budget = SLOW) -> int:
    return [await limiter.take(key, budget) for _ in range(tries)].count(0)


async def test_a_burst_passes_at_once_and_then_nothing(limiter: RateLimiter) -> None:
    assert await granted(limiter, 20) == 5
    assert await granted(limiter, 5) == 0


async def test_the_refusal_says_how_long_it_takes(limiter: RateLimiter) -> None:
    await granted(limiter, 5)
    assert await limiter.take("k", SLOW) == pytest.approx(6000, rel=0.01)
    assert await limiter.take("k", SLOW, 5) == pytest.approx(30_000, rel=0.01)


async def test_tokens_come_back_with_time_and_not_before(limiter: RateLimiter) -> None:
    assert await granted(limiter, 2, budget=QUICK) == 2
    began = anyio.current_time()
    with anyio.fail_after(25):
        while await limiter.take("k", QUICK, 2) != 0:
            await anyio.lowlevel.checkpoint()
    assert anyio.current_time() - began > 0.15


async def test_a_bucket_holds_no_more_than_its_burst(limiter: RateLimiter) -> None:
    quick = Budget(per_minute=6_000_000, burst=5)
    await limiter.take("k", quick)
    began = anyio.current_time()
    while anyio.current_time() < began + 0.01:  # a thousand tokens' time
        await anyio.lowlevel.checkpoint()
    assert await limiter.take("k", quick, 5) == 0
    assert await limiter.take("k", SLOW) > 0


async def test_a_refused_cost_takes_nothing(limiter: RateLimiter) -> None:
    assert await limiter.take("k", SLOW, 3) == 0
    assert await limiter.take("k", SLOW, 2.5) > 0
    assert await limiter.take("k", SLOW, 2) == 0


async def test_parts_of_a_token_are_counted(limiter: RateLimiter) -> None:
    assert [await limiter.take("k", SLOW, 0.5) == 0 for _ in range(11)] == [True] * 10 + [False]


async def test_one_key_does_not_spend_anothers_budget(limiter: RateLimiter) -> None:
    hostile = ["", "\x00", "a\r\nFLUSHALL\r\n", "\ud800", "k" * 1_000_000, "*"]
    for key in hostile:
        assert await granted(limiter, 7, key) == 5


async def test_many_at_once_get_no_more_than_there_is(limiter: RateLimiter) -> None:
    waits: list[float] = []

    async def take() -> None:
        waits.append(await limiter.take("k", SLOW))

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(take)
    assert waits.count(0) == 5


@pytest.mark.parametrize("cost", [0, -1, 5.1, float("nan"), float("inf")])
async def test_a_cost_that_is_never_granted_is_a_mistake(limiter: RateLimiter, cost: float) -> None:
    with pytest.raises(ValueError):
        await limiter.take("k", SLOW, cost)
    assert await granted(limiter, 6) == 5


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1), (1, float("inf"))])
def test_a_budget_of_nothing_or_everything_is_a_mistake(per_minute: float, burst: float) -> None:
    with pytest.raises(ValueError):
        Budget(per_minute, burst)


TAKE_MANY = """
import anyio, sys
from contextlib import AsyncExitStack
from pathlib import Path
from quantum_suite.services.databases.valkey import open_valkey
from quantum_suite.services.limits.interface import Budget
from quantum_suite.services.limits.sqlite import SqliteRateLimiter
from quantum_suite.services.limits.valkey import ValkeyRateLimiter

async def main(where):
    async with AsyncExitStack() as stack:
        if "//" in where:
            limiter = ValkeyRateLimiter(await stack.enter_async_context(open_valkey(where, timeout_seconds=5)))
        else:
            limiter = stack.enter_context(SqliteRateLimiter(Path(where)))
        print([await limiter.take("k", Budget(0.01, 50)) for _ in range(100)].count(0))

anyio.run(main, sys.argv[1])
"""


@pytest.mark.parametrize("engine", ["sqlite", "valkey"])
async def test_two_processes_share_one_budget(engine: str, tmp_path: Path, own_server: Valkey) -> None:
    where = own_server.url if engine == "valkey" else str(tmp_path / "limits.db")
    command = [sys.executable, "-c", TAKE_MANY, where]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in processes]
    assert sum(map(int, printed)) == 50


async def test_a_server_that_hangs_or_dies_leaves_each_process_counting_its_own(
    own_server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_valkey(own_server.url, timeout_seconds=0.2) as server:
        limiter = ValkeyRateLimiter(server, rest_seconds=0.3)
        assert await granted(limiter, 3) == 3
        own_server.pause()
        with anyio.fail_after(50):
            assert await granted(limiter, 5000) == 5
        own_server.unpause()
        with anyio.fail_after(30):
            while "is back" not in caplog.text:
                await limiter.take("other", SLOW)
                await anyio.lowlevel.checkpoint()
        assert await granted(limiter, 5) <= 2  # less what hung in the pipe and was taken after all
        own_server.kill()
        assert await granted(limiter, 20, "new") == 5
        own_server.start()
    told = [message for message in caplog.messages if "each process counts its own calls" in message]
    assert len(told) == 2


async def test_a_server_that_forgot_its_scripts_is_taught_them_again(valkey_url: str) -> None:
    async with open_valkey(valkey_url, timeout_seconds=5) as server:
        namespace = new_id("test")
        limiter = ValkeyRateLimiter(server, namespace=namespace)
        assert await granted(limiter, 2) == 2
        await server._execute("SCRIPT FLUSH")
        assert await granted(limiter, 20) == 3


async def test_a_server_clock_that_was_set_back_gives_nothing_away_and_makes_nobody_wait(valkey_url: str) -> None:
    namespace = new_id("test")
    async with open_valkey(valkey_url, timeout_seconds=5) as server:
        limiter = ValkeyRateLimiter(server, namespace=namespace)
        await granted(limiter, 5)
        later = Script(
            "for _, k in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('HSET', k, 'filled_at', ARGV[2]) end"
        )
        await server.run(later, [], [f"{{{namespace}}}:limit:*".encode(), 9e9])
        assert await limiter.take("k", SLOW) == pytest.approx(6000, rel=0.01)
        assert await limiter.take("k", Budget(600_000, 5)) <= 0.0001


async def test_a_locked_file_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SqliteRateLimiter(tmp_path / "limits.db") as limiter:
        assert await granted(limiter, 3) == 3
        holder = limiter._database.connect()
        holder.execute("BEGIN IMMEDIATE")
        with anyio.fail_after(25):
            assert await granted(limiter, 1000) == 5
        holder.close()
    assert len(caplog.messages) == 1


async def test_a_limiter_forgets_whom_it_has_not_seen_for_longest_when_memory_is_bounded() -> None:
    limiter = MemoryRateLimiter(max_buckets=2)
    assert [await granted(limiter, 5, key) for key in "ab"] == [5, 5]
    assert await granted(limiter, 1, "a") == 0
    assert await granted(limiter, 5, "c") == 5
    assert await granted(limiter, 5, "a") == 0
    assert await granted(limiter, 5, "b") == 5
