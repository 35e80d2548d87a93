"""A server that speaks one era alone, written without the SDK: `python one_era_server.py handshake|modern`.

It offers a tool `ask`, which wants to know a name before it answers, and the resource `era://who`.
"""

import json
import sys
from typing import Any

Json = dict[str, Any]

FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
QUESTION = {"mode": "form", "message": "Who are you?", "requestedSchema": FORM}
TOOLS = {
    "tools": [
        {
            "name": "ask",
            "description": "Greets you by name.",
            "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": True},
        },
        {
            "name": "any",
            "description": "Returns a list as structured content.",
            "inputSchema": {"type": "object"},
            "outputSchema": {"type": "array"},
            "annotations": {"readOnlyHint": True},
        },
    ]
}
RESOURCES = {"resources": [{"uri": "era://who", "name": "who"}]}
CAPABILITIES: Json = {"tools": {}, "resources": {}}


def send(message: Json) -> None:
    """Write one message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def read() -> Json:
    """Read one message; ends the process when there is none."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    message: Json = json.loads(line)
    return message


def text(words: str) -> Json:
    """Return a tool result."""
    return {"content": [{"type": "text", "text": words}]}


def handshake(message: Json) -> Json:
    """Answer a request of the handshake era; questions are requests of its own."""
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": CAPABILITIES,
                "serverInfo": {"name": "old", "version": "1"},
            }
        case "tools/call" if message["params"]["name"] == "ask":
            send({"id": "q1", "method": "elicitation/create", "params": QUESTION})
            while (answer := read()).get("id") != "q1":
                pass
            if "error" in answer:
                return {**text(answer["error"]["message"]), "isError": True}
            return text(f"hello {answer['result']['content']['name']}")
        case "resources/read" if message["params"]["uri"] != "era://who":
            raise LookupError(-32002)
        case other:
            return common(other, message)


def modern(message: Json) -> Json:
    """Answer a request of the modern era; questions are results."""
    params = message["params"]
    match message["method"]:
        case "initialize":
            raise LookupError(-32022)
        case "server/discover":
            return {
                "supportedVersions": ["2026-07-28"],
                "capabilities": CAPABILITIES,
                "ttlMs": 0,
                "cacheScope": "public",
            }
        case "tools/call" if params["name"] == "ask":
            if params.get("requestState") != "asked":
                asked = {"name": {"method": "elicitation/create", "params": QUESTION}}
                return {"resultType": "input_required", "inputRequests": asked, "requestState": "asked"}
            return text(f"hello {params['inputResponses']['name']['content']['name']}")
        case "resources/read" if params["uri"] != "era://who":
            raise LookupError(-32602)
        case other:
            return {"ttlMs": 0, "cacheScope": "private", **common(other, message)}


def common(method: str, message: Json) -> Json:
    """Answer what both eras have in common."""
    match method:
        case "tools/list":
            return TOOLS
        case "tools/call":
            return {**text("[1, 2]"), "structuredContent": [1, 2]}
        case "resources/list":
            return RESOURCES
        case "resources/templates/list":
            return {"resourceTemplates": [{"uriTemplate": "era://{name}", "name": "any"}]}
        case "resources/read":
            return {"contents": [{"uri": message["params"]["uri"], "text": "me"}]}
    raise LookupError(-32601)


def main() -> None:
    """Serve stdin until it ends."""
    answer = handshake if sys.argv[1] == "handshake" else modern
    while True:
        message = read()
        if "id" not in message or "method" not in message:
            continue
        try:
            result = answer(message)
        except LookupError as error:
            send({"id": message["id"], "error": {"code": error.args[0], "message": "no"}})
            continue
        complete = {"resultType": "complete"} if answer is modern else {}
        send({"id": message["id"], "result": {**complete, **result}})


if __name__ == "__main__":
    main()
