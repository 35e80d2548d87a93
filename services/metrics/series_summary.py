"""A series in a few numbers and words: how high, which way, and what is missing of it."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from quantum_suite.services.metrics.interface import Series, Window

Trend = Literal["rising", "falling", "steady", "unclear"]

_LEAST_FOR_TREND = 8
_CLEAR_CHANGE = 0.1
"""Of the level: what moves less is called steady."""
_CLEAR_OF_SPREAD = 2.0
"""Times the scatter within a quarter: what moves less is called unclear."""


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """What a series did in a window; numbers are None where no point is a finite number."""

    labels: Mapping[str, str]
    points: int
    not_numbers: int
    """Points that are NaN or infinite; they are in no other number."""
    minimum: float | None
    mean: float | None
    maximum: float | None
    first: float | None
    last: float | None
    trend: Trend
    change: float | None
    """Median of the last quarter less that of the first."""
    gaps: int
    """Stretches of at least one missing step between two points."""
    longest_gap_seconds: float
    resets: int
    """Falls, in a counter; 0 in anything else."""
    begins_late_seconds: float
    """From the window's start to the first point, where that is more than a step."""
    ends_early_seconds: float
    """From the last point to the window's end, where that is more than a step: it was not measured any more."""


def summarise(series: Series, window: Window, *, counter: bool) -> SeriesSummary:
    """Return what a series of a range query did."""
    finite = [value for value in series.values if math.isfinite(value)]
    trend, change = trend_of(finite)
    gaps = _gaps(series.times, window.step)
    late = series.times[0] - window.start if series.times else 0.0
    early = window.end - series.times[-1] if series.times else 0.0
    return SeriesSummary(
        series.labels,
        len(series.values),
        len(series.values) - len(finite),
        min(finite, default=None),
        statistics.fmean(finite) if finite else None,
        max(finite, default=None),
        finite[0] if finite else None,
        finite[-1] if finite else None,
        trend,
        change,
        len(gaps),
        max(gaps, default=0.0),
        _falls(finite) if counter else 0,
        late if late > 1.5 * window.step else 0.0,
        early if early > 1.5 * window.step else 0.0,
    )


def trend_of(values: Sequence[float]) -> tuple[Trend, float | None]:
    """Return which way values go and by how much, by the medians of their first and last quarter.

    Medians, so that a spike at an end is no trend; `unclear` where the values scatter more than they move.
    """
    if len(values) < _LEAST_FOR_TREND:
        return "unclear", None
    quarter = len(values) // 4
    first, last = values[:quarter], values[-quarter:]
    before, after = statistics.median(first), statistics.median(last)
    change = after - before
    level = max(abs(before), abs(after))
    if abs(change) <= _CLEAR_CHANGE * level:
        return "steady", change
    scatter = max(_scatter(first, before), _scatter(last, after))
    if abs(change) < _CLEAR_OF_SPREAD * scatter:
        return "unclear", change
    return ("rising" if change > 0 else "falling"), change


def _scatter(values: Sequence[float], middle: float) -> float:
    """Return the median distance from the median."""
    return statistics.median(abs(value - middle) for value in values)


def _gaps(times: Sequence[float], step: float) -> list[float]:
    between = (later - earlier for earlier, later in pairwise(times))
    return [seconds for seconds in between if seconds > 1.5 * step]


def _falls(values: Sequence[float]) -> int:
    return sum(1 for earlier, later in pairwise(values) if later < earlier)
