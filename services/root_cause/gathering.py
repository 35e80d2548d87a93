"""Asks a source of metrics for what a diagnosis needs."""

import math
from collections.abc import Mapping, Sequence

import anyio

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.services.metrics.interface import MetricSource, Notes, Series, Window
from quantum_suite.services.root_cause.interface import Signal
from quantum_suite.services.root_cause.system_file import SignalQuery

MOST_NODES = 300
"""Series of one query; more are left out, and that is said."""
MOST_POINTS = 2_000
"""Points of a series."""
_AT_ONCE = 4


async def gather(
    source: MetricSource, queries: Sequence[SignalQuery], window: Window, notes: Notes
) -> list[Signal]:
    """Return a signal for each node and query, in the order of the queries.

    A query that fails is told in `notes`, and the others count; raises the error where all fail, and CallerError
    for a window of too many points.
    """
    if window.points > MOST_POINTS:
        raise CallerError(
            f"That is {window.points} points a series.",
            f"{MOST_POINTS} is the most: take a larger step.",
            argument="step",
        )
    found: dict[int, list[Signal]] = {}
    errors: list[SuiteError] = []
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(number: int, query: SignalQuery) -> None:
        async with limit:
            try:
                series = await source.range(query.query, window, notes)
            except SuiteError as error:
                errors.append(error)
                notes.append(f"{query.kind} could not be asked: {error}")
                return
        found[number] = _signals(series, query, window, notes)

    async with anyio.create_task_group() as tasks:
        for number, query in enumerate(queries):
            tasks.start_soon(ask, number, query)
    if errors and not found:
        raise errors[0]
    return [signal for number in sorted(found) for signal in found[number]]


def _signals(series: Sequence[Series], query: SignalQuery, window: Window, notes: Notes) -> list[Signal]:
    named: dict[str, Series] = {}
    for one in series:
        node = one.labels.get(query.node)
        if node is None:
            continue
        if node in named:
            notes.append(
                f"The query for {query.kind} gives several series for {query.node}={node[:60]}; the first counts. "
                f"Aggregate it: sum by ({query.node}) (...)."
            )
            continue
        named[node] = one
    if not named:
        why = f"none has the label {query.node}" if series else "nothing was measured"
        notes.append(f"The query for {query.kind} gives no signal: {why}.")
    if len(named) > MOST_NODES:
        notes.append(f"The query for {query.kind} gives {len(named)} nodes; {MOST_NODES} are looked at.")
    return [
        Signal(node, query.kind, f"{query.kind} of {node}", *_filled(one, window))
        for node, one in [*named.items()][:MOST_NODES]
    ]


def _filled(series: Series, window: Window) -> tuple[list[float], list[float]]:
    """Return times and values with NaN where the source left a point out, so that silence is seen."""
    by_time: Mapping[int, float] = {
        round((at - window.start) / window.step): value
        for at, value in zip(series.times, series.values, strict=True)
        if math.isfinite(value)
    }
    numbers = range(window.points)
    return [window.start + n * window.step for n in numbers], [by_time.get(n, float("nan")) for n in numbers]
