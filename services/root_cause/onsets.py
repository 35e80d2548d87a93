"""When trouble began that was noticed later: an alert waits until enough has gone wrong."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from quantum_suite.services.root_cause.interface import Signal
from quantum_suite.services.root_cause.shifts import BEGUN, LEAST_BASELINE, RECENT_STEPS, usual_scale

LEAST_SINCE = 2
"""Points that have to have moved: what moved one step before is the same moment."""

_NEARLY = 0.9


@dataclass(frozen=True, slots=True)
class Onset:
    """When a signal moved."""

    signal: Signal
    at: float
    """Unix seconds: the first point that had moved."""
    strength: float
    """How far, in robust standard deviations."""


def find_onset(signals: Iterable[Signal], noticed: float) -> Onset | None:
    """Return when the signal that moved furthest before `noticed` did so; None where none had moved.

    It is looked for in the later half of what is known before, as the moment at which what follows differs most
    from the points right before it: a level that changes slowly, as it does over a day, is no onset.
    """
    found = [onset for signal in signals if (onset := _moved(signal, noticed)) is not None]
    return max(found, key=lambda one: (one.strength, -one.at), default=None)


def _moved(signal: Signal, noticed: float) -> Onset | None:
    points = [
        (t, v) for t, v in zip(signal.times, signal.values, strict=True) if t <= noticed and not math.isnan(v)
    ]
    first = max(LEAST_BASELINE, len(points) // 2)
    values = [value for _, value in points]
    contrasts = [
        (_badness(signal, median(values[split:]) - median(values[split - RECENT_STEPS : split])), split)
        for split in range(first, len(points) - LEAST_SINCE + 1)
    ]
    if not contrasts:
        return None
    most = max(contrasts)[0]
    scale = usual_scale(signal.kind, values[:first])
    if most < BEGUN * scale:
        return None
    # A rate over a window climbs for as long as the window: the trouble began near the foot of it.
    foot = next(split for contrast, split in contrasts if contrast >= _NEARLY * most)
    level = median(values[foot - RECENT_STEPS : foot])
    enough = _NEARLY * max(BEGUN * scale, most / 4)
    at = next(time for time, value in points[foot:] if _badness(signal, value - level) >= enough)
    return Onset(signal, at, most / scale)


def _badness(signal: Signal, moved: float) -> float:
    return abs(moved) if signal.kind == "traffic" else moved
