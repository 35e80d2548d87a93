"""Who follows something hears of it, once, and a slow listener costs a bounded amount."""

from typing import Any

import anyio
import pytest

from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.hub.subscriptions import MAX_URIS_TOGETHER, Listener, ListKind, Subscriptions

OTHER = Principal("key:other")


class Inbox:
    """Collects what a listener is told; `gate` holds delivery back."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.gate = anyio.Event()
        self.gate.set()

    async def deliver(self, method: str, params: dict[str, Any]) -> None:
        await self.gate.wait()
        self.told.append((method, params))

    async def has(self, count: int) -> None:
        with anyio.fail_after(25):
            while len(self.told) < count:
                await anyio.sleep(0)


def listener(inbox: Inbox, *kinds: ListKind, uris: set[str] | None = None, who: Principal = LOCAL) -> Listener:
    return Listener(who, frozenset(kinds), uris or set(), inbox.deliver)


@pytest.mark.anyio
async def test_a_listener_hears_of_the_lists_it_follows_and_of_no_others() -> None:
    subscriptions, inbox = Subscriptions(lambda: None), Inbox()
    one = listener(inbox, "tools")
    with subscriptions.add(one):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.run)
            subscriptions.list_changed("prompts")
            subscriptions.list_changed("tools")
            await inbox.has(1)
            tasks.cancel_scope.cancel()
    assert inbox.told == [("notifications/tools/list_changed", {})]


@pytest.mark.anyio
async def test_a_thousand_changes_while_a_listener_is_slow_are_one_piece_of_news() -> None:
    subscriptions, inbox = Subscriptions(lambda: None), Inbox()
    inbox.gate = anyio.Event()
    one = listener(inbox, "tools", uris={"a://b"})
    with subscriptions.add(one):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.run)
            for _ in range(1000):
                subscriptions.list_changed("tools")
                subscriptions.resource_updated("a://b", None)
            inbox.gate.set()
            await inbox.has(2)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert len(inbox.told) == 2


@pytest.mark.anyio
async def test_news_of_one_identity_reaches_that_principal_alone() -> None:
    subscriptions, mine, theirs = Subscriptions(lambda: None), Inbox(), Inbox()
    me, them = listener(mine, uris={"a://b"}), listener(theirs, uris={"a://b"}, who=OTHER)
    with subscriptions.add(me), subscriptions.add(them):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(me.run)
            tasks.start_soon(them.run)
            subscriptions.resource_updated("a://b", "key:other")
            await theirs.has(1)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert mine.told == []
    assert theirs.told == [("notifications/resources/updated", {"uri": "a://b"})]


@pytest.mark.anyio
async def test_following_a_resource_includes_what_lies_below_it() -> None:
    subscriptions, inbox = Subscriptions(lambda: None), Inbox()
    one = listener(inbox, uris={"file:///project"})
    with subscriptions.add(one):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.run)
            subscriptions.resource_updated("file:///projects/x", None)
            subscriptions.resource_updated("file:///project/x", None)
            await inbox.has(1)
            tasks.cancel_scope.cancel()
    assert [params["uri"] for _, params in inbox.told] == ["file:///project/x"]


def test_interest_is_reported_when_listeners_come_and_go() -> None:
    told: list[int] = []
    subscriptions = Subscriptions(lambda: told.append(len(subscriptions.followed())))
    with subscriptions.add(listener(Inbox(), uris={"a://b"})):
        assert subscriptions.followed() == {"a://b": {"local"}}
    assert told == [1, 0]


@pytest.mark.anyio
async def test_a_flood_of_parts_is_told_of_by_the_whole_when_the_listener_lags() -> None:
    subscriptions, inbox = Subscriptions(lambda: None), Inbox()
    one = listener(inbox, uris={"note://book"})
    with subscriptions.add(one):
        for page in range(10_000):
            subscriptions.resource_updated(f"note://book/{page}", None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.run)
            await inbox.has(2_001)
            tasks.cancel_scope.cancel()
    assert len(inbox.told) == 2_001
    assert ("notifications/resources/updated", {"uri": "note://book"}) in inbox.told


def test_a_principal_follows_only_so_much_whatever_others_follow() -> None:
    subscriptions = Subscriptions(lambda: None)
    with subscriptions.add(listener(Inbox(), uris={f"note://{n}" for n in range(MAX_URIS_TOGETHER)})):
        assert not subscriptions.has_room(LOCAL.id, 1)
        assert subscriptions.has_room(OTHER.id, 1)
