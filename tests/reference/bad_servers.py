"""Servers that misbehave, each in one way, and otherwise answer as a server of the handshake era should.

`python tests/reference/bad_servers.py MODE` speaks on standard input and output, with `--http 0` over HTTP (it
then prints its URL). Written without an SDK, which would keep them from doing most of this.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

Json = dict[str, Any]
METHOD_NOT_FOUND = -32601
HUGE = 10 * 1024 * 1024
FLOOD = 20_000


def tool(name: str, **more: object) -> Json:
    """Return a tool as a list holds it."""
    return {"name": name, "description": "Does what it says.", "inputSchema": {"type": "object"}, **more}


def nested(levels: int) -> Json:
    """Return an object within an object, so many times."""
    value: Json = {}
    for _ in range(levels):
        value = {"deeper": value}
    return value


class Server:
    """A server with one tool, `work`, that does nothing wrong and answers with the id of its process.

    `answer` yields what goes out for one message, in order: JSON-RPC messages as objects, the rest as raw bytes.
    """

    def __init__(self) -> None:
        self.tools: list[object] = [tool("work")]

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        """Yield what is sent for a message of the client."""
        method = message.get("method")
        if "id" not in message:
            return
        match method:
            case "initialize":
                capabilities = {"tools": {"listChanged": True}}
                info = {"name": "bad", "version": "1"}
                version = message["params"]["protocolVersion"]
                yield self.result(
                    message, {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}
                )
            case "ping":
                yield self.result(message, {})
            case "tools/list":
                yield self.result(message, {"tools": self.tools})
            case "tools/call":
                yield from self.call(message)
            case _:
                error = {"code": METHOD_NOT_FOUND, "message": f"There is no {method}."}
                yield {"jsonrpc": "2.0", "id": message["id"], "error": error}

    def call(self, message: Json) -> Iterator[Json | bytes]:
        """Yield what is sent for a `tools/call`."""
        yield self.result(message, {"content": [{"type": "text", "text": f"worked in {os.getpid()}"}]})

    def result(self, message: Json, result: object) -> Json:
        """Frame a result for the request `message`."""
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}


class HangsAtStart(Server):
    """Never answers anything."""

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        yield from ()


class HangsOnCall(Server):
    """Never answers a call."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        yield from ()


class DiesAtStart(Server):
    """Ends before it has said anything, with a reason on stderr."""

    def __init__(self) -> None:
        print("cannot open the database at db.internal", file=sys.stderr, flush=True)
        os._exit(7)


class DiesMidCall(Server):
    """Ends in the middle of a call."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        print("segmentation fault (not really)", file=sys.stderr, flush=True)
        os._exit(3)


class FloodsLine(Server):
    """Answers a call with a line that does not end within any sensible bound."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        yield b'{"jsonrpc":"2.0","id":'
        for _ in range(64):
            yield b"1" * 1024 * 1024
        yield b"}\n"


class FloodsStderr(Server):
    """Writes 20 MB to stderr before it answers a call."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        for _ in range(20):
            sys.stderr.write("noise " * 170_000 + "\n")
        sys.stderr.flush()
        yield from super().call(message)


class FloodsProgress(Server):
    """Reports progress thousands of times before it answers a call."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        token = message["params"].get("_meta", {}).get("progressToken", "nobody-asked")
        for step in range(FLOOD):
            params = {"progressToken": token, "progress": step}
            yield {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        yield from super().call(message)


class PrintsGarbage(Server):
    """Prints to stdout what is no message, before every answer."""

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        yield b"Server listening!\n\xff\xfe\x00\n[]\n{\n42\n"
        yield from super().answer(message)


class WrongIds(Server):
    """Answers calls under ids nobody used."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        for answer in super().call(message):
            assert isinstance(answer, dict)
            yield {**answer, "id": 987_654}
            yield {**answer, "id": None}
            yield {**answer, "id": {"not": "an id"}}


class AnswersTwice(Server):
    """Answers every request twice."""

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        for answer in super().answer(message):
            yield answer
            yield answer


class InvalidSchemas(Server):
    """Lists tools that are no tools, around one that is."""

    def __init__(self) -> None:
        super().__init__()
        self.tools = [
            tool("schema_is_text", inputSchema="object"),
            tool("schema_is_list", inputSchema=[]),
            tool("schema_of_numbers", inputSchema={"type": "number"}),
            tool("properties_are_text", inputSchema={"type": "object", "properties": {"a": "string"}}),
            {"description": "has no name", "inputSchema": {"type": "object"}},
            tool("x" * 300),
            {"name": 7, "inputSchema": {"type": "object"}},
            "not even an object",
            tool("twice", description="the first"),
            tool("twice", description="the second"),
            tool("huge", description="d" * HUGE),
            tool("description_is_a_number", description=42),
            tool("nested_without_end", inputSchema={"type": "object", "default": nested(300)}),
            tool("work"),
        ]


class ListIsNoList(Server):
    """Lists an object where a list belongs."""

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        if message.get("method") == "tools/list":
            yield self.result(message, {"tools": {"work": {}}})
        else:
            yield from super().answer(message)


class ListNeverEnds(Server):
    """Always has another page."""

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        if message.get("method") == "tools/list":
            page = int(message.get("params", {}).get("cursor") or 0)
            yield self.result(message, {"tools": [tool(f"work_{page}")], "nextCursor": str(page + 1)})
        else:
            yield from super().answer(message)


class ResultIsText(Server):
    """Answers a call with a result that is no object."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        yield self.result(message, "worked")


class ErrorIsText(Server):
    """Answers a call with an error that is no object."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        yield {"jsonrpc": "2.0", "id": message["id"], "error": "went wrong"}


class AnswersWithErrors(Server):
    """Answers every call with an error of its own, under a code that others use for broken connections."""

    def call(self, message: Json) -> Iterator[Json | bytes]:
        error = {"code": -32000, "message": "The printer is out of paper."}
        yield {"jsonrpc": "2.0", "id": message["id"], "error": error}


class Slow(Server):
    """Takes half a second for every answer."""

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        time.sleep(0.5)
        yield from super().answer(message)


class ChangesTools(Server):
    """Offers one more tool after every call, in all its processes, and says so.

    How many there are is kept in the file named by the variable `TOOLS_FILE`, one line for each.
    """

    says_so = True

    def __init__(self) -> None:
        super().__init__()
        self._file = Path(os.environ["TOOLS_FILE"])

    def answer(self, message: Json) -> Iterator[Json | bytes]:
        more = self._file.read_text().splitlines() if self._file.exists() else []
        self.tools = [tool("work"), *map(tool, more)]
        yield from super().answer(message)

    def call(self, message: Json) -> Iterator[Json | bytes]:
        with self._file.open("a") as file:
            file.write(f"work_{len(self.tools)}\n")
        yield from super().call(message)
        if self.says_so:
            yield {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


class ChangesToolsSilently(ChangesTools):
    """Offers one more tool after every call, and says nothing."""

    says_so = False


MODES: dict[str, Callable[[], Server]] = {
    "good": Server,
    "hangs-at-start": HangsAtStart,
    "hangs-on-call": HangsOnCall,
    "dies-at-start": DiesAtStart,
    "dies-mid-call": DiesMidCall,
    "floods-line": FloodsLine,
    "floods-stderr": FloodsStderr,
    "floods-progress": FloodsProgress,
    "prints-garbage": PrintsGarbage,
    "wrong-ids": WrongIds,
    "answers-twice": AnswersTwice,
    "invalid-schemas": InvalidSchemas,
    "list-is-no-list": ListIsNoList,
    "list-never-ends": ListNeverEnds,
    "result-is-text": ResultIsText,
    "error-is-text": ErrorIsText,
    "answers-with-errors": AnswersWithErrors,
    "slow": Slow,
    "changes-tools": ChangesTools,
    "changes-tools-silently": ChangesToolsSilently,
}


def serve_stdio(server: Server) -> None:
    """Answer the messages on standard input until it ends."""
    for line in sys.stdin.buffer:
        for answer in server.answer(json.loads(line)):
            sys.stdout.buffer.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


class HttpServer:
    """The same servers as ASGI applications; each answer that is not one message becomes an event stream."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def __call__(
        self, scope: Json, receive: Callable[[], Awaitable[Json]], send: Callable[[Json], Awaitable[None]]
    ) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        if scope["method"] != "POST":
            await _respond(send, HTTPStatus.METHOD_NOT_ALLOWED, b"text/plain", b"")
            return
        message = json.loads(body)
        if "id" not in message:
            await _respond(send, HTTPStatus.ACCEPTED, b"text/plain", b"")
            return
        answers = list(self._server.answer(message))
        if not answers:
            # Nothing to say and the connection left open: hangs until the caller goes.
            await receive()
            return
        only = answers[0] if len(answers) == 1 else None
        if isinstance(only, dict):
            await _respond(send, HTTPStatus.OK, b"application/json", json.dumps(only).encode())
            return
        events = b"".join(_event(answer) for answer in answers)
        await _respond(send, HTTPStatus.OK, b"text/event-stream", events)


def _event(answer: Json | bytes) -> bytes:
    return (
        answer if isinstance(answer, bytes) else b"event: message\ndata: " + json.dumps(answer).encode() + b"\n\n"
    )


async def _respond(send: Callable[[Json], Awaitable[None]], status: int, kind: bytes, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve the mode named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=sorted(MODES))
    parser.add_argument("--http", type=int, metavar="PORT")
    chosen = parser.parse_args()
    server = MODES[chosen.mode]()
    if chosen.http is None:
        serve_stdio(server)
        return
    # Started as a script, only this folder is on the path; its siblings are imported through the folder above. And
    # tests start these servers by the dozen: only those that listen wait for what listening takes.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from reference.launch import serve_app

    serve_app(HttpServer(server), chosen.http)


if __name__ == "__main__":
    main()
