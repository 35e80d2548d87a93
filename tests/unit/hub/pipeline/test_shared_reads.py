"""Replicas of the hub serve each other's public reads, and none serves what another knows to have changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from reference.backends import free_port

from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.call import Call, Json
from quantum_suite.hub.pipeline.cache import CacheStage
from quantum_suite.hub.pipeline.rate_limit import RateLimitStage
from quantum_suite.hub.pipeline.shared_reads import SharedReads
from quantum_suite.hub.target import Target
from quantum_suite.services.cache.memory import MemoryCache
from quantum_suite.services.cache.sqlite import SqliteCache
from quantum_suite.services.cache.valkey import ValkeyCache
from quantum_suite.services.databases.valkey import open_valkey
from quantum_suite.services.limits.memory import MemoryRateLimiter

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]

OTHER = Principal("key:other", frozenset({Role.VIEWER}))


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return self.passed


class Server:
    """Answers every read anew, with the hints it is told to give."""

    def __init__(self, **hints: Any) -> None:
        self.hints = hints
        self.reads = 0

    async def __call__(self, call: Call) -> Json:
        self.reads += 1
        contents = [{"uri": call.params["uri"], "text": str(self.reads)}]
        return {"resultType": "complete", "contents": contents, **self.hints}


def read(make_call: MakeCall, uri: str = "db://a", upstream: str = "ops", **fields: Any) -> Call:
    target = Target("resource", uri, upstream, uri, read_only=True)
    return make_call(method="resources/read", params={"uri": uri}, target=target, **fields)


async def test_a_public_read_of_one_replica_serves_the_others(make_call: MakeCall) -> None:
    cache, server = MemoryCache(), Server(ttlMs=60_000, cacheScope="public", _meta={"k": 1})
    one, other = CacheStage(shared=cache), CacheStage(shared=cache)
    first = await one(read(make_call), server)
    second = await other(read(make_call, principal=OTHER), server)
    assert server.reads == 1
    assert 0 < second["ttlMs"] <= 60_000
    assert second | {"ttlMs": 60_000} == first
    await other(read(make_call, protocol_version="2025-11-25"), server)
    await other(read(make_call, upstream="another"), server)
    assert server.reads == 3


async def test_a_private_read_never_leaves_the_process(make_call: MakeCall, tmp_path: Path) -> None:
    with SqliteCache(tmp_path / "cache.db") as cache:
        server = Server(ttlMs=60_000, text="a secret of mine")
        one, other = CacheStage(shared=cache), CacheStage(shared=cache)
        for _ in range(2):
            await one(read(make_call), server)
        assert server.reads == 1
        await other(read(make_call), server)
        assert server.reads == 2
        assert b"a secret of mine" not in b"".join(file.read_bytes() for file in tmp_path.glob("cache.db*"))


@pytest.mark.parametrize("scope", ["public", "private"])
async def test_what_one_replica_invalidates_another_stops_serving_within_the_bound(
    make_call: MakeCall, scope: str
) -> None:
    cache, clock, server = MemoryCache(), Clock(), Server(ttlMs=60_000, cacheScope=scope)
    one, other = (CacheStage(shared=cache, confirm_seconds=1, monotonic=clock) for _ in range(2))
    await other(read(make_call), server)
    await other(read(make_call, "db://b"), server)
    assert server.reads == 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        await anyio.lowlevel.checkpoint()
        one.invalidate("ops", "db://a")
        await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    clock.passed = 0.9
    await other(read(make_call), server)
    assert server.reads == 2
    clock.passed = 1.0
    assert (await other(read(make_call), server))["contents"][0]["text"] == "3"
    await other(read(make_call, "db://b"), server)
    assert server.reads == 3


async def test_the_replica_that_announced_a_change_reads_nothing_older_even_before_it_told_the_others(
    make_call: MakeCall,
) -> None:
    cache, server = MemoryCache(), Server(ttlMs=60_000, cacheScope="public")
    one, other = CacheStage(shared=cache), CacheStage(shared=cache)
    await other(read(make_call), server)
    one.invalidate("ops")
    assert (await one(read(make_call), server))["contents"][0]["text"] == "2"


async def test_a_change_another_replica_announces_during_a_read_keeps_its_answer_out(make_call: MakeCall) -> None:
    cache, server = MemoryCache(), Server(ttlMs=60_000, cacheScope="public")
    one, other = (CacheStage(shared=cache, confirm_seconds=0) for _ in range(2))

    async def changing(call: Call) -> Json:
        result = await server(call)
        other.invalidate("ops", "db://a")
        await other(read(make_call, "db://elsewhere"), server)
        return result

    await one(read(make_call), changing)
    assert server.reads == 2
    await other(read(make_call), server)
    await one(read(make_call), server)
    assert server.reads == 3


async def test_with_the_shared_cache_away_reads_are_served_from_memory_only_as_long_as_they_were_confirmed(
    make_call: MakeCall,
) -> None:
    clock, server = Clock(), Server(ttlMs=60_000, cacheScope="public")
    async with open_valkey(f"valkey://127.0.0.1:{free_port()}") as away:
        stage = CacheStage(shared=ValkeyCache(away), confirm_seconds=1, monotonic=clock)
        for _ in range(2):
            await stage(read(make_call), server)
        assert server.reads == 1
        stage.invalidate("ops")
        clock.passed = 1.0
        for _ in range(2):
            await stage(read(make_call), server)
        assert server.reads == 2


async def test_a_uri_may_hold_anything(make_call: MakeCall) -> None:
    stage, server = CacheStage(shared=MemoryCache()), Server(ttlMs=60_000, cacheScope="public")
    for uri in ("db://\ud800", "db://\x00", "", "x" * 100_000):
        for _ in range(2):
            await stage(read(make_call, uri), server)
        stage.invalidate("ops", uri)
    assert server.reads == 5  # what cannot be encoded passes unkept


async def test_a_clock_ahead_or_behind_makes_no_result_fresher_than_it_was_made() -> None:
    cache, here, there = MemoryCache(), Clock(), Clock()
    one, other = SharedReads(cache, wall_clock=here), SharedReads(cache, wall_clock=there)
    here.passed = 1000
    await one.keep("ops", "db://a", "v", b"{}", 5000, await one.stamp("ops", "db://a"))
    for passed, left_ms in ((1000, 5000), (1004, 1000), (900, 5000)):
        there.passed = passed
        assert await other.find("ops", "db://a", "v") == ({}, left_ms)
    there.passed = 1005
    assert await other.find("ops", "db://a", "v") is None


async def test_replicas_that_share_a_limiter_share_a_principals_budget(make_call: MakeCall) -> None:
    limiter, passed = MemoryRateLimiter(monotonic=Clock()), 0
    stages = [RateLimitStage(60, limiter=limiter) for _ in range(2)]

    async def answer(call: Call) -> Json:
        nonlocal passed
        passed += 1
        return {}

    for number in range(10):
        await stages[number % 2](make_call(), answer)
    for stage in stages:
        with pytest.raises(Exception, match="60 calls a minute"):
            await stage(make_call(), answer)
    assert passed == 10
