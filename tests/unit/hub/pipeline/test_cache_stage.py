"""Reads are answered from memory for as long, and to whom, their owner allows."""

from collections.abc import Callable
from typing import Any

import pytest

from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.call import Call, Json
from quantum_suite.hub.pipeline.cache import CacheStage
from quantum_suite.hub.target import Target

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
    params = {"uri": uri, "_meta": {"progressToken": 1}, **fields.pop("params", {})}
    target = Target("resource", uri, upstream, uri, read_only=True)
    return make_call(method="resources/read", params=params, target=target, **fields)


async def test_a_fresh_result_is_served_and_says_how_long_it_stays_so(make_call: MakeCall) -> None:
    clock = Clock()
    stage, server = CacheStage(monotonic=clock), Server(ttlMs=1000, cacheScope="public")
    first = await stage(read(make_call), server)
    clock.passed = 0.4
    second = await stage(read(make_call), server)
    assert second == first | {"ttlMs": 600}
    clock.passed = 1.0
    third = await stage(read(make_call), server)
    assert third["contents"][0]["text"] == "2"
    assert third["ttlMs"] == 1000


async def test_only_what_is_public_is_shared_between_principals(make_call: MakeCall) -> None:
    for scope, reads in (("public", 1), ("private", 2), (None, 2), ("PUBLIC", 2)):
        stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000, cacheScope=scope)
        for _ in range(2):
            await stage(read(make_call), server)
            await stage(read(make_call, principal=OTHER), server)
        assert server.reads == reads, scope


@pytest.mark.parametrize(
    "hints",
    [
        {},
        {"ttlMs": 0},
        {"ttlMs": -5},
        {"ttlMs": "1000"},
        {"ttlMs": True},
        {"ttlMs": float("nan")},
        {"ttlMs": 1000, "resultType": "input_required"},
    ],
)
async def test_a_result_without_a_time_to_live_is_not_kept(make_call: MakeCall, hints: Json) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(**hints)
    for _ in range(2):
        await stage(read(make_call), server)
    assert server.reads == 2


@pytest.mark.parametrize("more", [{"inputResponses": {}}, {"requestState": "s"}, {"range": [0, 10]}])
async def test_a_read_that_depends_on_more_than_its_uri_is_neither_kept_nor_served(
    make_call: MakeCall, more: Json
) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000, cacheScope="public")
    await stage(read(make_call, params=more), server)
    await stage(read(make_call), server)
    await stage(read(make_call, params=more), server)
    assert server.reads == 3


async def test_tools_are_never_answered_from_memory(make_call: MakeCall) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000, cacheScope="public")
    target = Target("tool", "ops_show", "ops", "show", read_only=True)
    for _ in range(2):
        await stage(make_call(params={"uri": "db://a"}, target=target), server)
    assert server.reads == 2


async def test_the_protocol_version_and_the_upstream_tell_results_apart(make_call: MakeCall) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000, cacheScope="public")
    await stage(read(make_call), server)
    await stage(read(make_call, protocol_version="2025-11-25"), server)
    await stage(read(make_call, upstream="other"), server)
    assert server.reads == 3


async def test_an_update_forgets_that_resource_and_a_changed_list_all_of_the_upstream(
    make_call: MakeCall,
) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000)
    everything = [
        read(make_call, "db://a"),
        read(make_call, "db://a", principal=OTHER),
        read(make_call, "db://b"),
        read(make_call, "db://a", "other"),
    ]

    async def read_again() -> int:
        before = server.reads
        for call in everything:
            await stage(call, server)
        return server.reads - before

    assert [await read_again(), await read_again()] == [4, 0]
    stage.invalidate("ops", "db://a")
    assert await read_again() == 2
    stage.invalidate("ops")
    assert await read_again() == 3
    stage.invalidate("nobody")
    assert await read_again() == 0


async def test_a_change_announced_during_a_read_keeps_its_answer_out(make_call: MakeCall) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000)

    async def changing(call: Call) -> Json:
        result = await server(call)
        stage.invalidate("ops", "db://a")
        return result

    await stage(read(make_call), changing)
    await stage(read(make_call), server)
    assert server.reads == 2


async def test_what_is_kept_is_bounded_by_entries_the_latest_used_stay(make_call: MakeCall) -> None:
    stage, server = CacheStage(max_entries=2, monotonic=Clock()), Server(ttlMs=1000)
    for uri in ("db://a", "db://b", "db://a", "db://c", "db://a"):
        await stage(read(make_call, uri), server)
    assert server.reads == 3
    await stage(read(make_call, "db://b"), server)
    assert server.reads == 4


async def test_what_is_kept_is_bounded_by_bytes(make_call: MakeCall) -> None:
    stage, server = CacheStage(max_bytes=1000, monotonic=Clock()), Server(ttlMs=1000, pad="x" * 600)
    for uri in ("db://a", "db://b", "db://b", "db://a"):
        await stage(read(make_call, uri), server)
    assert server.reads == 3
    large = Server(ttlMs=1000, pad="x" * 2000)
    for _ in range(2):
        await stage(read(make_call, "db://large"), large)
    assert large.reads == 2
    await stage(read(make_call, "db://a"), server)
    assert server.reads == 3


async def test_what_callers_do_to_an_answer_does_not_reach_the_next(make_call: MakeCall) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000, _meta={"k": 1})
    for _ in range(3):
        result = await stage(read(make_call), server)
        assert result["_meta"] == {"k": 1}
        assert "more" not in result
        result["more"] = result["_meta"]["more"] = True
        server.hints["_meta"] = {"k": 1}
    assert server.reads == 1


async def test_a_result_that_cannot_be_measured_passes_unkept(make_call: MakeCall) -> None:
    stage, server = CacheStage(monotonic=Clock()), Server(ttlMs=1000, count=2**70)
    for _ in range(2):
        assert (await stage(read(make_call), server))["count"] == 2**70
    assert server.reads == 2
