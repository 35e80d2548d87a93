"""The pool: one link a key, bounded, renewed when broken, ended when idle."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import CONNECTION_CLOSED, UPSTREAM_UNAVAILABLE, Json, NoPeer, Peer, RpcError
from quantum_suite.hub.upstreams.interface import Announce, Diagnostics, Hello, LinkKey, LinkLost
from quantum_suite.hub.upstreams.pool import LinkPool

pytestmark = pytest.mark.anyio

SHARED = LinkKey("modern", "shared")


class FakeLink:
    """A link whose answers come from the test."""

    def __init__(self, key: LinkKey, answer: Callable[["FakeLink"], Any]) -> None:
        self.key = key
        self.hello = Hello(key.era, "x", {}, {})
        self.in_flight = 0
        self.closed = False
        self.requests = 0
        self.closes = 0
        self._answer = answer

    async def request(self, method: str, params: Json, peer: Peer, **options: Any) -> Json:
        self.requests += 1
        self.in_flight += 1
        try:
            result = self._answer(self)
            if isinstance(result, anyio.Event):
                await result.wait()
                return {}
            if isinstance(result, Exception):
                raise result
            return dict(result)
        finally:
            self.in_flight -= 1

    async def notify(self, method: str, params: Json) -> None:
        """Take it."""

    async def aclose(self) -> None:
        self.closed = True
        self.closes += 1


class FakeConnector:
    """Opens fake links; what opening does first is the test's."""

    def __init__(self, answer: Callable[[FakeLink], Any] = lambda link: {"ok": True}) -> None:
        self.links: list[FakeLink] = []
        self.attempts = 0
        self.gate: anyio.Event | None = None
        self.error: Exception | None = None
        self._answer = answer

    async def connect(self, key: LinkKey, announce: Announce) -> FakeLink:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.links.append(FakeLink(key, self._answer))
        return self.links[-1]

    def diagnostics(self) -> Diagnostics:
        return Diagnostics(["said something"])

    async def aclose(self) -> None:
        """Nothing is shared."""


async def ignore(method: str, params: Json) -> None:
    """Hear nothing."""


def pool_of(connector: FakeConnector, **options: Any) -> LinkPool:
    return LinkPool(connector, ignore, **{"idle_seconds": None, **options})


async def ask(pool: LinkPool, key: LinkKey = SHARED, **options: Any) -> Json:
    with anyio.fail_after(25):
        return await pool.request(key, "tools/call", {}, NoPeer(), **options)


def session(name: str) -> LinkKey:
    return LinkKey("handshake", name)


async def eventually(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(25):
        while not condition():
            await anyio.sleep(0.002)


async def test_calls_with_equal_keys_share_a_link_and_others_do_not() -> None:
    connector = FakeConnector()

    async with pool_of(connector) as pool:
        for name in ("ann", "bob", "ann"):
            assert await ask(pool, session(name)) == {"ok": True}
        assert pool.has_open_links
        assert pool.open_link(session("bob")) is connector.links[1]
        assert pool.open_link(session("eve")) is None
        assert pool.diagnostics().stderr_tail == ["said something"]

    assert [link.key.identity for link in connector.links] == ["ann", "bob"]
    assert all(link.closes == 1 for link in connector.links)


async def test_many_calls_at_once_open_one_link() -> None:
    connector = FakeConnector()
    connector.gate = anyio.Event()

    async with pool_of(connector) as pool, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask, pool)
        await anyio.sleep(0.01)
        connector.gate.set()

    assert connector.attempts == 1
    assert connector.links[0].requests == 20


async def test_a_failed_opening_fails_all_who_wait_with_its_reason_and_is_tried_anew() -> None:
    connector = FakeConnector()
    connector.gate = anyio.Event()
    connector.error = Unavailable("no database", "start it")
    errors: list[Unavailable] = []

    async def one(pool: LinkPool) -> None:
        try:
            await ask(pool)
        except Unavailable as error:
            errors.append(error)

    async with pool_of(connector) as pool:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one, pool)
            await anyio.sleep(0.01)
            connector.gate.set()
        connector.error = None
        assert await ask(pool) == {"ok": True}

    assert [(error.message, error.hint) for error in errors] == [("no database", "start it")] * 3
    assert len({id(error) for error in errors}) == 3
    assert connector.attempts == 2


async def test_a_cancelled_caller_does_not_undo_the_opening_for_the_others() -> None:
    connector = FakeConnector()
    connector.gate = anyio.Event()

    async with pool_of(connector) as pool:
        with anyio.move_on_after(0.01):
            await ask(pool)
        connector.gate.set()
        assert await ask(pool) == {"ok": True}

    assert connector.attempts == 1


async def test_a_fresh_link_is_prepared_before_any_call_takes_it() -> None:
    connector = FakeConnector()
    prepared: list[tuple[LinkKey, int]] = []

    async def prepare(key: LinkKey, link: Any) -> None:
        prepared.append((key, link.requests))

    async with pool_of(connector, prepare=prepare) as pool:
        await ask(pool)
        await ask(pool)

    assert prepared == [(SHARED, 0)]


async def test_a_link_that_cannot_be_prepared_is_closed_and_not_used() -> None:
    connector = FakeConnector()

    async def prepare(key: LinkKey, link: Any) -> None:
        raise RpcError(-1, "no log levels here")

    async with pool_of(connector, prepare=prepare) as pool:
        with pytest.raises(RpcError, match="no log levels"):
            await ask(pool)

    assert connector.links[0].closes == 1
    assert connector.links[0].requests == 0


# -- broken links ---------------------------------------------------------------------------------------------


def breaking_once(error: LinkLost, *, closes: bool = True) -> Callable[[FakeLink], Any]:
    broken: list[bool] = []

    def answer(link: FakeLink) -> Any:
        if broken:
            return {"ok": True}
        broken.append(True)
        link.closed = closes
        return error

    return answer


async def test_a_repeatable_call_is_sent_once_more_on_a_new_link() -> None:
    connector = FakeConnector(breaking_once(LinkLost("It ended.")))

    async with pool_of(connector) as pool:
        assert await ask(pool, repeatable=True) == {"ok": True}

    assert [link.requests for link in connector.links] == [1, 1]
    assert connector.links[0].closes == 1


async def test_a_call_that_may_have_been_carried_out_is_not_sent_again() -> None:
    connector = FakeConnector(breaking_once(LinkLost("It ended.")))

    async with pool_of(connector) as pool:
        with pytest.raises(RpcError, match="may or may not have been carried out") as caught:
            await ask(pool)
        assert caught.value.code == UPSTREAM_UNAVAILABLE
        assert await ask(pool) == {"ok": True}

    assert [link.requests for link in connector.links] == [1, 1]


async def test_a_call_that_was_never_begun_is_sent_once_more_whatever_it_does() -> None:
    connector = FakeConnector(breaking_once(LinkLost("Gone.", never_processed=True, session_lost=True)))

    async with pool_of(connector) as pool:
        assert await ask(pool) == {"ok": True}

    assert len(connector.links) == 2


async def test_a_link_that_lives_on_is_kept_for_the_second_try() -> None:
    connector = FakeConnector(breaking_once(LinkLost("Reset.", never_processed=True), closes=False))

    async with pool_of(connector) as pool:
        assert await ask(pool) == {"ok": True}

    assert [link.requests for link in connector.links] == [2]


async def test_no_call_is_sent_three_times() -> None:
    connector = FakeConnector(lambda link: LinkLost("Reset.", never_processed=True))

    async with pool_of(connector) as pool:
        with pytest.raises(RpcError, match="It was not carried out") as caught:
            await ask(pool, repeatable=True)

    assert caught.value.code == UPSTREAM_UNAVAILABLE
    assert connector.links[0].requests == 2


async def test_a_servers_own_error_with_the_same_code_is_no_broken_link() -> None:
    connector = FakeConnector(lambda link: RpcError(CONNECTION_CLOSED, "my own"))

    async with pool_of(connector) as pool:
        with pytest.raises(RpcError, match="my own"):
            await ask(pool, repeatable=True)

    assert connector.links[0].requests == 1


# -- bounds ---------------------------------------------------------------------------------------------------


async def test_one_link_too_many_ends_the_one_idle_longest() -> None:
    connector = FakeConnector()

    async with pool_of(connector, max_links=2) as pool:
        await ask(pool, session("ann"))
        await ask(pool, session("bob"))
        await ask(pool, session("ann"))
        await ask(pool, session("eve"))
        assert pool.open_link(session("bob")) is None
        assert pool.open_link(session("ann")) is not None

    assert [link.key.identity for link in connector.links] == ["ann", "bob", "eve"]


async def test_when_all_links_are_busy_a_call_waits_for_one() -> None:
    busy = anyio.Event()
    connector = FakeConnector(lambda link: busy if link.key.identity == "ann" else {"ok": True})

    async with pool_of(connector, max_links=1) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, pool, session("ann"))
        await eventually(lambda: bool(connector.links) and connector.links[0].in_flight == 1)
        for name in ("bob", "eve", "bob"):
            tasks.start_soon(ask, pool, session(name))
        await anyio.sleep(0.01)
        assert len(connector.links) == 1
        busy.set()

    assert sum(link.requests for link in connector.links) == 4


async def test_waiting_for_a_busy_upstream_is_bounded() -> None:
    connector = FakeConnector()

    async with pool_of(connector, max_links=1, wait_seconds=0.05) as pool, pool.lease(session("ann")):
        with pytest.raises(Unavailable, match="All 1 connections"):
            await ask(pool, session("bob"))


async def test_idle_links_are_ended_and_held_ones_are_not() -> None:
    connector = FakeConnector()

    async with pool_of(connector, idle_seconds=0.02) as pool:
        async with pool.lease(session("held")):
            await ask(pool, session("idle"))
            await eventually(lambda: connector.links[1].closed)
            assert not connector.links[0].closed
        await eventually(lambda: not pool.has_open_links)
        assert await ask(pool, session("idle")) == {"ok": True}

    assert len(connector.links) == 3


async def test_a_link_that_broke_while_idle_is_cleared_away() -> None:
    connector = FakeConnector()

    async with pool_of(connector, idle_seconds=0.1) as pool:
        await ask(pool)
        connector.links[0].closed = True
        await eventually(lambda: connector.links[0].closes == 1)


# -- the end --------------------------------------------------------------------------------------------------


async def test_a_closed_pool_refuses_and_says_so() -> None:
    connector = FakeConnector()

    async with pool_of(connector) as pool:
        await ask(pool)
        await pool.aclose()
        await pool.aclose()
        with pytest.raises(Unavailable, match="closed"):
            await ask(pool)

    assert connector.links[0].closes == 1


async def test_leaving_the_pool_gives_up_openings_under_way() -> None:
    connector = FakeConnector()
    connector.gate = anyio.Event()
    errors: list[Exception] = []

    async def one(pool: LinkPool) -> None:
        try:
            await ask(pool)
        except Unavailable as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, pool_of(connector) as pool:
        tasks.start_soon(one, pool)
        await eventually(lambda: connector.attempts == 1)

    assert len(errors) == 1
    assert connector.links == []


async def test_a_link_that_will_not_close_delays_the_end_only_so_long() -> None:
    connector = FakeConnector()

    async def for_ever() -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(25):
        async with pool_of(connector, close_seconds=0.05) as pool:
            await ask(pool)
            connector.links[0].aclose = for_ever  # type: ignore[method-assign] # this link alone
