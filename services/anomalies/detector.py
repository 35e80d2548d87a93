"""One series, judged point by point: what the detectors see, weighed against the past and put together."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from quantum_suite.core.errors import Damaged
from quantum_suite.services.anomalies.calibration import THRESHOLDS, score_of
from quantum_suite.services.anomalies.counters import is_counter, is_restart, rate
from quantum_suite.services.anomalies.detectors.change import ChangeDetector
from quantum_suite.services.anomalies.detectors.density import DensityDetector
from quantum_suite.services.anomalies.detectors.interface import Detector, Sign
from quantum_suite.services.anomalies.detectors.season import SeasonDetector
from quantum_suite.services.anomalies.detectors.subspace import SubspaceDetector
from quantum_suite.services.anomalies.features import MIDDLE, ShortPast
from quantum_suite.services.anomalies.interface import LEARNING_POINTS, Alarm, Kind, Reason, Sensitivity
from quantum_suite.services.anomalies.onsets import Onsets
from quantum_suite.services.anomalies.peaks import PeakMemory

WEIGHTS: Mapping[str, tuple[float, ...]] = {
    "density": (2.0, 1.0, 1.0),
    "season": (0.5, 0.5),
    "change": (0.5, 0.5),
    "subspace": (2.0, 0.5),
}
"""How much each sign of each detector counts."""
_STATE = 1
"""The version of `state`."""
_GAP_STEPS = 5
_ROUNDING = 1e-9
_LARGEST = 1e100
"""Numbers beyond it count as missing: their squares cannot be computed with."""
_EXPECTED_FROM = 48


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one point."""

    score: float | None
    """Within 0 and 1; None while the series is learned, and for what is no point."""
    onset: float
    """The strength with which it begins an anomaly: what thresholds are compared with. 0 where it begins none."""
    alarm: Alarm | None = None
    strength: float = 0.0
    """How many times as strange as the strangest points of the past, over all detectors."""
    skipped: Literal["missing", "late"] | None = None


class SeriesDetector:
    """Judges the points of one series in the order they come. Bounded in memory, and in work for a point.

    Deterministic: a detector restored from `state` goes on exactly as the one it was taken of.
    """

    def __init__(self, sensitivity: Sensitivity = "normal", kind: Kind | None = None) -> None:
        self.sensitivity = sensitivity
        self._told_kind = kind
        self._begin(kind)
        self._last_time: float | None = None

    def _begin(self, kind: Kind | None) -> None:
        self.kind: Kind | None = kind
        self._waiting: list[tuple[float, float]] = []
        self._before: tuple[float, float] | None = None
        self._step: float | None = None
        self._missed = 0
        self._points = 0
        self._largest = 0.0
        self._judged_at: float | None = None
        self._since: float | None = None
        self._calm = 0
        self._past = ShortPast()
        self._season = SeasonDetector()
        self._detectors: list[Detector] = [
            DensityDetector(),
            self._season,
            ChangeDetector(),
            SubspaceDetector(),
        ]
        self._peaks = [PeakMemory() for detector in self._detectors for _ in WEIGHTS[detector.name]]
        self._onsets = Onsets()

    @property
    def period_seconds(self) -> float | None:
        """Return the season that was found; None where there is none."""
        return self._season.period_seconds

    @property
    def last_time(self) -> float | None:
        """Return the time of the newest point that was taken in."""
        return self._last_time

    def update(self, time: float, value: float) -> Judgement:
        """Take the next point in. One whose time does not come after the last one's is left out."""
        if self._last_time is not None and time <= self._last_time:
            return Judgement(None, 0.0, skipped="late")
        self._last_time = time
        if not abs(value) <= _LARGEST:
            self._missed += 1
            if self._missed == _GAP_STEPS:
                self._gap()
            return Judgement(None, 0.0, skipped="missing")
        self._missed = 0
        if self._step is None:
            return self._wait(time, value)
        if self.kind == "counter":
            return self._counted(time, value)
        return self._judge(time, value)

    def _wait(self, time: float, value: float) -> Judgement:
        """Collect what the kind and the usual step are told by; then learn from it."""
        self._waiting.append((time, value))
        if len(self._waiting) == LEARNING_POINTS:
            waiting, self._waiting = self._waiting, []
            self._step = statistics.median(b[0] - a[0] for a, b in pairwise(waiting))
            if self.kind is None:
                self.kind = "counter" if is_counter([value for _, value in waiting]) else "gauge"
            for one in waiting:
                self._counted(*one) if self.kind == "counter" else self._judge(*one)
        return Judgement(None, 0.0)

    def _counted(self, time: float, value: float) -> Judgement:
        before, self._before = self._before, (time, value)
        if before is None:
            return Judgement(None, 0.0)
        if value < before[1] and not is_restart(before[1], value) and self._told_kind is None:
            # It was no counter after all: learn it anew.
            self._begin("gauge")
            return self._wait(time, value)
        return self._judge(time, rate(before, (time, value)))

    def _gap(self) -> None:
        self._past.clear()
        for detector in self._detectors:
            detector.gap()

    def _judge(self, time: float, value: float) -> Judgement:
        if self._judged_at is not None and self._step and time - self._judged_at > _GAP_STEPS * self._step:
            self._gap()
        self._judged_at = time
        learning = self._points < LEARNING_POINTS
        self._points += 1
        self._largest = max(self._largest, abs(value))
        point = self._past.add(time, value)
        measured = [(detector, detector.measure(point)) for detector in self._detectors]
        floor = max(_ROUNDING * self._largest, 1e-300)
        ratios: list[float] = []
        strength = total = 0.0
        place = 0
        for detector, signs in measured:
            for weight, sign in zip(WEIGHTS[detector.name], signs, strict=True):
                ratio = math.exp(self._peaks[place].weigh(sign.distance, floor))
                ratios.append(ratio)
                strength += weight * ratio
                total += weight
                place += 1
        strength /= total
        onset = self._onsets.take(strength, learning=learning)
        self._follow(time, strength)
        if learning:
            return Judgement(None, 0.0)
        alarm = None
        if onset >= THRESHOLDS[self.sensitivity]:
            alarm = Alarm(
                time=time,
                since=self._since if self._since is not None else time,
                value=value,
                expected=self._expected(),
                score=score_of(onset),
                strength=strength,
                reasons=_reasons(measured, ratios),
            )
        return Judgement(score_of(strength), onset, alarm, strength)

    def _follow(self, time: float, strength: float) -> None:
        """Keep when the present stretch of strange points began."""
        if strength >= THRESHOLDS[self.sensitivity]:
            self._calm = 0
            if self._since is None:
                self._since = time
        else:
            self._calm += 1
            if self._calm >= MIDDLE:
                self._since = None

    def _expected(self) -> tuple[float, float]:
        low, high = np.percentile(self._season.expected_of_last(_EXPECTED_FROM), [5, 95])
        return float(low), float(high)

    def state(self) -> dict[str, Any]:
        """Return JSON that `restored` makes the same detector of."""
        return {
            "state": _STATE,
            "sensitivity": self.sensitivity,
            "told_kind": self._told_kind,
            "kind": self.kind,
            "last_time": self._last_time,
            "judged_at": self._judged_at,
            "waiting": self._waiting,
            "before": self._before,
            "step": self._step,
            "missed": self._missed,
            "points": self._points,
            "largest": self._largest,
            "since": self._since,
            "calm": self._calm,
            "past": self._past.state(),
            "detectors": {detector.name: detector.state() for detector in self._detectors},
            "peaks": [peaks.state() for peaks in self._peaks],
            "onsets": self._onsets.state(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> "SeriesDetector":
        """Return the detector that `state` was taken of. Raises Damaged for what is no state of this version."""
        try:
            if state["state"] != _STATE:
                raise Damaged(f"The state of a detector is of version {state['state']}.", "Learn the series anew.")
            detector = cls(state["sensitivity"], state["told_kind"])
            detector._take_over(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged("The state of a detector cannot be read.", "Learn the series anew.") from error
        return detector

    def _take_over(self, state: Mapping[str, Any]) -> None:
        self.kind = state["kind"]
        self._last_time, self._judged_at = state["last_time"], state["judged_at"]
        self._waiting = [(float(time), float(value)) for time, value in state["waiting"]]
        before = state["before"]
        self._before = None if before is None else (float(before[0]), float(before[1]))
        self._step, self._missed = state["step"], int(state["missed"])
        self._points, self._largest = int(state["points"]), float(state["largest"])
        self._since, self._calm = state["since"], int(state["calm"])
        self._past = ShortPast(state["past"]["values"])
        kept = state["detectors"]
        self._season = SeasonDetector.restored(kept["season"])
        self._detectors = [
            DensityDetector.restored(kept["density"]),
            self._season,
            ChangeDetector.restored(kept["change"]),
            SubspaceDetector.restored(kept["subspace"]),
        ]
        self._peaks = [PeakMemory(one["peaks"], one["points"]) for one in state["peaks"]]
        if len(self._peaks) != sum(len(weights) for weights in WEIGHTS.values()):
            raise ValueError("as many peaks as signs")
        onsets = state["onsets"]
        self._onsets = Onsets(onsets["points"], onsets["rising"], onsets["earlier"])


def _reasons(measured: list[tuple[Detector, list[Sign]]], ratios: list[float]) -> tuple[Reason, ...]:
    """Return what each detector saw that was stranger than before, by its strongest sign."""
    found = []
    place = 0
    for detector, signs in measured:
        own = ratios[place : place + len(signs)]
        place += len(signs)
        strongest = max(range(len(signs)), key=own.__getitem__)
        if own[strongest] > 1:
            found.append(Reason(detector.name, own[strongest], signs[strongest].seen))
    return tuple(sorted(found, key=lambda reason: -reason.beyond))
