"""Chat Completions as OpenAI defines it and Azure, vLLM, Ollama and llama.cpp serve it.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote

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

Tokenizer = Literal["llama.cpp", "vllm"]

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_COUNT_SECONDS = 5.0


class OpenAICompatibleProvider:
    """One Chat Completions endpoint. `deployments`: the model is part of the path, as on Azure."""

    def __init__(
        self,
        server: ModelServer,
        *,
        deployments: bool = False,
        max_tokens_field: str = "max_tokens",
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self._server = server
        self._deployments = deployments
        self._max_tokens_field = max_tokens_field
        self._tokenizer = tokenizer

    @property
    def name(self) -> str:
        return self._server.endpoint.name

    @asynccontextmanager
    async def stream(
        self, request: ModelRequest, model: str, ends_at: float
    ) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        deployment = f"/openai/deployments/{quote(model, safe='')}" if self._deployments else ""
        body = _body(request, model, self._max_tokens_field)
        path = f"{deployment}/chat/completions"
        async with (
            self._server.answer(path, model, body, ends_at) as reply,
            aclosing(_events(reply, self.name, model)) as events,
        ):
            yield events

    async def count_tokens(self, text: str, model: str) -> int | None:
        if self._tokenizer is None:
            return None
        # Both serve it beside the API's own prefix.
        url = f"{self._server.endpoint.base_url.rstrip('/').removesuffix('/v1')}/tokenize"
        body = {"content": text} if self._tokenizer == "llama.cpp" else {"model": model, "prompt": text}
        said = await self._server.post_json(url, body, _COUNT_SECONDS)
        if not isinstance(said, dict):
            return None
        count = said.get("count", len(tokens) if isinstance(tokens := said.get("tokens"), list) else None)
        return counted(count)


def _body(request: ModelRequest, model: str, max_tokens_field: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        max_tokens_field: request.max_output_tokens,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    if request.output_schema is not None:
        schema = {"name": "answer", "schema": request.output_schema, "strict": is_strict(request.output_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object is closed and requires all it names."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" and not (
        schema.get("additionalProperties") is False
        and set(schema.get("required", ())) == set(schema.get("properties", {}))
    ):
        return False
    return all(is_strict(value) for value in schema.values())


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        said["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        said["content"] = message.text or None
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    return said


class _Answer:
    """What of the answer has come so far."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.calls: dict[int, PartialToolCall] = {}
        self.reason: str | None = None
        self.usage = Usage(0, 0, estimated=True)

    def take(self, chunk: dict[str, Any]) -> str:
        """Note a chunk and return the text in it. Raises Garbled."""
        try:
            return self._take(chunk)
        except (KeyError, TypeError, AttributeError) as error:
            raise garbled(self.reply, "an event that is no part of an answer") from error

    def _take(self, chunk: dict[str, Any]) -> str:
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = _usage(usage)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise garbled(self.reply, "an event that is no part of an answer")
        if not choices or not isinstance(choices[0], dict):
            return ""
        self.reason = choices[0].get("finish_reason") or self.reason
        delta = choices[0].get("delta")
        if not isinstance(delta, dict):
            return ""
        if len(delta) == 1 and type(only := delta.get("content")) is str:
            # What nearly all of them are.
            return only
        for number, piece in enumerate(delta.get("tool_calls") or ()):
            self._take_call(number, piece)
        if delta.get("reasoning_content") or delta.get("reasoning"):
            # Thought is billed, and is no part of the answer.
            self.reply.answered = True
        text = delta.get("content") or delta.get("refusal") or ""
        if not isinstance(text, str):
            raise garbled(self.reply, "content that is no text")
        return text

    def _take_call(self, number: int, piece: Any) -> None:
        function = piece.get("function") if isinstance(piece, dict) else None
        if not isinstance(function, dict):
            raise garbled(self.reply, "a tool call that cannot be read")
        call = self.calls.setdefault(piece.get("index", number), PartialToolCall())
        call.id = call.id or str(piece.get("id") or "")
        call.name = call.name or str(function.get("name") or "")
        call.arguments.append(str(function.get("arguments") or ""))
        self.reply.answered = True


async def _events(reply: Reply, provider: str, model: str) -> AsyncGenerator[ModelEvent, None]:
    if reply.whole is not None:
        for event in _whole(reply, provider, model):
            yield event
        return
    answer = _Answer(reply)
    async with aclosing(reply.events()) as arriving:
        async for said in arriving:
            text = answer.take(said)
            if text:
                reply.answered = True
                yield TextDelta(text)
    if answer.reason is None and not (reply.done and reply.answered):
        raise garbled(reply, "no answer") if reply.done else cut(reply)
    for call in answer.calls.values():
        yield ToolCallRequested(call.whole(reply))
    yield Finished(_reason(answer.reason, bool(answer.calls)), answer.usage, provider, model)


def _whole(reply: Reply, provider: str, model: str) -> list[ModelEvent]:
    """Return the events of an answer that was not streamed."""
    try:
        choice = reply.whole["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls") or []
        found: list[ModelEvent] = [TextDelta(message["content"])] if message.get("content") else []
        for call in calls:
            partial = PartialToolCall(call.get("id", ""), call["function"]["name"])
            given = call["function"].get("arguments") or "{}"
            if isinstance(given, dict):
                found.append(ToolCallRequested(whole_call(reply, partial.id, partial.name, given)))
            else:
                partial.arguments.append(given)
                found.append(ToolCallRequested(partial.whole(reply)))
        usage = _usage(reply.whole.get("usage") or {})
        reason = _reason(choice.get("finish_reason"), bool(calls))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise garbled(reply, "JSON that is no answer") from error
    return [*found, Finished(reason, usage, provider, model)]


def _usage(said: dict[str, Any]) -> Usage:
    asked, answered = counted(said.get("prompt_tokens")), counted(said.get("completion_tokens"))
    if asked is None or answered is None:
        return Usage(0, 0, estimated=True)
    details = said.get("prompt_tokens_details")
    cached = counted(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Usage(asked, answered, estimated=False, cached_input_tokens=min(cached or 0, asked))


def _reason(said: str | None, calls: bool) -> FinishReason:
    return _REASONS.get(said or "", "tool_calls" if calls else "stop")
