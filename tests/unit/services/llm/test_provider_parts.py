"""The parts around a provider: its gate, prices, the event stream, answers that were not streamed, the cache."""

import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.faults import Reply, fault_proxy
from reference.gateways import WHO, charged, gateway, question
from reference.models import ModelServer, provider

from quantum_suite.core.errors import RateLimited, Refused, SuiteError
from quantum_suite.services.cache.memory import MemoryCache
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.llm.configuration import Price, ProviderOptions
from quantum_suite.services.llm.errors import Failed, Overloaded, Rejected
from quantum_suite.services.llm.interface import Usage
from quantum_suite.services.llm.prices import NANO, PriceList
from quantum_suite.services.llm.provider_gate import Closed, ProviderGate
from quantum_suite.services.llm.providers.http import status_error
from quantum_suite.services.llm.providers.openai_compatible import is_strict
from quantum_suite.services.llm.providers.server_sent_events import EventStreamDecoder, EventTooLong
from quantum_suite.services.llm.tokens import estimate, upper_estimate

pytestmark = pytest.mark.anyio


def options(**more: Any) -> ProviderOptions:
    return ProviderOptions.model_validate({"kind": "ollama", "models": {"m": {}}, **more})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def gate(clock: Clock, **more: Any) -> ProviderGate:
    return ProviderGate("p", options(**more), MemoryRateLimiter(), monotonic=clock)


def test_a_circuit_opens_after_three_failures_and_lets_one_call_try() -> None:
    clock = Clock()
    one = gate(clock)
    for _ in range(3):
        one.admit()
        one.failed(Failed("broke", engine="p/m"))
    assert (one.state, one.why) == ("open", "its circuit is open after 3 failures in a row")
    with pytest.raises(Closed):
        one.check()
    clock.now += 2.5
    one.check()
    one.admit()
    with pytest.raises(Closed):
        one.admit()
    one.answered()
    assert one.state == "ready"


def test_a_refusal_is_no_failure_and_an_overload_that_says_when_is_none_either() -> None:
    clock = Clock()
    one = gate(clock)
    for _ in range(5):
        one.failed(Rejected("no", engine="p/m"))
    one.failed(Overloaded("later", engine="p/m", retry_after_seconds=10_000))
    assert one.breaker.failures == 0
    assert one.state == "resting"
    # A mistaken header does not keep a provider away for ever.
    assert one.rests_seconds == 300
    clock.now += 301
    assert one.state == "ready"


async def test_who_finds_no_place_in_time_is_told_so() -> None:
    one = gate(Clock(), concurrency=1)
    async with one.place(1):
        assert one.in_flight == 1
        with pytest.raises(RateLimited, match="All places of p are taken"):
            async with one.place(0.01):
                raise AssertionError
    async with one.place(1):
        assert one.in_flight == 1
    assert one.in_flight == 0


async def test_tokens_a_minute_are_waited_for_or_refused() -> None:
    one = ProviderGate("p", options(tokens_per_minute=6000), MemoryRateLimiter())
    await one.take_rates(6000, 0)
    with pytest.raises(RateLimited, match="no tokens left for this minute"):
        await one.take_rates(3000, 0.1)
    with anyio.fail_after(25):
        # A hundred a second come back.
        await one.take_rates(10, 5)


async def test_prices_come_from_the_file_then_from_the_list() -> None:
    prices = PriceList()
    usage = Usage(1_000_000, 1_000_000, estimated=False)
    priced = options(models={"m": {"price": {"input_usd_per_million": 1.5, "output_usd_per_million": 6.0}}})
    assert prices.cost(priced, "m", usage) == round(7.5 * NANO)
    assert prices.source(priced, "m") == "configured"
    assert isinstance(priced.models["m"].price, Price)
    assert prices.cost(options(), "m", usage) == 0
    cloud = options(kind="openai", api_key="${K}", models={"gpt-4o": {}, "unheard-of": {}})
    await prices.ready(cloud, "gpt-4o")
    assert prices.source(cloud, "gpt-4o") == "list"
    assert (prices.cost(cloud, "gpt-4o", Usage(1000, 100, estimated=False)) or 0) > 0
    assert prices.cost(cloud, "unheard-of", usage) is None
    assert prices.source(cloud, "unheard-of") == "unknown"
    by_address = options(kind="openai_compatible", base_url="https://api.openai.com/v1", models={"gpt-4o": {}})
    assert prices.cost(by_address, "gpt-4o", usage) == prices.cost(cloud, "gpt-4o", usage)


def test_without_the_list_a_price_is_unknown_and_how_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    cloud = options(kind="openai", api_key="${K}", models={"gpt-4o": {}})
    assert PriceList().cost(cloud, "gpt-4o", Usage(1, 1, estimated=False)) is None
    assert 'pip install "quantum-suite[llm]"' in PriceList().source(cloud, "gpt-4o")


async def test_a_budget_in_dollars_bounds_a_call_before_it_is_made(tmp_path: Path) -> None:
    dear = {"price": {"input_usd_per_million": 1000.0, "output_usd_per_million": 1000.0}}
    providers = {"p": {"kind": "vllm", "base_url": "http://127.0.0.1:9/v1", "models": {"m": dear}}}
    async with gateway(tmp_path, providers, budgets=[{"per": "day", "usd": 0.05}]) as models:
        with pytest.raises(Refused, match=r"call may cost \$0\.0010"):
            await models.ask(question(budget_usd=0.001), WHO)
        with pytest.raises(Refused, match=r"budget of key:ann for this day is \$0\.05"):
            await models.ask(question(max_output_tokens=100), WHO)
        assert await charged(models) == []
        assert (await models.standing(WHO)).budgets[0].spent_usd == 0
    providers["p"]["base_url"] = "http://10.255.255.1/v1"
    providers["p"]["models"] = {"m": {}}
    async with gateway(tmp_path, providers) as models:
        with pytest.raises(Refused, match=r"No price is known for p/m, and the call's budget"):
            await models.ask(question(budget_usd=1.0), WHO)


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=9)
EVENTS = st.lists(st.tuples(st.sampled_from(["", "ping"]), LINE))


@given(EVENTS, st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_an_event_stream_is_read_wherever_it_is_cut(
    events: list[tuple[str, str]], end: str, data: st.DataObject
) -> None:
    text = (
        "\ufeff: hello"
        + end
        + "".join((f"event: {name}{end}" if name else "") + f"data: {value}{end}{end}" for name, value in events)
    )
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    decoder = EventStreamDecoder()
    found = []
    for begin, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += decoder.feed(raw[begin:stop])
    assert [(one.name, one.data.decode()) for one in found] == [
        (name or "message", value) for name, value in events
    ]


def test_a_line_and_an_event_without_end_are_given_up() -> None:
    with pytest.raises(EventTooLong, match="line"):
        EventStreamDecoder(100).feed(b"data: " + b"x" * 200)
    with pytest.raises(EventTooLong, match="event"):
        EventStreamDecoder(100).feed(b"data: 0123456789\n" * 10)


OPENAI_WHOLE = (
    '{"choices": [{"message": {"content": "Hi", "tool_calls": [{"id": "1", "function": {"name": "t", "arguments": '
    '"{\\"a\\": 1}"}}]}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}'
)
ANTHROPIC_WHOLE = (
    '{"content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "1", "name": "t", "input": {"a": 1}}]'
    ', "stop_reason": "tool_use", "usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}}'
)


@pytest.mark.parametrize(
    ("kind", "body", "asked"), [("llama.cpp", OPENAI_WHOLE, 5), ("anthropic", ANTHROPIC_WHOLE, 8)]
)
async def test_an_answer_that_is_not_streamed_is_taken_too(
    kind: str, body: str, asked: int, tmp_path: Path, model_server: ModelServer
) -> None:
    async with fault_proxy(model_server.url, Reply(200, body)) as proxy:
        suffix = "" if kind == "anthropic" else "/v1"
        given = provider(proxy.url, kind=kind, base_url=proxy.url + suffix)
        async with gateway(tmp_path, {"p": given}) as models:
            answer = await models.ask(question(), WHO)
    (call,) = answer.tool_calls
    assert (answer.text, call.name, call.arguments) == ("Hi", "t", {"a": 1})
    assert (answer.finished.reason, answer.finished.usage.input_tokens) == ("tool_calls", asked)


BAD_WHOLES = [
    '{"choices": []}',
    '{"choices": [{"message": {"tool_calls": [{"function": {"name": "t", "arguments": "no JSON"}}]}}]}',
    '{"content": [{"type": "tool_use", "name": "", "input": {}}]}',
    '{"content": 5}',
    "[]",
]


@pytest.mark.parametrize("kind", ["llama.cpp", "anthropic"])
@pytest.mark.parametrize("body", BAD_WHOLES)
async def test_an_answer_that_is_none_is_garbled(
    kind: str, body: str, tmp_path: Path, model_server: ModelServer
) -> None:
    async with fault_proxy(model_server.url, Reply(200, body)) as proxy:
        given = provider(proxy.url, kind=kind, base_url=proxy.url, attempts=1)
        async with gateway(tmp_path, {"p": given}) as models:
            with pytest.raises(SuiteError, match=r"sent JSON|cannot be read"):
                await models.ask(question(), WHO)
            assert await charged(models) == [("p", "failed")]


BAD_EVENTS = [
    '{"choices": 5}',
    '{"choices": [{"delta": {"tool_calls": 5}}]}',
    '{"choices": [{"delta": {"tool_calls": [{"index": [], "function": {}}]}}]}',
    '{"choices": [{"delta": {"content": 5}}]}',
    '{"type": "content_block_delta"}',
    '{"type": "content_block_delta", "delta": {"type": "text_delta", "text": [1]}}',
    '{"type": "message_start", "message": 5}',
    "{}",
]


@pytest.mark.parametrize("kind", ["llama.cpp", "anthropic"])
@pytest.mark.parametrize("event", BAD_EVENTS)
async def test_an_event_that_is_none_is_garbled_or_no_answer(
    kind: str, event: str, tmp_path: Path, model_server: ModelServer
) -> None:
    said = Reply(200, f"data: {event}\n\ndata: [DONE]\n\n", content_type="text/event-stream")
    async with fault_proxy(model_server.url, said) as proxy:
        given = provider(proxy.url, kind=kind, base_url=proxy.url, attempts=1)
        async with gateway(tmp_path, {"p": given}) as models:
            with pytest.raises(SuiteError, match=r"sent|stopped in the middle"):
                await models.ask(question(), WHO)


async def test_counts_that_are_none_are_not_believed(tmp_path: Path, model_server: ModelServer) -> None:
    body = (
        '{"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": -5000, "completion_tokens": 2}}'
    )
    async with (
        fault_proxy(model_server.url, Reply(200, body)) as proxy,
        gateway(tmp_path, {"p": provider(proxy.url)}) as models,
    ):
        usage = (await models.ask(question(), WHO)).finished.usage
    assert usage.estimated
    assert usage.input_tokens > 0


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (429, "Overloaded"),
        (529, "Overloaded"),
        (500, "Failed"),
        (401, "NotAdmitted"),
        (404, "NoSuchModel"),
        (413, "ContextOverflow"),
        (422, "Rejected"),
        (302, "Rejected"),
    ],
)
def test_a_status_means_what_it_means(status: int, name: str) -> None:
    assert type(status_error("p/m", status, {}, "said")).__name__ == name


def test_a_schema_is_strict_only_where_every_object_is_closed() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    assert is_strict(closed)
    assert is_strict({"type": "array", "items": closed})
    assert not is_strict({**closed, "required": []})
    assert not is_strict({"anyOf": [{"type": "object"}]})


def test_an_upper_estimate_is_above_an_estimate() -> None:
    for text in ("", "plain words", "日本語のテキスト", "x" * 1000):
        assert upper_estimate(text) >= estimate(text)
    assert estimate("") == 0


SCHEMA = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2]}},
    "required": ["n"],
    "additionalProperties": False,
}


async def test_an_accepted_answer_answers_the_same_question_of_the_same_principal(
    tmp_path: Path, model_server: ModelServer
) -> None:
    cache = MemoryCache()
    async with gateway(tmp_path, {"p": provider(model_server.url)}, cache=cache) as models:
        asked = question("Give a number.", output_schema=SCHEMA, max_output_tokens=20)
        first = await models.ask(asked, WHO)
        again = await models.ask(asked, WHO)
        assert (again.data, again.finished.cached, again.finished.usage.output_tokens) == (first.data, True, 0)
        assert not (await models.ask(asked, "key:other")).finished.cached
        other = question("Give a number!", output_schema=SCHEMA, max_output_tokens=20)
        assert not (await models.ask(other, WHO)).finished.cached
        varied = question("Give a number.", output_schema=SCHEMA, max_output_tokens=20, temperature=None)
        await models.ask(varied, WHO)
        assert not (await models.ask(varied, WHO)).finished.cached
        unchecked = question("Give a number.", max_output_tokens=2)
        await models.ask(unchecked, WHO)
        assert not (await models.ask(unchecked, WHO)).finished.cached
    # Another model behind the route is another question.
    async with gateway(tmp_path, {"q": provider(model_server.url)}, cache=cache) as models:
        assert not (await models.ask(asked, WHO)).finished.cached
