"""What a watch is: a query that is looked at by the clock."""

from dataclasses import asdict, dataclass
from typing import Any

from quantum_suite.services.anomalies.interface import Kind, Sensitivity

WORKFLOW = "watch_metric"
"""The workflow that looks at a watch once; its arguments are the watch."""

MOST_SERIES = 20
LEARN_POINTS = 2_000
"""Points of the past that a new watch learns from."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A query whose anomalies are told as events."""

    id: str
    name: str
    """What its owner calls it."""
    source: str
    query: str
    step_seconds: float
    """Distance of the points that are judged."""
    sensitivity: Sensitivity
    created_at: float
    """Unix seconds; older points are learned from and raise nothing."""
    kind: Kind | None = None

    def arguments(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    @classmethod
    def of(cls, arguments: Any) -> "Watch":
        """Return the watch that `arguments` were made of; raises TypeError."""
        return cls(**arguments)


@dataclass(frozen=True, slots=True)
class Look:
    """What looking at a watch once came to."""

    watch: str
    at: float
    series: int
    points: int
    """New points that were judged."""
    raised: int
    """Anomalies that were told for the first time."""
    learning: int
    """Series that have not enough points yet."""
    problem: str | None = None
    """Why nothing was seen; None where the source answered."""
    notes: tuple[str, ...] = ()
