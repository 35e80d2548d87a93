"""A client of bare messages over HTTP, for what the SDK's client does not speak: tasks, in both forms."""

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import anyio
import httpx2

Json = dict[str, Any]

TASKS = "io.modelcontextprotocol/tasks"
ACCEPT = "application/json, text/event-stream"
FINAL = frozenset({"completed", "failed", "cancelled"})
PATIENCE_SECONDS = 50
_LOOK_SECONDS = 0.03
_NAMED_BY = {"tools/call": "name", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}


class Refused(Exception):
    """A JSON-RPC error that answered a request."""

    def __init__(self, error: Json, status: int) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data = error.get("data")
        self.status = status


def events(text: str) -> Iterator[Json]:
    """Yield the messages of a stream of server-sent events."""
    for block in text.split("\n\n"):
        data = "".join(line[5:].strip() for line in block.splitlines() if line.startswith("data:"))
        if data:
            yield json.loads(data)


def text_of(result: Json) -> str:
    """Return the text a tool answered."""
    return "".join(block["text"] for block in result["content"] if block["type"] == "text")


@dataclass
class Listening:
    """An open `subscriptions/listen`."""

    lines: AsyncIterator[str]

    async def next(self) -> Json:
        """Return the next message."""
        with anyio.fail_after(PATIENCE_SECONDS):
            async for line in self.lines:
                if line.startswith("data:") and line[5:].strip():
                    message: Json = json.loads(line[5:])
                    return message
        raise AssertionError("the stream ended")

    async def until(self, status: str) -> list[Json]:
        """Return the params of the task notifications up to the one with this status."""
        told: list[Json] = []
        while not told or told[-1]["status"] != status:
            message = await self.next()
            assert message["method"] == "notifications/tasks", message
            told.append(message["params"])
        return told


class ModernClient:
    """2026-07-28: every request by itself. Use as an async context manager."""

    def __init__(self, url: str, *, key: str | None = None, capabilities: Json | None = None) -> None:
        self._url = url
        headers = {"accept": ACCEPT, "mcp-protocol-version": "2026-07-28"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        self._http = httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30, read=PATIENCE_SECONDS + 10))
        self._ids = itertools.count(1)
        declared = {"elicitation": {}, "sampling": {}, "extensions": {TASKS: {}}}
        self._capabilities = declared if capabilities is None else capabilities

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._http.__aexit__(*exc)

    def message(self, method: str, params: Json) -> tuple[Json, dict[str, str]]:
        """Return a request and its headers."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": self._capabilities,
            **params.get("_meta", {}),
        }
        headers = {"mcp-method": method}
        if (name := _NAMED_BY.get(method)) in params:
            headers["mcp-name"] = str(params[name])
        body = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": {**params, "_meta": meta}}
        return body, headers

    async def request(self, method: str, params: Json | None = None, headers: Json | None = None) -> Json:
        """Send a request and return its result; raises Refused."""
        body, own = self.message(method, params or {})
        reply = await self._http.post(self._url, json=body, headers={**own, **(headers or {})})
        stream = reply.headers["content-type"].startswith("text/event-stream")
        answer = [m for m in events(reply.text) if "id" in m][-1] if stream else reply.json()
        if "error" in answer:
            raise Refused(answer["error"], reply.status_code)
        result: Json = answer["result"]
        return result

    async def call(self, name: str, arguments: Json | None = None, **params: Any) -> Json:
        """Call a tool."""
        return await self.request("tools/call", {"name": name, "arguments": arguments or {}, **params})

    async def begin(self, name: str, /, **arguments: Any) -> str:
        """Call a tool that answers with a task, and return the task's id."""
        result = await self.call(name, arguments)
        assert result["resultType"] == "task", result
        task_id: str = result["taskId"]
        return task_id

    async def get(self, task_id: str) -> Json:
        """Return a task."""
        return await self.request("tasks/get", {"taskId": task_id})

    async def until(self, task_id: str, *statuses: str) -> Json:
        """Return the task once it has one of these statuses; any final one by default."""
        wanted = frozenset(statuses) or FINAL
        with anyio.fail_after(PATIENCE_SECONDS):
            while (task := await self.get(task_id))["status"] not in wanted:
                assert task["status"] not in FINAL, task
                await anyio.sleep(_LOOK_SECONDS)
        return task

    async def answer(self, task_id: str, responses: Json) -> Json:
        """Answer what a task asks."""
        return await self.request("tasks/update", {"taskId": task_id, "inputResponses": responses})

    async def until_offered(self, tool: str) -> None:
        """Return once the tool is listed: on a busy machine its server may take long to start."""
        with anyio.fail_after(2 * PATIENCE_SECONDS):
            while tool not in [one["name"] for one in (await self.request("tools/list"))["tools"]]:
                await anyio.sleep(_LOOK_SECONDS)

    @asynccontextmanager
    async def listening(self, *task_ids: str) -> AsyncIterator[tuple[list[str], Listening]]:
        """Follow tasks; yields the ids that the server agreed to, and the stream."""
        body, headers = self.message("subscriptions/listen", {"notifications": {"taskIds": list(task_ids)}})
        async with self._http.stream("POST", self._url, json=body, headers=headers) as reply:
            if reply.status_code != 200:
                await reply.aread()
                raise Refused(reply.json()["error"], reply.status_code)
            stream = Listening(reply.aiter_lines())
            agreed = await stream.next()
            assert agreed["method"] == "notifications/subscriptions/acknowledged"
            yield agreed["params"]["notifications"].get("taskIds", []), stream


class SessionClient:
    """2025-11-25: one session, whose questions `answers` answers by method. Use as an async context manager."""

    def __init__(self, url: str, *, answers: Json | None = None, version: str = "2025-11-25") -> None:
        self._url = url
        self._version = version
        self._answers = answers or {}
        self._ids = itertools.count(1)
        self._http = httpx2.AsyncClient(headers={"accept": ACCEPT}, timeout=httpx2.Timeout(30, read=60))
        self.asked: list[Json] = []
        self.notified: list[Json] = []
        self.server: Json = {}

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        capabilities = {"elicitation": {}, "sampling": {}}
        info = {"name": "raw", "version": "1"}
        params = {"protocolVersion": self._version, "capabilities": capabilities, "clientInfo": info}
        reply = await self._http.post(self._url, json=self._body("initialize", params))
        self._http.headers["mcp-session-id"] = reply.headers["mcp-session-id"]
        self.server = reply.json()["result"]
        await self._http.post(self._url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    async def __aexit__(self, *exc: Any) -> None:
        with anyio.CancelScope(shield=True):
            await self._http.delete(self._url)
            await self._http.__aexit__(*exc)

    def _body(self, method: str, params: Json) -> Json:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    async def request(self, method: str, params: Json | None = None) -> Json:
        """Send a request, answer what is asked meanwhile, and return the result; raises Refused."""
        body = self._body(method, params or {})
        async with self._http.stream("POST", self._url, json=body) as reply:
            if not reply.headers["content-type"].startswith("text/event-stream"):
                await reply.aread()
                return _unwrapped(reply.json(), reply.status_code)
            async for line in reply.aiter_lines():
                if not line.startswith("data:") or not line[5:].strip():
                    continue
                message: Json = json.loads(line[5:])
                if "method" not in message:
                    return _unwrapped(message, reply.status_code)
                await self._take(message)
        raise AssertionError("the stream ended without an answer")

    async def listen(self, ready: anyio.Event) -> None:
        """Take what comes on the session's own stream, until cancelled; `ready` is set once it is open."""
        async with self._http.stream("GET", self._url) as reply:
            ready.set()
            async for line in reply.aiter_lines():
                if line.startswith("data:") and line[5:].strip():
                    await self._take(json.loads(line[5:]))

    async def _take(self, message: Json) -> None:
        if "id" not in message:
            self.notified.append(message)
            return
        self.asked.append(message)
        answer = self._answers.get(message["method"])
        body = {"error": {"code": -32601, "message": "no"}} if answer is None else {"result": answer}
        await self._http.post(self._url, json={"jsonrpc": "2.0", "id": message["id"], **body})

    async def begin(self, name: str, /, ttl: float | None = None, **arguments: Any) -> Json:
        """Call a tool as a task and return the task."""
        task = {} if ttl is None else {"ttl": ttl}
        result = await self.request("tools/call", {"name": name, "arguments": arguments, "task": task})
        made: Json = result["task"]
        return made


def _unwrapped(message: Json, status: int) -> Json:
    if "error" in message:
        raise Refused(message["error"], status)
    result: Json = message["result"]
    return result
