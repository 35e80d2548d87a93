"""When an error budget will be gone, as an interval.

A circular block bootstrap (Politis and Romano 1992): the future is made of stretches of the recent past, drawn
with replacement, so that bursts and daily rhythm stay together. Each run first draws the past anew and then the
future from it, so that what a short past leaves open widens the interval. What falls out of a rolling period is
counted back.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quantum_suite.services.slo.history import BurnHistory, Slice
from quantum_suite.services.slo.interface import Slo

Outlook = Literal["exhausted", "within the window", "not within the window", "not enough data"]
RUNS = 400
LEAST_SLICES = 24
"""Slices with events that a forecast needs."""
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
_DAY = 86400.0
_SEED = 20


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected. Times are Unix seconds; None for later than the horizon."""

    outlook: Outlook
    probability: float | None
    """Share of runs in which the budget was gone by the horizon."""
    earliest: float | None
    """One run in ten was faster."""
    middle: float | None
    latest: float | None
    """One run in ten was slower, or did not get there."""
    horizon: float | None
    """How far was looked: one period, or the end of the calendar's."""
    paths: tuple[tuple[float, float, float, float], ...] = ()
    """Time, and the share of budget left in the low, middle and high run at that time."""


def forecast(slo: Slo, history: BurnHistory) -> Forecast:
    """Return when the budget will be gone, with an 80 % interval.

    `within the window` and `not within the window` are what more than half of the runs did. The same history gives
    the same answer.
    """
    used = burned_share(slo, history)
    if used is not None and used >= 1 and history.bad > 0:
        return Forecast("exhausted", 1.0, history.end, history.end, history.end, history.end)
    recent = _recent(history, slo)
    if slo.budget_ratio <= 0 or sum(1 for one in recent if one.events > 0) < LEAST_SLICES:
        return Forecast("not enough data", None, None, None, None, None)
    horizon = history.period_end if history.period_end is not None else history.end + slo.period_seconds
    steps = max(1, math.floor((horizon - history.end) / history.slice_seconds))
    chance = random.Random(_SEED)  # noqa: S311 - a simulation, not a secret
    block = _block_length(len(recent), history.slice_seconds)
    simulate = _rolling if history.period_end is None else _calendar
    lefts = [
        simulate(slo, history, _draw(chance, _draw(chance, recent, len(recent), block), steps, block))
        for _ in range(RUNS)
    ]
    return _summed_up(lefts, history, horizon)


def burned_share(slo: Slo, history: BurnHistory) -> float | None:
    """Return the share of the budget that is gone.

    Of a rolling period: bad events against the budget of the events there were. Of a calendar period: against the
    budget of the whole period, its remaining events taken to come as those so far.
    """
    if slo.budget_ratio <= 0:
        return None if not history.events else (math.inf if history.bad else 0.0)
    expected = history.events
    if history.period_end is not None:
        expected *= (history.period_end - history.start) / max(1.0, history.end - history.start)
    return history.bad / (slo.budget_ratio * expected) if expected > 0 else None


def _recent(history: BurnHistory, slo: Slo) -> list[Slice]:
    """Return the last quarter of a period, for what was long ago says little; more where that is few slices."""
    quarter = max(LEAST_SLICES * 2, round(slo.period_seconds / 4 / history.slice_seconds))
    return list(history.slices[-quarter:])


def _block_length(slices: int, seconds: float) -> int:
    """Return how many slices are drawn together: a day's, where there are days enough, else their cube root."""
    a_day = round(_DAY / seconds)
    return a_day if 1 < a_day <= slices / 4 else max(1, round(slices ** (1 / 3)))


def _draw(chance: random.Random, past: Sequence[Slice], count: int, block: int) -> list[Slice]:
    """Return slices drawn in blocks; a block that runs over the end goes on at the beginning."""
    circle = [*past, *past[:block]]
    drawn: list[Slice] = []
    while len(drawn) < count:
        begin = int(chance.random() * len(past))
        drawn += circle[begin : begin + block]
    return drawn[:count]


def _rolling(slo: Slo, history: BurnHistory, future: Sequence[Slice]) -> list[float]:
    """Return the share of budget left after each slice of a future, while old slices fall out."""
    held = deque(history.slices)
    bad, events = history.bad, history.events
    left: list[float] = []
    for step, one in enumerate(future, 1):
        bad, events = bad + one.bad, events + one.events
        begin = history.end + step * history.slice_seconds - slo.period_seconds
        while held and held[0].end <= begin:
            old = held.popleft()
            bad, events = bad - old.bad, events - old.events
        left.append(1 - bad / (slo.budget_ratio * events) if events > 0 else 1.0)
    return left


def _calendar(slo: Slo, history: BurnHistory, future: Sequence[Slice]) -> list[float]:
    """Return the share of budget left after each slice of a future, of the budget that this future brings."""
    allowed = slo.budget_ratio * (history.events + math.fsum(one.events for one in future))
    bad = history.bad
    left: list[float] = []
    for one in future:
        bad += one.bad
        left.append(1 - bad / allowed if allowed > 0 else 1.0)
    return left


def _summed_up(lefts: Sequence[Sequence[float]], history: BurnHistory, horizon: float) -> Forecast:
    gone = sorted(next((step for step, left in enumerate(run, 1) if left <= 0), math.inf) for run in lefts)
    probability = sum(step < math.inf for step in gone) / len(gone)

    def moment(share: float) -> float | None:
        step = gone[min(len(gone) - 1, math.ceil(share * len(gone)) - 1)]
        return history.end + step * history.slice_seconds if step < math.inf else None

    paths = []
    for step in range(len(lefts[0])):
        values = sorted(run[step] for run in lefts)
        low, middle, high = (
            values[min(len(values) - 1, int(share * len(values)))] for share in (LOW, MIDDLE, HIGH)
        )
        paths.append((history.end + (step + 1) * history.slice_seconds, low, middle, high))
    middle_moment = moment(MIDDLE)
    outlook: Outlook = "within the window" if middle_moment is not None else "not within the window"
    return Forecast(outlook, probability, moment(LOW), middle_moment, moment(HIGH), horizon, tuple(paths))
