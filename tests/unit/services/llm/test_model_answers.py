"""Answers of a real model server, in both protocols it speaks."""

import json
from pathlib import Path
from typing import Any

import pytest
from reference.faults import Change, Reply, fault_proxy
from reference.gateways import WHO, charged, event_store, gateway, lasting, logged, question
from reference.models import MODEL, ModelServer, provider

from quantum_suite.core.errors import CallerError, Conflict, EngineError, NotFound
from quantum_suite.services.llm.interface import (
    Finished,
    Message,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolCallRequested,
    ToolSpec,
)

pytestmark = pytest.mark.anyio

WEATHER = ToolSpec(
    "get_weather",
    "Get the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]},
)
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}, "people": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


def speaking(protocol: str, url: str, **options: Any) -> dict[str, Any]:
    if protocol == "anthropic":
        return provider(url, kind="anthropic", base_url=url, **options)
    return provider(url, **options)


PROTOCOLS = pytest.mark.parametrize("protocol", ["openai", "anthropic"])


@PROTOCOLS
async def test_a_question_is_answered_counted_and_free_on_this_machine(
    protocol: str, tmp_path: Path, model_server: ModelServer
) -> None:
    async with gateway(tmp_path, {"local": speaking(protocol, model_server.url)}) as models:
        answer = await models.ask(question(), WHO)
        assert answer.text
        assert (answer.finished.provider, answer.finished.model) == ("local", MODEL)
        assert answer.finished.reason in ("stop", "length")
        usage = answer.finished.usage
        assert not usage.estimated
        assert usage.cost_usd == 0
        assert usage.input_tokens > 10
        assert 0 < usage.output_tokens <= 8
        (charge,) = await lasting(models)
    assert (charge.state, charge.input_tokens, charge.output_tokens) == (
        "answered",
        usage.input_tokens,
        usage.output_tokens,
    )


@PROTOCOLS
async def test_a_streamed_answer_comes_in_pieces_and_is_the_same(
    protocol: str, tmp_path: Path, model_server: ModelServer
) -> None:
    async with gateway(tmp_path, {"local": speaking(protocol, model_server.url)}) as models:
        whole = await models.ask(question(max_output_tokens=12), WHO)
        async with models.stream(question(max_output_tokens=12), WHO) as events:
            seen = [event async for event in events]
    pieces = [event.text for event in seen if isinstance(event, TextDelta)]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.text
    assert isinstance(seen[-1], Finished)
    assert seen[-1].usage.output_tokens == whole.finished.usage.output_tokens


def shown(*cities: str) -> tuple[Message, ...]:
    """Return a conversation from which the model learns what a call looks like."""
    turns: list[Message] = []
    for city in cities:
        call = ToolCall(f"call_{city}", "get_weather", {"city": city})
        turns.append(Message("user", f"Weather in {city}?"))
        turns.append(Message("assistant", "", tool_calls=(call,)))
        turns.append(Message("tool", "12 degrees", tool_call_id=call.id))
    return tuple(turns)


@PROTOCOLS
async def test_a_tool_call_is_handed_over_whole_and_its_result_is_taken(
    protocol: str, tmp_path: Path, model_server: ModelServer
) -> None:
    async with gateway(tmp_path, {"local": speaking(protocol, model_server.url)}) as models:
        turns = (*shown("Rome", "Paris"), Message("user", "Weather in Oslo?"))
        request = ModelRequest(turns, max_output_tokens=40, temperature=0.0, tools=(WEATHER,))
        answer = await models.ask(request, WHO)
        (call,) = answer.tool_calls
        assert (call.name, call.arguments) == ("get_weather", {"city": "Oslo"})
        assert call.id
        assert answer.finished.reason == "tool_calls"
        async with models.stream(request, WHO) as events:
            streamed = [event async for event in events if isinstance(event, ToolCallRequested)]
        assert [(one.call.name, one.call.arguments) for one in streamed] == [(call.name, call.arguments)]


async def test_an_answer_is_bound_to_a_schema_by_the_servers_own_means(
    tmp_path: Path, model_server: ModelServer
) -> None:
    async with gateway(tmp_path, {"local": provider(model_server.url)}) as models:
        answer = await models.ask(question("Name a city.", output_schema=CITY, max_output_tokens=60), WHO)
        assert answer.data["city"] in ("Oslo", "Rome")
        assert json.loads(answer.text) == answer.data
        assert answer.repairs == ()
        async with models.stream(
            question("Name a city.", output_schema=CITY, max_output_tokens=60), WHO
        ) as events:
            seen = [event async for event in events]
        assert [json.loads(event.text) for event in seen if isinstance(event, TextDelta)] == [answer.data]


async def test_a_server_that_takes_no_schema_is_told_in_words(tmp_path: Path, model_server: ModelServer) -> None:
    refusal = Reply(400, '{"error": {"message": "response_format is not known here"}}')
    async with (
        fault_proxy(model_server.url, refusal) as proxy,
        gateway(tmp_path, {"local": provider(proxy.url)}, schema_rounds=1) as models,
    ):
        request = question("Name a city.", output_schema={"type": ["object", "array"]}, max_output_tokens=40)
        with pytest.raises(EngineError, match=r"schema|JSON") as failed:
            await models.ask(request, WHO)
        assert "response_format" in failed.value.printed
        assert "response_format" in proxy.requests[0]
        assert "response_format" not in proxy.requests[1]
        assert "JSON Schema" in proxy.requests[1]["messages"][0]["content"]
        assert await charged(models) == [("local", "failed"), ("local", "answered")]


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_was_wrong(
    tmp_path: Path, model_server: ModelServer
) -> None:
    events = event_store()
    async with (
        fault_proxy(model_server.url) as proxy,
        gateway(
            tmp_path, {"local": provider(proxy.url, structured="instruction")}, schema_rounds=2, events=events
        ) as models,
    ):
        with pytest.raises(EngineError, match="No answer fits the schema after 2 rounds"):
            await models.ask(question("Tell a story.", output_schema=CITY), WHO)
        first, second = proxy.requests
        assert second["messages"][: len(first["messages"]) - 1] != []
        assert "JSON" in second["messages"][-1]["content"]
        assert second["messages"][-2]["role"] == "assistant"
        assert [one.state for one in await lasting(models)] == ["answered"] * 2
    (event,) = await logged(events)
    assert event.type == "llm.call.failed.v1"
    assert (event.data["code"], event.data["attempts"]) == ("engine_error", 2)
    assert event.data["output_tokens"] > 0


@PROTOCOLS
async def test_tokens_that_a_provider_does_not_count_are_counted_by_the_server(
    protocol: str, tmp_path: Path, model_server: ModelServer
) -> None:
    async with gateway(tmp_path, {"local": speaking(protocol, model_server.url)}) as models:
        exact = (await models.ask(question(), WHO)).finished.usage
    hide = Change(b'"prompt_tokens"', b'"prompt_hidden"')
    if protocol == "anthropic":
        hide = Change(b'"input_tokens"', b'"inputs_hidden"')
    async with (
        fault_proxy(model_server.url, hide) as proxy,
        gateway(tmp_path, {"local": speaking(protocol, proxy.url)}) as models,
    ):
        usage = (await models.ask(question(), WHO)).finished.usage
    if usage.estimated:
        # Without the words of the chat template.
        assert 0 < usage.input_tokens <= exact.input_tokens
        assert abs(usage.output_tokens - exact.output_tokens) <= 12
    assert protocol == "anthropic" or usage.estimated


async def test_a_wrong_key_is_named_and_never_shown(tmp_path: Path) -> None:
    server = ModelServer(tmp_path / "locked", api_key="the-right-key-of-this-server")
    server.start()
    try:
        given = provider(server.url, api_key="${KEY}")
        async with gateway(tmp_path, {"local": given}, environ={"KEY": "the-right-key-of-this-server"}) as models:
            assert (await models.ask(question(), WHO)).text
        echo = Reply(401, '{"error": {"message": "Wrong key: a-wrong-key-0123456789"}}')
        async with (
            fault_proxy(server.url, echo) as proxy,
            gateway(
                tmp_path, {"local": {**given, "base_url": proxy.url}}, environ={"KEY": "a-wrong-key-0123456789"}
            ) as models,
        ):
            with pytest.raises(EngineError, match="does not accept the key") as refused:
                await models.ask(question(), WHO)
            assert "a-wrong-key" not in f"{refused.value!s} {refused.value!r} {vars(refused.value)}"
            assert proxy.headers[0]["authorization"] == "Bearer a-wrong-key-0123456789"
            with pytest.raises(EngineError, match="does not accept the key"):
                await models.ask(question(), WHO)
            assert await charged(models) == [("local", "failed")] * 2
    finally:
        server.stop()


async def test_a_provider_without_its_key_is_unusable_and_says_which_variable_is_missing(
    tmp_path: Path, model_server: ModelServer
) -> None:
    providers = {
        "cloud": {"kind": "openai", "api_key": "${OPENAI_API_KEY}", "models": {"gpt-4o": {}}},
        "local": provider(model_server.url),
    }
    routes = {"default": ["cloud/gpt-4o", f"local/{MODEL}"]}
    async with gateway(tmp_path, providers, routes=routes) as models:
        answer = await models.ask(question(), WHO)
        assert answer.finished.attempts == ("cloud/gpt-4o: The environment variable OPENAI_API_KEY is not set.",)
        (cloud, local) = (await models.standing(WHO)).providers
        assert (cloud.state, local.state) == ("unusable", "ready")
        assert "OPENAI_API_KEY" in cloud.why


async def test_every_call_leaves_an_event_with_digests_and_no_words(
    tmp_path: Path, model_server: ModelServer
) -> None:
    events = event_store()
    async with gateway(tmp_path, {"local": provider(model_server.url)}, events=events) as models:
        request = question("Say hello to ann@corp.io.", purpose="greet", correlation_id="run_1")
        answer = await models.ask(request, WHO)
        await models.ask(request, WHO)
        await models.ask(question("Say hello to bob@corp.io!"), WHO)
    first, again, other = await logged(events)
    assert {event.type for event in (first, again, other)} == {"llm.call.completed.v1"}
    assert (first.principal, first.correlation_id, first.data["purpose"]) == (WHO, "run_1", "greet")
    assert first.data["request_digest"] == again.data["request_digest"] != other.data["request_digest"]
    assert first.data["masked"] == {"email": 1}
    assert first.data["answer_digest"] == again.data["answer_digest"]
    assert answer.text not in str(first.data)
    assert "corp.io" not in str(first.data)


async def test_a_call_made_again_under_its_id_is_charged_once(tmp_path: Path, model_server: ModelServer) -> None:
    async with gateway(tmp_path, {"local": provider(model_server.url)}) as models:
        await models.ask(question(call_id="step-1"), WHO)
        second = await models.ask(question(call_id="step-1"), WHO)
        # The server may close the kept connection as it is used again: what is tried anew then is another attempt.
        charges = {one.attempt: one for one in await models.ledger.charges(WHO)}
        assert (charges[1].call_id, charges[1].repeats) == ("step-1", 1)
        assert len(charges) == 1 + len(second.finished.attempts), charges
        with pytest.raises(Conflict, match="another request"):
            await models.ask(question("Something else.", call_id="step-1"), WHO)
        # Ids are a principal's own.
        await models.ask(question("Something else.", call_id="step-1"), "key:other")


@pytest.mark.parametrize(
    ("request_", "argument"),
    [
        (ModelRequest(()), "messages"),
        (question("\ud800"), "messages"),
        (question(max_output_tokens=0), "max_output_tokens"),
        (question(deadline_seconds=0), "deadline_seconds"),
        (question(model="nowhere"), "model"),
        (question(output_schema={"type": "no such type"}), "output_schema"),
        (question(output_schema={"const": 2**70}), "output_schema"),
        (question("x" * (8 * 1024 * 1024 + 1)), "messages"),
        (ModelRequest((Message("user", "a"), Message("tool", "b"))), "messages"),
        (
            ModelRequest((Message("user", "a"), Message("assistant", "", (ToolCall("1", "t", {"n": 2**70}),)))),
            "messages",
        ),
    ],
)
async def test_a_request_that_cannot_be_sent_is_refused_by_the_name_of_what_is_wrong(
    request_: ModelRequest, argument: str, tmp_path: Path
) -> None:
    # Nobody listens there: nothing is sent.
    async with gateway(tmp_path, {"local": provider("http://127.0.0.1:9")}) as models:
        with pytest.raises(CallerError) as refused:
            await models.ask(request_, WHO)
        assert refused.value.argument == argument
        assert await models.ledger.charges() == []


async def test_what_there_is_is_named_to_who_asks_for_something_else(tmp_path: Path) -> None:
    async with gateway(
        tmp_path, {"local": provider("http://127.0.0.1:9")}, routes={"fast": [f"local/{MODEL}"]}
    ) as models:
        with pytest.raises(NotFound, match=f"fast, default, and local/{MODEL}"):
            await models.ask(question(model="gpt"), WHO)
