"""A handshake server's questions reach a modern client, and only the one whose call it is."""

from typing import Any

import anyio
import pytest

from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.hub.call import INVALID_PARAMS, Call, Credentials, NoPeer, Peer, RpcError
from quantum_suite.hub.translation.parking import ParkingLot

Json = dict[str, Any]


def a_call(params: Json | None = None, who: Principal = LOCAL, **capabilities: Json) -> Call:
    return Call(
        id="call_1",
        method="tools/call",
        params={"name": "deploy", "arguments": {}, **(params or {})},
        era="modern",
        protocol_version="2026-07-28",
        credentials=Credentials("http", True),
        peer=NoPeer(),
        client_capabilities=capabilities or {"elicitation": {}},
        principal=who,
    )


async def asks_twice(peer: Peer) -> Json:
    first = await peer.request("elicitation/create", {"message": "sure?"})
    second = await peer.request("elicitation/create", {"message": "really?"})
    return {"content": [], "answers": [first["action"], second["action"]]}


def answered(result: Json, action: str) -> Json:
    (key,) = result["inputRequests"]
    return {"requestState": result["requestState"], "inputResponses": {key: {"action": action}}}


@pytest.mark.anyio
async def test_each_question_is_one_round_and_the_last_round_brings_the_result() -> None:
    async with ParkingLot() as lot:
        first = await lot.carry(a_call(), asks_twice)
        assert first["resultType"] == "input_required"
        second = await lot.carry(a_call(answered(first, "accept")), asks_twice)
        assert second["requestState"] != first["requestState"]
        last = await lot.carry(a_call(answered(second, "decline")), asks_twice)
    assert last["answers"] == ["accept", "decline"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "other",
    [
        {"who": Principal("key:other")},
        {"params": {"arguments": {"force": True}}},
    ],
)
async def test_a_state_is_worth_nothing_to_another_caller_or_another_request(other: Json) -> None:
    async with ParkingLot() as lot:
        first = await lot.carry(a_call(), asks_twice)
        call = a_call({**answered(first, "accept"), **other.get("params", {})}, other.get("who", LOCAL))
        with pytest.raises(RpcError) as refused:
            await lot.carry(call, asks_twice)
        assert refused.value.code == INVALID_PARAMS
        again = await lot.carry(a_call(answered(first, "accept")), asks_twice)
        assert again["resultType"] == "input_required"


@pytest.mark.anyio
async def test_a_state_can_be_used_once() -> None:
    async with ParkingLot() as lot:
        first = await lot.carry(a_call(), asks_twice)
        await lot.carry(a_call(answered(first, "accept")), asks_twice)
        with pytest.raises(RpcError, match="unknown, expired"):
            await lot.carry(a_call(answered(first, "accept")), asks_twice)


@pytest.mark.anyio
async def test_an_answer_left_out_is_asked_for_again() -> None:
    async with ParkingLot() as lot:
        first = await lot.carry(a_call(), asks_twice)
        again = await lot.carry(
            a_call({"requestState": first["requestState"], "inputResponses": {"something else": {}}}), asks_twice
        )
    assert again["inputRequests"] == first["inputRequests"]


@pytest.mark.anyio
async def test_a_client_that_cannot_answer_is_never_asked() -> None:
    async def asks(peer: Peer) -> Json:
        with pytest.raises(RpcError, match="cannot answer sampling"):
            await peer.request("sampling/createMessage", {})
        return {"content": []}

    async with ParkingLot() as lot:
        assert await lot.carry(a_call(), asks) == {"content": []}


@pytest.mark.anyio
async def test_an_error_of_the_servers_comes_through() -> None:
    async def fails(peer: Peer) -> Json:
        raise RpcError(-32050, "no")

    async with ParkingLot() as lot:
        with pytest.raises(RpcError, match="no"):
            await lot.carry(a_call(), fails)


@pytest.mark.anyio
async def test_a_cancelled_request_cancels_the_servers_call() -> None:
    cancelled = anyio.Event()

    async def waits(peer: Peer) -> Json:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()
        return {}

    async with ParkingLot() as lot:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lot.carry, a_call(), waits)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(25):
            await cancelled.wait()


@pytest.mark.anyio
async def test_a_call_nobody_comes_back_for_is_cancelled() -> None:
    cancelled = anyio.Event()

    async def asks(peer: Peer) -> Json:
        try:
            return await peer.request("elicitation/create", {})
        finally:
            cancelled.set()

    async with ParkingLot(expiry_seconds=0.01) as lot:
        first = await lot.carry(a_call(), asks)
        with anyio.fail_after(25):
            await cancelled.wait()
        with pytest.raises(RpcError, match="expired"):
            await lot.carry(a_call(answered(first, "accept")), asks)


@pytest.mark.anyio
async def test_no_more_calls_are_parked_than_allowed() -> None:
    async with ParkingLot(max_parked=1) as lot:
        await lot.carry(a_call(), asks_twice)
        with pytest.raises(RpcError, match="Too many"):
            await lot.carry(a_call(), asks_twice)


@pytest.mark.anyio
async def test_one_principals_parked_calls_leave_room_for_others() -> None:
    async with ParkingLot(max_per_principal=1) as lot:
        await lot.carry(a_call(), asks_twice)
        with pytest.raises(RpcError, match="Too many"):
            await lot.carry(a_call(), asks_twice)
        other = a_call()
        other.principal = Principal("key:other")
        assert (await lot.carry(other, asks_twice))["resultType"] == "input_required"
