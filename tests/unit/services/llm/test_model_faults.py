"""Providers that fail in every way there is: what the caller sees, and what is charged."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
from reference.faults import (
    Change,
    Cut,
    CutBefore,
    Fault,
    FaultProxy,
    HoldBefore,
    Refuse,
    Reply,
    Stall,
    fault_proxy,
)
from reference.gateways import WHO, both, busy, charged, event_store, gateway, idle, lasting, logged, question
from reference.models import MODEL, ModelServer, provider

from quantum_suite.core.errors import CallerError, EngineError, Refused, SuiteError, Unavailable
from quantum_suite.services.llm.errors import Garbled, ProviderError, StreamCut
from quantum_suite.services.llm.interface import Finished, TextDelta

pytestmark = pytest.mark.anyio

OVERLOADED = Reply(503, '{"error": {"message": "no capacity"}}')
BROKEN = Reply(500, '{"error": {"message": "oops"}}')
PAGE = Reply(200, "<html><title>Welcome</title></html>", content_type="text/html")
NOT_AN_ANSWER = Reply(200, '{"hello": "there"}')
ERROR_INSIDE = Reply(200, '{"error": {"message": "out of memory", "code": 500}}')
ERROR_IN_STREAM = Reply(
    200, 'data: {"error": {"message": "died", "code": 500}}\n\n', content_type="text/event-stream"
)
ENDLESS_LINE = Reply(200, "data: " + "x" * (5 * 1024 * 1024), content_type="text/event-stream")
NO_END = Reply(200, 'data: {"choices": []}\n\n', content_type="text/event-stream")

EVERY_FAULT: dict[str, Fault] = {
    "no connection": Refuse(),
    "429": Reply(429, '{"error": {"message": "slow down"}}', {"retry-after": "30"}),
    "503": OVERLOADED,
    "500": BROKEN,
    "a web page": PAGE,
    "JSON that is no answer": NOT_AN_ANSWER,
    "an error in place of an answer": ERROR_INSIDE,
    "an error in the stream": ERROR_IN_STREAM,
    "a line without end": ENDLESS_LINE,
    "a stream without an answer": NO_END,
    "a redirect": Reply(302, "", {"location": "http://127.0.0.1:9/"}),
    "cut in the head": Cut(20),
    "cut in the stream": CutBefore(b'"finish_reason":"'),
    "bad JSON": Change(b'{"choices"', b'{"choices;'),
    "silence": Stall(),
    "a wrong address": Reply(404, '{"error": {"message": "no such model"}}'),
    "a wrong key": Reply(401, '{"error": {"message": "no"}}'),
}


@pytest.mark.parametrize("fault", EVERY_FAULT.values(), ids=list(EVERY_FAULT))
async def test_another_provider_answers_where_the_first_fails_and_one_answer_is_charged(
    fault: Fault, tmp_path: Path, model_server: ModelServer
) -> None:
    async with (
        fault_proxy(model_server.url, fault) as proxy,
        gateway(
            tmp_path,
            {"first": provider(proxy.url, silence_seconds=0.5), "second": provider(model_server.url)},
            routes=both("first", "second"),
        ) as models,
    ):
        answer = await models.ask(question(), WHO)
        assert answer.text
        states = await charged(models)
    # A connection that ended before an answer began may have been an old one: it is tried once more at once.
    assert answer.finished.provider == "second" or fault in (Refuse(), Cut(20))
    assert [state for _, state in states].count("answered") == 1
    assert states[-1][1] == "answered"
    assert answer.finished.attempts[0].startswith(f"first/{MODEL}")
    assert len(proxy.requests) <= 2


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        ([BROKEN, BROKEN], 3),
        ([OVERLOADED], 2),
        ([Refuse(), Refuse()], 3),
        ([CutBefore(b'"finish_reason":"')], 2),
        ([Change(b'{"choices"', b'{"choices;')], 2),
    ],
    ids=["500 twice", "503", "no connection twice", "cut", "bad JSON"],
)
async def test_a_lone_provider_is_asked_again(
    faults: list[Fault], asked: int, tmp_path: Path, model_server: ModelServer
) -> None:
    async with (
        fault_proxy(model_server.url, *faults) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url)}) as models,
    ):
        answer = await models.ask(question(), WHO)
        assert answer.text
        states = [state for _, state in await charged(models)]
    assert len(states) == asked
    assert states[-1] == "answered"
    assert "answered" not in states[:-1]
    assert len(answer.finished.attempts) >= 1


async def test_a_provider_is_given_up_after_its_attempts(tmp_path: Path, model_server: ModelServer) -> None:
    events = event_store()
    async with (
        fault_proxy(model_server.url, *[BROKEN] * 9) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url, attempts=2)}, events=events) as models,
    ):
        with pytest.raises(Unavailable, match=r"only/smollm2 answered 500: oops"):
            await models.ask(question(), WHO)
        assert len(proxy.requests) == 2
        assert await charged(models) == [("only", "failed")] * 2
    (event,) = await logged(events)
    assert (event.data["code"], event.data["providers"], event.data["attempts"]) == (
        "unavailable",
        ["only/smollm2"],
        2,
    )


async def test_a_provider_is_left_alone_for_as_long_as_it_asks(tmp_path: Path, model_server: ModelServer) -> None:
    slow_down = Reply(429, '{"error": {"message": "slow down"}}', {"retry-after-ms": "900"})
    async with (
        fault_proxy(model_server.url, slow_down) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url)}) as models,
    ):
        began = anyio.current_time()
        await models.ask(question(), WHO)
        assert anyio.current_time() - began >= 0.9
        assert len(proxy.requests) == 2


async def test_who_cannot_wait_as_long_as_a_provider_asks_is_told_so_at_once(
    tmp_path: Path, model_server: ModelServer
) -> None:
    slow_down = Reply(429, '{"error": {"message": "slow down"}}', {"retry-after": "3600"})
    async with (
        fault_proxy(model_server.url, slow_down) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url)}) as models,
    ):
        with anyio.fail_after(30), pytest.raises(Unavailable, match="slow down"):
            await models.ask(question(deadline_seconds=60), WHO)
        # It rests, so that the next call does not even ask.
        with pytest.raises(Unavailable, match="asked to be left alone"):
            await models.ask(question(deadline_seconds=60), WHO)
        assert len(proxy.requests) == 1
        assert (await models.standing(WHO)).providers[0].state == "resting"


async def test_a_spent_quota_is_not_asked_again(tmp_path: Path, model_server: ModelServer) -> None:
    spent = Reply(429, '{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}')
    async with (
        fault_proxy(model_server.url, spent, spent) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url)}) as models,
    ):
        with pytest.raises(EngineError, match="quota is spent"):
            await models.ask(question(), WHO)
        assert len(proxy.requests) == 1


async def test_a_circuit_opens_and_the_next_call_does_not_ask(tmp_path: Path, model_server: ModelServer) -> None:
    async with (
        fault_proxy(model_server.url, *[BROKEN] * 9) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url)}) as models,
    ):
        for _ in range(2):
            with pytest.raises(Unavailable):
                await models.ask(question(), WHO)
        assert len(proxy.requests) == 3
        standing = (await models.standing(WHO)).providers[0]
        assert (standing.state, standing.failures) == ("open", 3)


async def read(models: Any, proxy: FaultProxy) -> tuple[str, ProviderError | None, int]:
    """Return what of a streamed answer was seen, how it ended, and how many requests the proxy has had."""
    seen: list[str] = []
    try:
        async with models.stream(question("Count to nine.", max_output_tokens=12), WHO) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    seen.append(event.text)
    except ProviderError as error:
        return "".join(seen), error, len(proxy.requests)
    return "".join(seen), None, len(proxy.requests)


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (CutBefore(b'"finish_reason":"'), StreamCut),
        (Change(b'"finish_reason":"', b'"finish_reason";"'), Garbled),
    ],
    ids=["cut", "bad JSON"],
)
async def test_a_streamed_answer_that_somebody_read_is_never_repeated(
    fault: Fault, ends: type[ProviderError], tmp_path: Path, model_server: ModelServer
) -> None:
    async with (
        fault_proxy(model_server.url, fault) as first,
        fault_proxy(model_server.url) as second,
        gateway(
            tmp_path,
            {"first": provider(first.url), "second": provider(second.url)},
            routes=both("first", "second"),
        ) as models,
    ):
        text, error, asked = await read(models, first)
        assert text
        assert isinstance(error, ends)
        assert error.answered_anything
        assert asked == 1
        assert second.requests == []
        (charge,) = await lasting(models)
    # What was received is charged, as an estimate.
    assert (charge.state, charge.estimated) == ("cut", True)
    assert charge.input_tokens > 0
    assert charge.output_tokens > 0


async def test_a_streamed_answer_nobody_has_seen_yet_comes_from_another(
    tmp_path: Path, model_server: ModelServer
) -> None:
    async with (
        fault_proxy(model_server.url, CutBefore(b'"content":"')) as first,
        gateway(
            tmp_path,
            {"first": provider(first.url), "second": provider(model_server.url)},
            routes=both("first", "second"),
        ) as models,
    ):
        async with models.stream(question(), WHO) as events:
            seen = [event async for event in events]
        end = seen[-1]
        assert isinstance(end, Finished)
        assert end.provider == "second"
        assert "stopped in the middle" in end.attempts[0]
        assert await charged(models) == [("first", "failed"), ("second", "answered")]


async def test_a_server_that_is_paused_in_the_middle_counts_as_silent(
    tmp_path: Path, model_server: ModelServer
) -> None:
    paused = ModelServer(tmp_path / "paused")
    paused.start()
    assert paused.process is not None
    try:
        async with gateway(
            tmp_path,
            {"first": provider(paused.url, silence_seconds=1), "second": provider(model_server.url)},
            routes=both("first", "second"),
        ) as models:
            os.kill(paused.process.pid, signal.SIGSTOP)
            answer = await models.ask(question(), WHO)
            assert answer.finished.provider == "second"
            assert "fell silent" in answer.finished.attempts[0]
            # The question was sent, and may be billed.
            assert await charged(models) == [("first", "cut"), ("second", "answered")]
        os.kill(paused.process.pid, signal.SIGCONT)
        await idle(paused)
        async with gateway(tmp_path, {"first": provider(paused.url)}) as models:
            assert (await models.ask(question(), WHO)).finished.provider == "first"
    finally:
        os.kill(paused.process.pid, signal.SIGCONT)
        paused.kill()


async def test_an_answer_goes_on_elsewhere_when_its_server_is_killed(
    tmp_path: Path, model_server: ModelServer
) -> None:
    doomed = ModelServer(tmp_path / "doomed")
    doomed.start()
    async with gateway(
        tmp_path,
        {"first": provider(doomed.url), "second": provider(model_server.url)},
        routes=both("first", "second"),
    ) as models:
        found = []

        async def ask() -> None:
            found.append(await models.ask(question("Write a long story.", max_output_tokens=100), WHO))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await busy(doomed)
            doomed.kill()
        (answer,) = found
        assert answer.finished.provider == "second"
        states = await charged(models)
        assert states[0][0] == "first"
        assert states[0][1] in ("cut", "failed")
        assert states[-1] == ("second", "answered")
        # While it is away, others answer without anybody waiting.
        assert (await models.ask(question(), WHO)).finished.provider == "second"


async def test_what_is_too_long_for_one_model_is_asked_of_a_larger_one(
    tmp_path: Path, model_server: ModelServer
) -> None:
    small = ModelServer(tmp_path / "small", context=256)
    small.start()
    try:
        async with gateway(
            tmp_path,
            {"small": provider(small.url), "large": provider(model_server.url)},
            routes=both("small", "large"),
        ) as models:
            answer = await models.ask(question("a b c d e f g h i j k l " * 22), WHO)
            assert answer.finished.provider == "large"
            assert "too long" in answer.finished.attempts[0]
            with pytest.raises(CallerError, match="too long") as refused:
                await models.ask(question("word " * 2000), WHO)
            assert refused.value.argument == "messages"
            assert [state for _, state in await charged(models)] == ["failed", "answered", "failed", "failed"]
    finally:
        small.kill()


async def test_what_a_model_is_known_not_to_hold_is_not_sent_to_it(tmp_path: Path) -> None:
    tiny = {**provider("http://127.0.0.1:9"), "models": {MODEL: {"context_tokens": 64}}}
    async with gateway(tmp_path, {"tiny": tiny}) as models:
        with pytest.raises(CallerError, match=r"more than the 64 of tiny/smollm2"):
            await models.ask(question("word " * 100), WHO)
        with pytest.raises(CallerError, match=r"more than the 64 of tiny/smollm2"):
            await models.ask(question("word", max_output_tokens=100), WHO)
        assert await models.ledger.charges() == []


async def test_a_deadline_ends_the_call_and_nobody_else_is_asked(
    tmp_path: Path, model_server: ModelServer
) -> None:
    async with (
        fault_proxy(model_server.url, Stall()) as first,
        fault_proxy(model_server.url) as second,
        gateway(
            tmp_path,
            {"first": provider(first.url), "second": provider(second.url)},
            routes=both("first", "second"),
        ) as models,
    ):
        with pytest.raises(Unavailable, match="did not answer within the call's deadline"):
            await models.ask(question(deadline_seconds=0.3), WHO)
        with anyio.fail_after(25):
            await first.left.wait()
        assert second.requests == []
        # A caller in haste says nothing about the provider.
        assert (await models.standing(WHO)).providers[0].failures == 0
        assert await charged(models) == [("first", "cut")]


async def test_a_deadline_ends_an_answer_that_has_begun_and_hangs_up(
    tmp_path: Path, model_server: ModelServer
) -> None:
    async with (
        fault_proxy(model_server.url, HoldBefore(b'"finish_reason":"')) as proxy,
        gateway(tmp_path, {"only": provider(proxy.url)}) as models,
    ):

        async def read_on() -> None:
            async with models.stream(question(max_output_tokens=2, deadline_seconds=5), WHO) as events:
                async for _ in events:
                    pass

        with anyio.fail_after(25), pytest.raises(SuiteError, match="did not answer within the call's deadline"):
            await read_on()
        with anyio.fail_after(25):
            await proxy.left.wait()
        assert (len(proxy.requests), await charged(models)) == (1, [("only", "cut")])
        assert (await models.standing(WHO)).providers[0].failures == 0
        # The deadline of a call before is nothing to the next one.
        assert (await models.ask(question(max_output_tokens=2), WHO)).text


async def test_a_cancelled_call_closes_the_connection_and_the_server_stops_working(
    tmp_path: Path, model_server: ModelServer
) -> None:
    events = event_store()
    async with gateway(tmp_path, {"local": provider(model_server.url)}, events=events) as models:
        await idle(model_server)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(models.ask, question("Write a long story.", max_output_tokens=800), WHO)
            await busy(model_server)
            tasks.cancel_scope.cancel()
        await idle(model_server)
        (charge,) = await lasting(models)
        assert charge.state == "cut"
        # Estimated, and far below what was held back for it.
        assert charge.output_tokens < 400
    (event,) = await logged(events)
    assert event.data["code"] == "cancelled"


async def test_who_stops_reading_stops_the_server(tmp_path: Path, model_server: ModelServer) -> None:
    async with gateway(tmp_path, {"local": provider(model_server.url)}) as models:
        async with models.stream(question("Write a long story.", max_output_tokens=800), WHO) as events:
            async for event in events:
                assert isinstance(event, TextDelta)
                break
        await idle(model_server)
        (charge,) = await lasting(models)
        assert (charge.state, charge.output_tokens) == ("cut", 1 if charge.output_tokens == 1 else 2)
        assert models.gates["local"].in_flight == 0


async def test_no_more_are_asked_at_once_than_a_provider_takes(tmp_path: Path, model_server: ModelServer) -> None:
    async with gateway(tmp_path, {"local": provider(model_server.url, concurrency=1)}) as models:
        most = 0

        async def ask() -> None:
            nonlocal most
            async with models.stream(question(max_output_tokens=3), WHO) as events:
                async for _ in events:
                    most = max(most, models.gates["local"].in_flight)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask)
        assert most == 1
        assert [one.state for one in await lasting(models)] == ["answered"] * 4


async def test_a_rate_that_is_used_up_is_another_providers_turn(tmp_path: Path, model_server: ModelServer) -> None:
    async with gateway(
        tmp_path,
        {"first": provider(model_server.url, requests_per_minute=1), "second": provider(model_server.url)},
        routes=both("first", "second"),
    ) as models:
        answers = [await models.ask(question(max_output_tokens=1), WHO) for _ in range(2)]
        assert [answer.finished.provider for answer in answers] == ["first", "second"]
        with pytest.raises(Refused, match="no requests left for this minute"):
            await models.ask(question(model=f"first/{MODEL}", deadline_seconds=5), WHO)


async def test_a_request_goes_out_as_the_protocol_says(tmp_path: Path, model_server: ModelServer) -> None:
    async with (
        fault_proxy(model_server.url) as proxy,
        gateway(
            tmp_path,
            {"local": provider(proxy.url, body={"top_k": 5}, headers={"x-team": "${TEAM}"})},
            environ={"TEAM": "red"},
        ) as models,
    ):
        await models.ask(question(seed=7, stop=("\n",)), WHO)
        (sent,) = proxy.requests
        assert sent["messages"] == [{"role": "user", "content": "Say hello."}]
        assert (sent["max_tokens"], sent["seed"], sent["stop"], sent["top_k"]) == (8, 7, ["\n"], 5)
        assert sent["stream_options"] == {"include_usage": True}
        assert proxy.headers[0]["x-team"] == "red"
        assert proxy.paths == ["/v1/chat/completions"]
        assert json.dumps(sent)
