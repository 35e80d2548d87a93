"""A shop made of two services, and its customers: real processes that serve, call each other and count.

    python order_services.py prices PORT FOLDER     # runs the code of FOLDER/current/prices.py
    python order_services.py shop PORT PRICES_URL   # asks prices for every order
    python order_services.py customers SHOP_URL     # order without end

The services answer `/metrics`. `prices` says at `/release` which release runs, and begins anew with what `current`
leads to when it gets SIGHUP; it keeps its listener, so that nobody is turned away meanwhile.
"""

import http.client
import http.server
import importlib.util
import json
import os
import signal
import socket
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, generate_latest

ARTICLES = ("book", "pen", "lamp", "chair")
ORDERS_PER_SECOND = 20
ANSWER_SECONDS = 10
_LISTENER = "ORDER_SERVICES_LISTENER"

Answer = Callable[[str, dict[str, str]], bytes]


class Service(http.server.HTTPServer):
    """Answers one request after the other, and counts them by status."""

    request_queue_size = 128

    def __init__(self, port: int, answer: Answer) -> None:
        inherited = os.environ.pop(_LISTENER, None)
        super().__init__(("127.0.0.1", port), _Handler, bind_and_activate=inherited is None)
        if inherited is not None:
            self.socket.close()
            self.socket = socket.socket(fileno=int(inherited))
        self.timeout = 0.1
        self.answer = answer
        self.registry = CollectorRegistry()
        self.requests = Counter("requests", "Requests answered.", ["code"], registry=self.registry)
        for code in ("200", "500"):
            self.requests.labels(code)
        self.seconds = Summary("request_seconds", "How long they took.", registry=self.registry)

    def run(self) -> None:
        """Serve; on SIGHUP begin anew, with the program's arguments and the same listener."""
        again: list[int] = []
        signal.signal(signal.SIGHUP, lambda number, _: again.append(number))
        while not again:
            self.handle_request()
        os.set_inheritable(self.socket.fileno(), True)
        os.environ[_LISTENER] = str(self.socket.fileno())
        os.execv(sys.executable, [sys.executable, *sys.argv])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/metrics":
            self._reply(200, generate_latest(self.server.registry))
            return
        begun = time.monotonic()
        try:
            body, code = self.server.answer(url.path, dict(urllib.parse.parse_qsl(url.query))), 200
        except Exception as error:
            # Whatever a release gets wrong is a 500.
            body, code = repr(error).encode(), 500
        if url.path != "/release":
            self.server.requests.labels(str(code)).inc()
            self.server.seconds.observe(time.monotonic() - begun)
        self._reply(code, body)

    def _reply(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parent's
        """Say nothing of single requests."""


def prices(port: int, folder: Path) -> None:
    """Serve `/price?article=` by the release that is current."""
    release = (folder / "current").resolve()
    spec = importlib.util.spec_from_file_location("prices", release / "prices.py")
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(code)

    def answer(path: str, asked: dict[str, str]) -> bytes:
        if path == "/release":
            return json.dumps({"release": release.name}).encode()
        return json.dumps({"price": code.price(asked["article"])}).encode()

    service = Service(port, answer)
    Gauge("release_info", "What runs.", ["release"], registry=service.registry).labels(release.name).set(1)
    (folder / "pid").write_text(str(os.getpid()))
    service.run()


def shop(port: int, prices_url: str) -> None:
    """Serve `/order?article=`, which needs a price."""

    def answer(path: str, asked: dict[str, str]) -> bytes:
        query = urllib.parse.urlencode({"article": asked["article"]})
        with urllib.request.urlopen(f"{prices_url}/price?{query}", timeout=ANSWER_SECONDS) as reply:
            return json.dumps({"ordered": asked["article"], **json.load(reply)}).encode()

    Service(port, answer).run()


def customers(shop_url: str) -> None:
    """Order every article in turn, at a steady pace, whatever the shop answers."""
    host = urllib.parse.urlsplit(shop_url).netloc
    for article in cycle(ARTICLES):
        connection = http.client.HTTPConnection(host, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", f"/order?article={article}")
            connection.getresponse().read()
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(1 / ORDERS_PER_SECOND)  # their pace; nobody waits for them


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    if role == "prices":
        prices(int(rest[0]), Path(rest[1]))
    elif role == "shop":
        shop(int(rest[0]), rest[1])
    else:
        customers(rest[0])
