"""Judges a stretch of one series, anew or from where an earlier stretch ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from quantum_suite.services.anomalies.detector import SeriesDetector
from quantum_suite.services.anomalies.interface import Kind, Sensitivity, Verdict


def judge(
    times: Sequence[float],
    values: Sequence[float],
    *,
    sensitivity: Sensitivity = "normal",
    kind: Kind | None = None,
    state: Mapping[str, Any] | None = None,
) -> tuple[Verdict, SeriesDetector]:
    """Return what is said of the points, and the detector that goes on after them.

    Points that `state` has seen, and others that do not come in order, are left out. Raises Damaged for a state
    that cannot be read. Takes about 0.1 ms a point: not for an event loop.
    """
    detector = SeriesDetector(sensitivity, kind) if state is None else SeriesDetector.restored(state)
    scores: list[float | None] = []
    alarms = []
    missing = late = 0
    for time, value in zip(times, values, strict=True):
        judged = detector.update(time, value)
        scores.append(judged.score)
        missing += judged.skipped == "missing"
        late += judged.skipped == "late"
        if judged.alarm is not None:
            alarms.append(judged.alarm)
    verdict = Verdict(scores, alarms, detector.kind or "gauge", detector.period_seconds, missing, late)
    return verdict, detector
