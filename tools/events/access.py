"""What the tools work on, and whom they let."""

from dataclasses import dataclass

from quantum_suite.core.errors import EngineMissing, Refused
from quantum_suite.core.principals import Principal, Role
from quantum_suite.services.analytics.interface import Analytics
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.projections.runner import ProjectionRunner


@dataclass(frozen=True, slots=True)
class EventAccess:
    """The events and what is made of them."""

    events: EventStore
    projections: ProjectionRunner
    analytics: Analytics | None
    """None where DuckDB is not installed."""

    def tables(self) -> Analytics:
        """Return the analytics; raises EngineMissing."""
        if self.analytics is None:
            raise EngineMissing(
                "There are no analytics tables: DuckDB is not installed, or they are switched off.",
                'pip install "quantum-suite[analytics]", and QUANTUM_ANALYTICS=true where keys are set.',
                engine="duckdb",
            )
        return self.analytics


def is_admin(principal: Principal) -> bool:
    """Whether somebody sees everybody's events."""
    return Role.ADMIN in principal.roles


def require_admin(principal: Principal, what: str) -> None:
    """Raise Refused unless somebody is an administrator."""
    if not is_admin(principal):
        raise Refused(f"{what} is for administrators.", "list_events shows your own events.")
