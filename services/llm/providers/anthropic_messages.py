"""Anthropic's Messages API, which llama.cpp serves as well.

https://docs.anthropic.com/en/api/messages
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson

from quantum_suite.services.llm.interface import (
    Finished,
    FinishReason,
    Message,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCallRequested,
    Usage,
)
from quantum_suite.services.llm.providers.http import ModelServer, Reply, counted, cut, garbled
from quantum_suite.services.llm.providers.tool_calls import PartialToolCall, whole_call

ANSWER_TOOL = "answer"
"""The tool a JSON answer is given through: the API's own way to bind an answer to a schema."""

_REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNT_SECONDS = 5.0


class AnthropicMessagesProvider:
    """One Messages endpoint. The API takes no seed: a request's is left out."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    @property
    def name(self) -> str:
        return self._server.endpoint.name

    @asynccontextmanager
    async def stream(
        self, request: ModelRequest, model: str, ends_at: float
    ) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        as_text = request.output_schema is not None
        async with (
            self._server.answer("/v1/messages", model, _body(request, model), ends_at) as reply,
            aclosing(_events(reply, self.name, model, as_text=as_text)) as events,
        ):
            yield events

    async def count_tokens(self, text: str, model: str) -> int | None:
        url = f"{self._server.endpoint.base_url.rstrip('/')}/v1/messages/count_tokens"
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        said = await self._server.post_json(url, body, _COUNT_SECONDS)
        return counted(said.get("input_tokens")) if isinstance(said, dict) else None


def _body(request: ModelRequest, model: str) -> dict[str, Any]:
    system = "\n\n".join(message.text for message in request.messages if message.role == "system")
    body: dict[str, Any] = {
        "model": model,
        "messages": _turns(request.messages),
        "max_tokens": request.max_output_tokens,
        "stream": True,
    }
    if system:
        body["system"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    tools = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        for tool in request.tools
    ]
    if request.output_schema is not None:
        description = "Gives the answer. Call it once."
        tools.append({"name": ANSWER_TOOL, "description": description, "input_schema": request.output_schema})
        body["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}
    if tools:
        body["tools"] = tools
    return body


def _turns(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return the conversation with neighbours of one role joined: the API wants them to alternate."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.text}]
    text = [{"type": "text", "text": message.text}] if message.text else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in message.tool_calls
    ]
    return [*text, *calls]


class _Answer:
    """What of the answer has come so far."""

    def __init__(self, reply: Reply, *, as_text: bool) -> None:
        self.reply = reply
        self.as_text = as_text
        self.call: PartialToolCall | None = None
        self.reason: str | None = None
        self.ended = False
        self.asked: int | None = None
        self.cached = 0
        self.answered: int | None = None

    def take(self, event: dict[str, Any]) -> ModelEvent | None:
        """Note an event and return what it adds to the answer."""
        try:
            return self._take(event)
        except (KeyError, TypeError, AttributeError) as error:
            raise garbled(self.reply, "an event that is no part of an answer") from error

    def _take(self, event: dict[str, Any]) -> ModelEvent | None:
        kind = event["type"]
        if kind == "message_start":
            self.count(event["message"].get("usage") or {})
        elif kind == "content_block_start":
            block = event["content_block"]
            if block["type"] == "tool_use":
                self.call = PartialToolCall(str(block.get("id") or ""), str(block.get("name") or ""))
            return self._text(block.get("text", ""))
        elif kind == "content_block_delta":
            return self._delta(event["delta"])
        elif kind == "content_block_stop":
            call, self.call = self.call, None
            if call is not None and not self._is_answer(call):
                return ToolCallRequested(call.whole(self.reply))
        elif kind == "message_delta":
            self.reason = event["delta"].get("stop_reason") or self.reason
            self.count(event.get("usage") or {})
        elif kind == "message_stop":
            self.ended = True
        return None

    def _delta(self, delta: dict[str, Any]) -> ModelEvent | None:
        if delta["type"] == "text_delta":
            return self._text(delta["text"])
        if delta["type"] == "thinking_delta":
            # Thought is billed, and is no part of the answer.
            self.reply.answered = True
        if delta["type"] == "input_json_delta" and self.call is not None:
            self.reply.answered = True
            if self._is_answer(self.call):
                return self._text(delta["partial_json"])
            self.call.arguments.append(delta["partial_json"])
        return None

    def _is_answer(self, call: PartialToolCall) -> bool:
        return self.as_text and call.name == ANSWER_TOOL

    def _text(self, text: Any) -> ModelEvent | None:
        if not text:
            return None
        if not isinstance(text, str):
            raise garbled(self.reply, "content that is no text")
        self.reply.answered = True
        return TextDelta(text)

    def count(self, usage: dict[str, Any]) -> None:
        if (asked := counted(usage.get("input_tokens"))) is not None:
            self.cached = counted(usage.get("cache_read_input_tokens")) or 0
            self.asked = asked + self.cached + (counted(usage.get("cache_creation_input_tokens")) or 0)
        if (answered := counted(usage.get("output_tokens"))) is not None:
            self.answered = answered

    def usage(self) -> Usage:
        """Return the counts the provider gave."""
        if self.asked is None or self.answered is None:
            return Usage(0, 0, estimated=True)
        return Usage(self.asked, self.answered, estimated=False, cached_input_tokens=self.cached)

    def finish(self) -> FinishReason:
        """Return why the answer ended; an answer given through the tool has simply ended."""
        if self.as_text and self.reason == "tool_use":
            return "stop"
        return _REASONS.get(self.reason or "", "stop")


async def _events(reply: Reply, provider: str, model: str, *, as_text: bool) -> AsyncGenerator[ModelEvent, None]:
    answer = _Answer(reply, as_text=as_text)
    if reply.whole is not None:
        for event in _whole(reply, answer):
            yield event
        yield Finished(answer.finish(), answer.usage(), provider, model)
        return
    async with aclosing(reply.events()) as arriving:
        async for said in arriving:
            found = answer.take(said)
            if found is not None:
                yield found
    if not answer.ended and answer.reason is None:
        raise cut(reply)
    yield Finished(answer.finish(), answer.usage(), provider, model)


def _whole(reply: Reply, answer: _Answer) -> list[ModelEvent]:
    """Return the pieces of an answer that was not streamed."""
    found: list[ModelEvent] = []
    try:
        for block in reply.whole["content"]:
            if block["type"] == "text" and block["text"]:
                found.append(TextDelta(block["text"]))
            elif block["type"] == "tool_use" and answer.as_text and block["name"] == ANSWER_TOOL:
                found.append(TextDelta(_as_json(block["input"])))
            elif block["type"] == "tool_use":
                found.append(
                    ToolCallRequested(whole_call(reply, block.get("id", ""), block["name"], block["input"]))
                )
        answer.reason = reply.whole.get("stop_reason")
        answer.count(reply.whole.get("usage") or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise garbled(reply, "JSON that is no answer") from error
    return found


def _as_json(value: Any) -> str:
    return orjson.dumps(value).decode()
