"""A server that makes tasks itself, without the SDK: `python task_server.py modern|handshake [--http PORT]`.

`modern` speaks the extension of 2026-07-28, over stdio or HTTP; `handshake` the form of 2025-11-25, over stdio.
"""

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference.launch import serve_app

Json = dict[str, Any]
Ask = Callable[[str, Json], Awaitable[Json]]

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
QUESTION = {"mode": "form", "message": "Who are you?", "requestedSchema": FORM}
POLL_MS = 50


class Problem(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **({"data": data} if data else {})}


@dataclass
class Task:
    """One task: it ends after so many seconds, or when it was answered."""

    id: str
    tool: str
    ends_at: float
    name: str | None = None
    cancelled: bool = False
    answered: anyio.Event = field(default_factory=anyio.Event)

    @property
    def status(self) -> str:
        if self.cancelled:
            return "cancelled"
        if self.tool == "ask" and self.name is None:
            return "input_required"
        if time.monotonic() < self.ends_at:
            return "working"
        return "failed" if self.tool == "breaks" else "completed"

    @property
    def words(self) -> str:
        return f"hello {self.name}" if self.tool == "ask" else f"{self.tool} done"


def tool(name: str, support: str | None) -> Json:
    """Return a tool's entry; `support` is what 2025-11-25 calls taskSupport."""
    execution = {"execution": {"taskSupport": support}} if support else {}
    schema = {"type": "object", "properties": {"seconds": {"type": "number"}}}
    return {"name": name, "inputSchema": schema, "annotations": {"destructiveHint": False}, **execution}


def text(words: str) -> Json:
    """Return a tool's result."""
    return {"content": [{"type": "text", "text": words}]}


class Server:
    """What both forms have in common."""

    support: str | None = "required"

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}

    def tools(self) -> Json:
        marked = [tool(name, self.support) for name in ("work", "ask", "breaks")]
        return {"tools": [*marked, tool("count_tasks", None)]}

    def count(self, params: Json) -> Json:
        """Say how many tasks have, or have not, been cancelled."""
        gone = (params.get("arguments") or {}).get("cancelled", True)
        return text(str(sum(task.cancelled is gone for task in self.tasks.values())))

    def make(self, params: Json) -> Task:
        seconds = (params.get("arguments") or {}).get("seconds", 0.1)
        made = Task(f"theirs-{len(self.tasks) + 1}", params["name"], time.monotonic() + seconds)
        self.tasks[made.id] = made
        return made

    def task(self, params: Json) -> Task:
        if params.get("taskId") not in self.tasks:
            raise Problem(-32602, "Failed to retrieve task: Task not found")
        return self.tasks[params["taskId"]]

    def cancel(self, task: Task) -> None:
        if task.status not in ("completed", "failed", "cancelled"):
            task.cancelled = True


class Modern(Server):
    """The extension: the server decides, and says everything in `tasks/get`."""

    support = None

    async def answer(self, method: str, params: Json, ask: Ask) -> Json:
        match method:
            case "server/discover":
                capabilities = {"tools": {}, "extensions": {EXTENSION: {}}}
                return {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, **_CACHE}
            case "tools/list":
                return {**self.tools(), **_CACHE}
            case "tools/call" if params["name"] == "count_tasks":
                return self.count(params)
            case "tools/call":
                meta = params["_meta"]["io.modelcontextprotocol/clientCapabilities"]
                if EXTENSION not in meta.get("extensions", {}):
                    raise Problem(
                        -32021, "tasks, please", {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
                    )
                return {"resultType": "task", **self.shown(self.make(params))}
            case "tasks/get":
                return self.detailed(self.task(params))
            case "tasks/update":
                task = self.task(params)
                if "who" in params["inputResponses"]:
                    task.name = params["inputResponses"]["who"]["content"]["name"]
                return {}
            case "tasks/cancel":
                self.cancel(self.task(params))
                return {}
        raise Problem(-32601, f"no {method}")

    def shown(self, task: Task) -> Json:
        now = "2026-11-25T10:30:00Z"
        return {
            "taskId": task.id,
            "status": task.status,
            "statusMessage": f"{task.tool} is {task.status}",
            "createdAt": now,
            "lastUpdatedAt": now,
            "ttlMs": 60_000,
            "pollIntervalMs": POLL_MS,
        }

    def detailed(self, task: Task) -> Json:
        shown = self.shown(task)
        match task.status:
            case "input_required":
                shown["inputRequests"] = {"who": {"method": "elicitation/create", "params": QUESTION}}
            case "completed":
                shown["result"] = text(task.words)
            case "failed":
                shown["error"] = {"code": -32050, "message": "it broke"}
        return shown


class Handshake(Server):
    """2025-11-25: the client asks for a task, and `tasks/result` waits and asks."""

    async def answer(self, method: str, params: Json, ask: Ask) -> Json:
        match method:
            case "initialize":
                if params["protocolVersion"] != "2025-11-25":
                    raise Problem(-32602, "2025-11-25 alone")
                tasks = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
                info = {"name": "tasks", "version": "1"}
                return {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}, "tasks": tasks},
                    "serverInfo": info,
                }
            case "ping":
                return {}
            case "tools/list":
                return self.tools()
            case "tools/call" if params["name"] == "count_tasks":
                return self.count(params)
            case "tools/call":
                if "task" not in params:
                    raise Problem(-32601, "as a task alone")
                return {"task": self.shown(self.make(params))}
            case "tasks/get":
                return self.shown(self.task(params))
            case "tasks/result":
                return await self.result(self.task(params), ask)
            case "tasks/cancel":
                task = self.task(params)
                self.cancel(task)
                return self.shown(task)
        raise Problem(-32601, f"no {method}")

    def shown(self, task: Task) -> Json:
        now = "2025-11-25T10:30:00Z"
        return {
            "taskId": task.id,
            "status": task.status,
            "createdAt": now,
            "lastUpdatedAt": now,
            "ttl": 60_000,
            "pollInterval": POLL_MS,
        }

    async def result(self, task: Task, ask: Ask) -> Json:
        related = {"_meta": {RELATED: {"taskId": task.id}}}
        if task.status == "input_required":
            answer = await ask("elicitation/create", {**QUESTION, **related})
            task.name = (answer.get("content") or {}).get("name", "nobody")
        while task.status == "working":
            await anyio.sleep(0.02)
        if task.status == "failed":
            raise Problem(-32050, "it broke")
        if task.status == "cancelled":
            raise Problem(-32000, "cancelled")
        return {**text(task.words), **related}


_CACHE = {"ttlMs": 0, "cacheScope": "private"}


async def respond(server: Modern | Handshake, message: Json, ask: Ask) -> Json:
    """Return the response to a request."""
    try:
        result = await server.answer(message["method"], message.get("params") or {}, ask)
    except Problem as problem:
        return {"jsonrpc": "2.0", "id": message["id"], "error": problem.body}
    if isinstance(server, Modern) and "resultType" not in result:
        result = {"resultType": "complete", **result}
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def serve_stdio(server: Modern | Handshake) -> None:
    """Serve standard input until it ends."""
    asked: dict[str, tuple[anyio.Event, Json]] = {}

    def write(message: Json) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    async def ask(method: str, params: Json) -> Json:
        id_ = f"q{len(asked) + 1}"
        event, answer = asked[id_] = anyio.Event(), {}
        write({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        await event.wait()
        return answer

    async def one(message: Json) -> None:
        write(await respond(server, message, ask))

    async with anyio.create_task_group() as tasks:
        async for line in anyio.wrap_file(sys.stdin):
            message = json.loads(line)
            if "method" in message and "id" in message:
                tasks.start_soon(one, message)
            elif message.get("id") in asked:
                event, answer = asked[message["id"]]
                answer.update(message.get("result") or {})
                event.set()
        tasks.cancel_scope.cancel()


def http_app(server: Modern) -> Starlette:
    """Return the modern form over HTTP."""

    async def nobody(method: str, params: Json) -> Json:
        raise Problem(-32010, "nobody to ask")

    async def endpoint(request: Request) -> Response:
        message = await request.json()
        if "id" not in message:
            return Response(status_code=202)
        if message["method"] != "server/discover" and "taskId" in (params := message.get("params") or {}):
            assert request.headers["mcp-name"] == params["taskId"], "2026-07-28 tasks, routing headers"
        return JSONResponse(await respond(server, message, nobody))

    return Starlette(routes=[Route("/mcp", endpoint, methods=["POST"])])


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("form", choices=["modern", "handshake"])
    parser.add_argument("--http", type=int)
    chosen = parser.parse_args()
    if chosen.http is not None:
        serve_app(http_app(Modern()), chosen.http)
    else:
        anyio.run(serve_stdio, Modern() if chosen.form == "modern" else Handshake())


if __name__ == "__main__":
    main()
