"""A small service as metrics see it: its traffic, failures and latency are what a test asks for.

    python -m reference.shop_exporter PORT

Serves `/metrics` (OpenMetrics, with exemplars, where that is asked for) and takes `POST /behaviour` with a JSON
object of any of `requests_per_second`, `error_ratio`, `latency_seconds` and `queue_depth`.
"""

import http.server
import json
import sys
import threading
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

TICK_SECONDS = 0.05


class Shop:
    """Counts requests as time passes; how many, and how they end, is set from outside."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.behaviour = {
            "requests_per_second": 20.0,
            "error_ratio": 0.0,
            "latency_seconds": 0.05,
            "queue_depth": 3.0,
        }
        self._requests = Counter(
            "shop_requests", "Requests answered, by status code.", ["code", "method"], registry=self.registry
        )
        self._duration = Histogram(
            "shop_request_duration_seconds",
            "How long requests took.",
            registry=self.registry,
            buckets=(0.025, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self._queue = Gauge("shop_queue_depth", "Orders that wait.", registry=self.registry)
        Info("shop_build", "What runs.", registry=self.registry).info({"version": "1.2.3"})
        self._due = {"200": 0.0, "500": 0.0}

    def run(self) -> None:
        """Count until the process ends."""
        before = time.monotonic()
        while True:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            self._pass_time(now - before)
            before = now

    def _pass_time(self, seconds: float) -> None:
        asked = dict(self.behaviour)
        failing = asked["requests_per_second"] * asked["error_ratio"] * seconds
        self._due["500"] += failing
        self._due["200"] += asked["requests_per_second"] * seconds - failing
        for code in self._due:
            whole = int(self._due[code])
            self._due[code] -= whole
            if whole:
                self._requests.labels(code, "GET").inc(whole)
            for _ in range(whole):
                self._duration.observe(asked["latency_seconds"], {"trace_id": f"trace-{code}"})
        self._queue.set(asked["queue_depth"])


def serve(port: int) -> None:
    """Serve until the process ends."""
    shop = Shop()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(encode(shop.registry), content_type)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            shop.behaviour.update({name: float(value) for name, value in asked.items()})
            self._answer(b"{}", "application/json")

        def _answer(self, body: bytes, content_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parent's
            """Say nothing of single requests."""

    threading.Thread(target=shop.run, daemon=True).start()
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
