"""Counts and times every call."""

import time
from typing import Any

import anyio

from quantum_suite.hub.call import ERROR_CODES, Call, Handler, Json, RpcError
from quantum_suite.hub.metrics import Metrics

_NAMED = frozenset(
    {
        "server/discover",
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "tasks/get",
        "tasks/update",
        "tasks/cancel",
        "tasks/result",
        "tasks/list",
    }
)


class ObserveStage:
    """Feeds the metrics.

    Methods outside the protocol share one label, and so do error codes that servers made up: neither callers nor
    servers can make new series.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counters: dict[tuple[str, str, str], Any] = {}
        self._timers: dict[tuple[str, str], Any] = {}

    async def __call__(self, call: Call, following: Handler) -> Json:
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        outcome = "error"
        try:
            result = await following(call)
            outcome = "tool_error" if result.get("isError") is True else "ok"
            return result
        except RpcError as error:
            outcome = f"error:{error.code}" if error.code in ERROR_CODES else "error:other"
            raise
        except anyio.get_cancelled_exc_class():
            outcome = "cancelled"
            raise
        finally:
            self._metrics.in_flight.dec()
            self._count(call, outcome, time.perf_counter() - started)

    def _count(self, call: Call, outcome: str, seconds: float) -> None:
        method = call.method if call.method in _NAMED else "other"
        upstream = call.target.upstream if call.target is not None else ""
        key = (method, upstream, outcome)
        if (counter := self._counters.get(key)) is None:
            counter = self._counters[key] = self._metrics.calls.labels(*key)
        if (timer := self._timers.get(key[:2])) is None:
            timer = self._timers[key[:2]] = self._metrics.seconds.labels(*key[:2])
        counter.inc()
        timer.observe(seconds)
