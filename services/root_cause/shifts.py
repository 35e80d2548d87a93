"""How far a signal moved when the trouble began, against what it usually does and what it did right before."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from quantum_suite.services.root_cause.interface import Kind, Signal

LEAST_BASELINE = 8
"""Points a baseline needs to say anything."""

RECENT_STEPS = 6
"""Points right before a moment that tell its latest level."""
BEGUN = 3.0
"""Scales from which on a signal has moved."""

_MAD_TO_SIGMA = 1.4826
_SEASONAL_POINTS = 6
_SEASON_SECONDS = 86_400.0
# Smaller changes mean nothing to users, however regular a signal is: share of its level, plus a constant.
_FLOORS: Mapping[Kind, tuple[float, float]] = {
    "latency": (0.05, 0.001),
    "errors": (0.0, 0.002),
    "traffic": (0.10, 0.0),
    "saturation": (0.05, 0.0),
}
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Shift:
    """A signal before and during."""

    signal: Signal
    reference: float
    """The level it is compared with: of its usual and its latest level the one nearer to what it shows now."""
    scale: float
    """One robust standard deviation of its usual self, never below what matters to users."""
    during: float
    """Its level since the onset, where the complaint was worst."""
    since: float | None
    """When it first left the reference by three scales or half of its shift; None where it did not."""

    @property
    def excess(self) -> float:
        """How much it rose (or fell, below 0), in its own unit."""
        return self.during - self.reference

    @property
    def strength(self) -> float:
        """How much it rose, in scales; below 0 where it fell."""
        return self.excess / self.scale


def measure(
    signal: Signal, onset: float, step: float, weights: Mapping[float, float] | None = None
) -> Shift | None:
    """Return the shift; None where there is too little before the onset, or nothing after it.

    `weights` says which moments count (by time; where none has a value, all count alike).
    """
    begin = onset - step
    before = [(t, v) for t, v in zip(signal.times, signal.values, strict=True) if t <= begin and not math.isnan(v)]
    during = [(t, v) for t, v in zip(signal.times, signal.values, strict=True) if t > begin and not math.isnan(v)]
    if len(before) < LEAST_BASELINE or not during:
        return None
    level = _level(during, weights, step)
    usual_values = _usual(before, onset, step)
    usual = median(usual_values)
    recent_values = [v for t, v in before if t > begin - RECENT_STEPS * step]
    recent = median(recent_values) if recent_values else usual
    reference = _nearest(level, usual, recent)
    # A level that moved before the onset says that the usual spread is not the whole of it.
    scale = usual_scale(signal.kind, usual_values) + abs(recent - usual) / 2
    return Shift(signal, reference, scale, level, _since(during, reference, scale, level))


def usual_scale(kind: Kind, values: Sequence[float]) -> float:
    """Return one robust standard deviation of values, never below what matters to users."""
    usual = median(values)
    spread = _MAD_TO_SIGMA * median([abs(value - usual) for value in values])
    share, constant = _FLOORS[kind]
    return max(spread, share * abs(usual) + constant, _TINY)


def slots(signal: Signal, shift: Shift, onset: float, step: float) -> dict[float, float]:
    """Return by time how bad a signal was since the onset: its excess, nothing where it was well."""
    return {
        time: max(0.0, value - shift.reference)
        for time, value in zip(signal.times, signal.values, strict=True)
        if time > onset - step and not math.isnan(value)
    }


def surprise(signal: Signal, shift: Shift, onset: float, step: float) -> float:
    """Return how likely so many bad points since the onset are by chance, from how many there were before it.

    A point is bad when it is as far above the reference (below, where the level fell) as counts as a
    beginning. The tail of a binomial distribution; the rate before is estimated with one bad point added, so it is
    never 0.
    """
    direction = 1 if shift.excess >= 0 else -1
    limit = BEGUN * shift.scale
    bad = {True: 0, False: 0}
    many = {True: 0, False: 0}
    for time, value in zip(signal.times, signal.values, strict=True):
        if not math.isnan(value):
            since = time > onset - step
            many[since] += 1
            bad[since] += direction * (value - shift.reference) >= limit
    rate = (bad[False] + 1) / (many[False] + 2)
    return _tail(bad[True], many[True], rate)


def is_missing(signal: Signal, onset: float, step: float) -> bool:
    """Whether a signal that was there right before the onset is gone since."""
    begin = onset - step
    values = [*zip(signal.times, signal.values, strict=True)]
    recent = [v for t, v in values if begin - RECENT_STEPS * step < t <= begin]
    during = [v for t, v in values if t > begin]
    usual = [v for t, v in values if t <= begin]
    if not recent or not during or len(usual) < LEAST_BASELINE:
        return False
    there = sum(not math.isnan(v) for v in usual) / len(usual)
    return there > 0.9 and not any(math.isnan(v) for v in recent) and all(math.isnan(v) for v in during)


def _level(during: Sequence[tuple[float, float]], weights: Mapping[float, float] | None, step: float) -> float:
    if weights:
        weighted = [(weights.get(time, _near(weights, time, step)), value) for time, value in during]
        total = sum(weight for weight, _ in weighted)
        if total > 0:
            return sum(weight * value for weight, value in weighted) / total
    return sum(value for _, value in during) / len(during)


def _near(weights: Mapping[float, float], time: float, step: float) -> float:
    close = [(abs(other - time), weight) for other, weight in weights.items() if abs(other - time) <= step / 2]
    return min(close)[1] if close else 0.0


def _usual(before: Sequence[tuple[float, float]], onset: float, step: float) -> list[float]:
    """Return the values a signal is compared with: of the same time of day where there are days enough."""
    window = max(3 * step, 1800.0)
    same_time = [
        value
        for time, value in before
        if onset - time > _SEASON_SECONDS / 2
        and abs((onset - time + _SEASON_SECONDS / 2) % _SEASON_SECONDS - _SEASON_SECONDS / 2) <= window
    ]
    days = (onset - before[0][0]) / _SEASON_SECONDS
    if days >= 3 and len(same_time) >= _SEASONAL_POINTS * 3:
        return same_time
    return [value for _, value in before]


def _nearest(level: float, usual: float, recent: float) -> float:
    low, high = sorted((usual, recent))
    return min(max(level, low), high)


def _since(during: Sequence[tuple[float, float]], reference: float, scale: float, level: float) -> float | None:
    direction = 1 if level >= reference else -1
    enough = max(BEGUN * scale, abs(level - reference) / 2)
    return next((time for time, value in during if direction * (value - reference) >= enough), None)


def _tail(least: int, many: int, rate: float) -> float:
    """Return the probability of at least `least` of `many` at a rate."""
    below = 0.0
    for count in range(least):
        ways = math.lgamma(many + 1) - math.lgamma(count + 1) - math.lgamma(many - count + 1)
        below += math.exp(ways + count * math.log(rate) + (many - count) * math.log1p(-rate))
    return min(1.0, max(0.0, 1.0 - below))
