"""How a projection or consumer is doing."""

from dataclasses import dataclass
from typing import Literal

from quantum_suite.core.events import Position
from quantum_suite.services.projections.subjects import Kind

State = Literal["standby", "catching_up", "following", "retrying", "slowed"]
"""`standby`: another process runs it, or it is between two attempts. `retrying`: what it needs is away.
`slowed`: it parked so many events in a row that rather it is broken than they are."""


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """One projection or consumer, as seen from this process. Only who runs it knows its lag."""

    name: str
    kind: Kind
    state: State
    position: Position | None
    """The last event taken in by this process; None before the first."""
    handled: int
    """Events taken in by this process since it started."""
    parked: int
    """Events put aside, by whichever process (up to a thousand are counted)."""
    lag_events: int | None
    """Events in the log after the last one it has dealt with, those it does not want included."""
    lag_seconds: float | None
    """Age of the oldest event it still has to deal with."""
    problem: str | None = None
    """What it ran into last, while that lasts."""
