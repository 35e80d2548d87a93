"""The floor: an ASGI application that answers every call with a fixed result, on the server the hub uses.

`python bench/echo_asgi.py PORT`. It is no contender; it shows what the load generator and the HTTP server cost.
"""

import sys
from typing import Any

import orjson
import uvicorn

HEADERS = [(b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a `tools/call` of `echo` with its text, and everything else with an empty result."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    request = orjson.loads(body)
    text = request.get("params", {}).get("arguments", {}).get("text", "")
    result = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
    answer = orjson.dumps({"jsonrpc": "2.0", "id": request.get("id"), "result": result})
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
