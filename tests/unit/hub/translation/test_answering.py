"""A modern server's input requests are put to a handshake client."""

from typing import Any

import pytest

from quantum_suite.hub.call import RpcError
from quantum_suite.hub.translation.answering import MAX_ROUNDS, answer_inputs

Json = dict[str, Any]


class Person:
    """Answers every question with its own text."""

    async def notify(self, method: str, params: Json) -> None: ...

    async def request(self, method: str, params: Json) -> Json:
        return {"action": "accept", "content": {"method": method, **params}}


@pytest.mark.anyio
async def test_answers_and_state_go_back_until_the_result_is_there() -> None:
    sent: list[Json] = []

    async def send(params: Json) -> Json:
        sent.append(params)
        if len(sent) == 1:
            ask = {"method": "elicitation/create", "params": {"message": "sure?"}}
            return {"resultType": "input_required", "inputRequests": {"q": ask}, "requestState": "one"}
        return {"resultType": "complete", "content": []}

    result = await answer_inputs(send, {"name": "deploy"}, Person())
    assert result["content"] == []
    assert sent[1]["requestState"] == "one"
    assert sent[1]["inputResponses"]["q"]["content"]["message"] == "sure?"


@pytest.mark.anyio
async def test_a_state_of_an_earlier_round_is_not_sent_again() -> None:
    sent: list[Json] = []

    async def send(params: Json) -> Json:
        sent.append(params)
        rounds = [{"resultType": "input_required", "requestState": "one"}, {"resultType": "input_required"}, {}]
        return rounds[len(sent) - 1]

    await answer_inputs(send, {"name": "deploy"}, Person())
    assert [params.get("requestState") for params in sent] == [None, "one", None]


@pytest.mark.anyio
async def test_a_server_that_never_stops_asking_is_given_up() -> None:
    async def send(params: Json) -> Json:
        return {"resultType": "input_required", "requestState": "again"}

    with pytest.raises(RpcError, match=str(MAX_ROUNDS)):
        await answer_inputs(send, {}, Person())


@pytest.mark.anyio
async def test_a_malformed_input_request_is_the_servers_error() -> None:
    async def send(params: Json) -> Json:
        return {"resultType": "input_required", "inputRequests": {"q": {"params": {}}}}

    with pytest.raises(RpcError, match="without a method"):
        await answer_inputs(send, {}, Person())
