"""How an error budget was burned, slice of time by slice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.metrics.interface import MetricSource, Notes, Series, Window
from quantum_suite.services.slo.calendar import period_at
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.event_counts import count_query
from quantum_suite.services.slo.interface import Slo
from quantum_suite.services.slo.rules import error_ratio_query, selector, sli_metric

_MOST_SLICES = 180
_LENGTHS = (300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0)


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of time and what happened in it."""

    end: float
    """Unix seconds."""
    bad: float
    """Bad events; where events are not counted, the share of bad ones."""
    events: float
    """All events; 1 where they are not counted."""


@dataclass(frozen=True, slots=True)
class BurnHistory:
    """The period up to now (of a calendar period, what has passed of it)."""

    slice_seconds: float
    start: float
    end: float
    slices: tuple[Slice, ...]
    """Those with data, by time. One without events is there with 0 of them."""
    counted: bool
    """Whether events were counted; else each slice weighs the same."""
    period_end: float | None
    """When the calendar's period ends; None for a rolling one."""

    @property
    def covered(self) -> float:
        """Return the share of the period's slices so far that have data."""
        return min(1.0, len(self.slices) / max(1, round((self.end - self.start) / self.slice_seconds)))

    @property
    def bad(self) -> float:
        """Return the bad events of all slices."""
        return math.fsum(one.bad for one in self.slices)

    @property
    def events(self) -> float:
        """Return the events of all slices."""
        return math.fsum(one.events for one in self.slices)


def slice_seconds_of(period_seconds: float) -> float:
    """Return the length of slices for a period: a round one that gives at most 180 of them.

    Five minutes at least, in which targets are scraped often enough.
    """
    return next(
        (length for length in _LENGTHS if period_seconds / length <= _MOST_SLICES),
        math.ceil(period_seconds / _MOST_SLICES / 86400) * 86400.0,
    )


async def read_history(source: MetricSource, slo: Slo, at: float, notes: Notes) -> BurnHistory:
    """Read the slices of the period. Raises what `MetricSource` raises when neither events nor ratios can be had.

    Events are counted where the indicator counts them. Where the source cannot compute that (too much to read),
    recorded ratios are taken, and a note says so.
    """
    length = slice_seconds_of(slo.period_seconds)
    begin, period_end = (at - slo.period_seconds, None) if slo.calendar is None else period_at(slo.calendar, at)
    slices = max(1, math.floor((at - begin) / length))
    window = Window(at - (slices - 1) * length, at, length)
    try:
        found, counted = await _computed(source, slo, window)
    except SuiteError as error:
        recorded = await _recorded(source, slo, window)
        if not recorded:
            raise
        found, counted = recorded, False
        notes.append(f"Events could not be counted ({error.message[:200]}): recorded ratios were taken instead.")
    return BurnHistory(length, at - slices * length, at, tuple(found), counted, period_end)


async def _computed(source: MetricSource, slo: Slo, window: Window) -> tuple[list[Slice], bool]:
    total_query = count_query(slo, window.step)
    if total_query is None:
        return _ratios(await source.range(error_ratio_query(slo, window.step), window)), False
    totals = _by_time(await source.range(total_query, window))
    bad_query = count_query(slo, window.step, slo.indicator.error) if slo.indicator.error is not None else None
    if bad_query is not None:
        bad = _by_time(await source.range(bad_query, window))
        return [_slice(at, bad.get(at, 0.0), events) for at, events in totals.items()], True
    ratios = _by_time(await source.range(error_ratio_query(slo, window.step), window))
    return [_slice(at, ratios.get(at, 0.0) * events, events) for at, events in totals.items()], True


async def _recorded(source: MetricSource, slo: Slo, window: Window) -> list[Slice]:
    metric = selector(slo, sli_metric(slo.windows.page_quick.short_seconds))
    try:
        return _ratios(await source.range(f"avg_over_time({metric}[{prometheus_duration(window.step)}])", window))
    except SuiteError:
        return []


def _ratios(series: Sequence[Series]) -> list[Slice]:
    return [Slice(at, max(0.0, ratio), 1.0) for at, ratio in _by_time(series).items()]


def _slice(at: float, bad: float, events: float) -> Slice:
    return Slice(at, max(0.0, min(bad, events)), max(0.0, events))


def _by_time(series: Sequence[Series]) -> dict[float, float]:
    """Return the worst finite value at each time, in order of time."""
    found: dict[float, float] = {}
    for one in series:
        for at, value in zip(one.times, one.values, strict=True):
            if math.isfinite(value):
                found[at] = max(found.get(at, value), value)
    return dict(sorted(found.items()))
