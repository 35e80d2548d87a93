"""A principal's lists: filtered, in order, in pages that survive changes."""

from typing import Any

import anyio.lowlevel
import pytest

from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.hub.call import INVALID_PARAMS, Call, Credentials, Era, NoPeer, RpcError
from quantum_suite.hub.catalogue import Catalogue, Claim, build_catalogue
from quantum_suite.hub.lists import PAGE_SIZE, Lists
from quantum_suite.hub.offer import Offer

pytestmark = pytest.mark.anyio


def catalogue_of(*names: str, present: bool = True, **more: Any) -> Catalogue:
    tools = tuple({"name": name, "inputSchema": {"type": "object"}, **more} for name in names)
    return build_catalogue([Claim("s", "", Offer(tools=tools), present)])


def a_call(era: Era = "modern", **params: Any) -> Call:
    return Call("call_1", "tools/list", params, era, "2026-07-28", Credentials("http", True), NoPeer())


def names_of(result: dict[str, Any]) -> list[str]:
    return [tool["name"] for tool in result["tools"]]


def everything(principal: Principal, target: object) -> bool:
    return True


async def test_what_a_principal_may_not_use_it_does_not_see() -> None:
    lists = Lists(lambda principal, target: target.name != "secret")
    assert names_of(await lists.answer(a_call(), LOCAL, catalogue_of("open", "secret"), 1)) == ["open"]


async def test_lists_kept_for_one_principal_are_not_shown_to_another() -> None:
    guest = Principal("key:guest")
    lists = Lists(lambda principal, target: principal == LOCAL)
    catalogue = catalogue_of("t")
    assert names_of(await lists.answer(a_call(), LOCAL, catalogue, 1)) == ["t"]
    assert names_of(await lists.answer(a_call(), guest, catalogue, 1)) == []


async def test_a_new_revision_is_seen_at_once() -> None:
    lists = Lists(everything)
    assert names_of(await lists.answer(a_call(), LOCAL, catalogue_of("a"), 1)) == ["a"]
    assert names_of(await lists.answer(a_call(), LOCAL, catalogue_of("a", "b"), 2)) == ["a", "b"]


async def test_tools_of_a_server_that_is_away_are_withdrawn() -> None:
    assert names_of(await Lists(everything).answer(a_call(), LOCAL, catalogue_of("a", present=False), 1)) == []


async def test_pages_hold_every_name_once_even_when_names_appear_between_them() -> None:
    names = [f"t{number:04}" for number in range(PAGE_SIZE + 50)]
    lists = Lists(everything)
    first = await lists.answer(a_call(), LOCAL, catalogue_of(*names), 1)
    grown = catalogue_of(*names, "t0000a", "zz")
    second = await lists.answer(a_call(cursor=first["nextCursor"]), LOCAL, grown, 2)
    assert names_of(first) + names_of(second) == [*names, "zz"]
    assert "nextCursor" not in second


@pytest.mark.parametrize("cursor", ["%%%", 7, "é", {"a": 1}])
async def test_a_foreign_cursor_is_an_error_that_says_what_to_do(cursor: object) -> None:
    with pytest.raises(RpcError, match="leave it away") as refused:
        await Lists(everything).answer(a_call(cursor=cursor), LOCAL, catalogue_of("a"), 1)
    assert refused.value.code == INVALID_PARAMS


async def test_cache_hints_are_for_the_modern_era() -> None:
    lists = Lists(everything)
    modern = await lists.answer(a_call(), LOCAL, catalogue_of("a"), 1)
    handshake = await lists.answer(a_call("handshake"), LOCAL, catalogue_of("a"), 1)
    assert modern["resultType"] == "complete"
    assert modern["cacheScope"] == "private"
    assert modern["ttlMs"] >= 0
    assert handshake.keys() == {"tools"}


async def test_an_output_schema_of_no_object_is_left_out_for_earlier_revisions() -> None:
    lists = Lists(everything)
    catalogue = catalogue_of("a", outputSchema={"type": "array"})
    (modern,) = (await lists.answer(a_call(), LOCAL, catalogue, 1))["tools"]
    (handshake,) = (await lists.answer(a_call("handshake"), LOCAL, catalogue, 1))["tools"]
    assert "outputSchema" in modern
    assert "outputSchema" not in handshake


async def test_others_are_served_while_a_long_list_is_decided_upon() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await Lists(everything).answer(a_call(), LOCAL, catalogue_of(*(f"t{n}" for n in range(1_000))), 1)
        tasks.cancel_scope.cancel()
    assert turns >= 20


async def test_a_list_that_was_being_decided_while_the_policies_changed_is_not_kept() -> None:
    allowed = True
    lists = Lists(lambda principal, target: allowed)
    catalogue = catalogue_of(*(f"t{n}" for n in range(100)))

    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            await lists.answer(a_call(), LOCAL, catalogue, 1)

        tasks.start_soon(ask)
        await anyio.lowlevel.checkpoint()
        allowed = False
        lists.forget()
    assert names_of(await lists.answer(a_call(), LOCAL, catalogue, 1)) == []


async def test_the_lists_of_many_principals_are_kept_in_bounds_and_stay_right() -> None:
    asked = 0

    def sees(principal: Principal, target: object) -> bool:
        nonlocal asked
        asked += 1
        return True

    lists, catalogue = Lists(sees), catalogue_of("t")
    for number in range(300):
        await lists.answer(a_call(), Principal(f"key:{number}"), catalogue, 1)
    assert asked == 300
    await lists.answer(a_call(), Principal("key:299"), catalogue, 1)
    assert asked == 300
