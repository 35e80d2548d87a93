"""Answers Chat Completions at once, in as many pieces as asked, so that only the caller's own work is measured.

    python bench/echo_model.py --pieces 24

Prints its port. Speaks the little HTTP/1.1 that a streaming client needs, on connections that stay open.
"""

import argparse
import asyncio
import json


def answer(pieces: int) -> bytes:
    """Return a streamed answer whole: head, pieces, usage, end."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "echo"}

    def chunk(**more: object) -> bytes:
        event = b"data: " + json.dumps({**base, **more}).encode() + b"\n\n"
        return f"{len(event):x}\r\n".encode() + event + b"\r\n"

    choices = [
        {"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": None} for number in range(pieces)
    ]
    events = [chunk(choices=[choice]) for choice in choices]
    events.append(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    events.append(chunk(choices=[], usage={"prompt_tokens": 300, "completion_tokens": pieces}))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(events) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def serve(pieces: int) -> None:
    """Serve until killed."""
    said = answer(pieces)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(
                    int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=24, help="pieces of an answer")
    asyncio.run(serve(parser.parse_args().pieces))


if __name__ == "__main__":
    main()
