"""What is said of a series: a score for every point, and alarms with their reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Sensitivity = Literal["low", "normal", "high"]
"""How much has to happen before there is an alarm: `low` for few false alarms, `high` for few missed anomalies."""

DetectorName = Literal["density", "season", "change", "subspace"]

Kind = Literal["gauge", "counter"]
"""A counter only grows, but for restarts; what is judged of it is its rate."""

LEARNING_POINTS = 150
"""Points a series has to have before anything is said of the next one."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What one detector saw."""

    detector: DetectorName
    beyond: float
    """How many times as strange as the strangest points of the past; more than 1."""
    seen: str
    """In words: what is new about the point."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The beginning of an anomaly, told once."""

    time: float
    """Unix seconds of the point that raised it."""
    since: float
    """Unix seconds of the first point of the same stretch of strange ones."""
    value: float
    expected: tuple[float, float]
    """Where the series was expected: from the 5th to the 95th percentile of like points in the past."""
    score: float
    """Within 0 and 1, see `Verdict.scores`."""
    strength: float
    """How many times as strange as the strangest points of the past, over all detectors."""
    reasons: Sequence[Reason]
    """Strongest first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a stretch of a series."""

    scores: Sequence[float | None]
    """One a point, within 0 and 1; None while the series is learned and where there is no value.

    Calibrated: on ordinary data a score of `s` or more comes once in about 10 ** (5 * s) points.
    """
    alarms: Sequence[Alarm]
    kind: Kind
    period_seconds: float | None
    """The season that was found; None where there is none."""
    missing: int
    """Points without a number."""
    late: int
    """Points that were left out because their time did not come after the one before."""

    @property
    def enough(self) -> bool:
        """Whether anything could be said."""
        return any(score is not None for score in self.scores)
