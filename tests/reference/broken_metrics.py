"""Servers that answer where Prometheus should, each wrong in one way of its own."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]

CHUNK = b'{"metric":{"__name__":"up","instance":"host-%09d:9100"},"value":[1700000000,"1"]},'


def says(body: bytes, status: int = 200, **headers: str) -> Answer:
    """Answer everything with this."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def a_million_series(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Begin an answer that holds a million series, for whoever reads it to its end."""
    handler.send_response_only(200)
    handler.end_headers()
    handler.wfile.write(b'{"status":"success","data":{"resultType":"vector","result":[')
    for number in range(0, 1_000_000, 1000):
        handler.wfile.write(b"".join(CHUNK % each for each in range(number, number + 1000)))


def endlessly_slow(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, for ever."""
    handler.send_response_only(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)  # what makes it slow


@contextmanager
def broken(answer: Answer) -> Iterator[str]:
    """Serve with it, and yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):
                return

        do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parent's
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
