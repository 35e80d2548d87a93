"""What the hub counts, for Prometheus."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quantum_suite.hub.status import UpstreamStatus

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_STATES = ("starting", "healthy", "degraded", "disabled")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The hub's metrics in a registry of their own. Label values are bounded sets."""

    def __init__(self, statuses: Callable[[], Sequence[UpstreamStatus]], *more: Collector) -> None:
        """`more` is shown besides."""
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "quantum_calls", "Calls answered.", ("method", "upstream", "outcome"), registry=self.registry
        )
        self.seconds = Histogram(
            "quantum_call_duration_seconds",
            "Time from a call's arrival to its answer.",
            ("method", "upstream"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("quantum_calls_in_flight", "Calls being answered.", registry=self.registry)
        self.registry.register(_UpstreamCollector(statuses))
        for collector in more:
            self.registry.register(collector)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)


class _UpstreamCollector(Collector):
    def __init__(self, statuses: Callable[[], Sequence[UpstreamStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> list[Metric]:
        state = GaugeMetricFamily(
            "quantum_upstream_state", "1 for the state an upstream is in.", labels=("upstream", "state")
        )
        in_flight = GaugeMetricFamily(
            "quantum_upstream_calls_in_flight", "Calls an upstream is answering.", labels=("upstream",)
        )
        for status in self._statuses():
            in_flight.add_metric((status.name,), status.in_flight)
            for name in _STATES:
                state.add_metric((status.name, name), float(status.state == name))
        return [state, in_flight]

    def describe(self) -> list[Metric]:
        return []
