"""What is counted of events and of those who follow them, for Prometheus."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import anyio
from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Event, EventFilter, type_and_version
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.projections.status import ProjectionStatus

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MAX_TYPES = 200
_OTHER = "other"
_RETRY_SECONDS = 1.0


class EventMetrics(Collector):
    """Counts the events that come while this process runs, and shows how projections and consumers are doing.

    Register it with a `CollectorRegistry`, and start `run`. Every process counts every event: sum over none of
    them, take one. What was there before is not counted, as a counter's start is its process's.
    """

    def __init__(self, statuses: Callable[[], Sequence[ProjectionStatus]]) -> None:
        self._statuses = statuses
        self._types: set[str] = set()
        self._counted = Counter("quantum_events", "Events seen, by type.", ("type",), registry=None)
        self._delay = Histogram(
            "quantum_event_delay_seconds",
            "Time from when an event happened to when this process saw it.",
            buckets=_BUCKETS,
            registry=None,
        )

    async def run(self, events: EventStore, where: EventFilter | None = None) -> None:
        """Count what comes and is wanted, until cancelled."""
        while True:
            try:
                head = await events.head()
                break
            except Unavailable:
                await anyio.sleep(_RETRY_SECONDS)
        async with events.subscribe(head, where) as batches:
            async for batch in batches:
                self.count(batch)

    def count(self, batch: Sequence[Event]) -> None:
        """Count events."""
        now = datetime.now(UTC)
        for event in batch:
            self._counted.labels(self._label(event.type)).inc()
            self._delay.observe(max(0.0, (now - event.time).total_seconds()))

    def collect(self) -> list[Metric]:
        """Return the metrics as they are now."""
        lag = GaugeMetricFamily(
            "quantum_projection_lag_events", "Events still to be dealt with.", labels=("projection",)
        )
        age = GaugeMetricFamily(
            "quantum_projection_lag_seconds", "Age of the oldest event to be dealt with.", labels=("projection",)
        )
        parked = GaugeMetricFamily("quantum_projection_parked", "Events put aside.", labels=("projection",))
        troubled = GaugeMetricFamily(
            "quantum_projection_troubled", "1 while it waits for what it needs.", labels=("projection",)
        )
        for status in self._statuses():
            # Those that another process runs are that one's to tell of.
            if status.lag_events is not None and status.lag_seconds is not None:
                lag.add_metric((status.name,), status.lag_events)
                age.add_metric((status.name,), status.lag_seconds)
                parked.add_metric((status.name,), status.parked)
            if status.state != "standby":
                troubled.add_metric((status.name,), float(status.problem is not None))
        return [*self._counted.collect(), *self._delay.collect(), lag, age, parked, troubled]

    def describe(self) -> list[Metric]:
        """Return nothing: names are known when they are collected."""
        return []

    def _label(self, stored: str) -> str:
        """Return the type without its version; types beyond a bound, as one."""
        bare = type_and_version(stored)[0]
        if bare not in self._types:
            if len(self._types) >= _MAX_TYPES:
                return _OTHER
            self._types.add(bare)
        return bare
