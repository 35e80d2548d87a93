"""What is counted of events."""

import anyio
import anyio.lowlevel
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from reference.happenings import Happened, Noticed, happen, until

from quantum_suite.core.events import Position
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.projections.metrics import EventMetrics
from quantum_suite.services.projections.status import ProjectionStatus

pytestmark = pytest.mark.anyio


async def test_events_are_counted_by_type_from_now_on() -> None:
    store = MemoryEventStore(EventRegistry([Happened, Noticed]), polling_seconds=0.02)
    metrics = EventMetrics(list)
    registry = CollectorRegistry()
    registry.register(metrics)

    def counted() -> float | None:
        return registry.get_sample_value("quantum_events_total", {"type": "demo.thing.happened"})

    await happen(store, 1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(metrics.run, store)
        # It begins at the end of the log as it is when it starts: have it start before something comes.
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        await happen(store, 2, 3)
        await until(lambda: counted() == 2)
        tasks.cancel_scope.cancel()
    assert registry.get_sample_value("quantum_event_delay_seconds_count") == 2


async def test_types_beyond_a_bound_are_counted_as_one() -> None:
    metrics = EventMetrics(list)
    labels = {metrics._label(f"demo.thing{number}.happened.v1") for number in range(1000)}
    assert len(labels) == 201
    assert "other" in labels


def test_lag_is_told_by_who_runs_a_projection() -> None:
    runs = ProjectionStatus("mine", "projection", "following", Position("9"), 9, 1, 5, 0.25)
    stands_by = ProjectionStatus("theirs", "consumer", "standby", None, 0, 0, None, None)
    retries = ProjectionStatus("stuck", "consumer", "retrying", None, 0, 0, None, None, "Unavailable: away")
    registry = CollectorRegistry()
    registry.register(EventMetrics(lambda: [runs, stands_by, retries]))
    assert registry.get_sample_value("quantum_projection_lag_events", {"projection": "mine"}) == 5
    assert registry.get_sample_value("quantum_projection_lag_seconds", {"projection": "mine"}) == 0.25
    assert registry.get_sample_value("quantum_projection_parked", {"projection": "mine"}) == 1
    assert registry.get_sample_value("quantum_projection_troubled", {"projection": "stuck"}) == 1
    assert b"theirs" not in generate_latest(registry)
