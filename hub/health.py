"""How upstreams are looked after."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When an upstream is checked and how long it is waited for, in seconds."""

    check_interval_seconds: float = 30
    connect_deadline_seconds: float = 15
    check_deadline_seconds: float = 10
    first_delay_seconds: float = 1
    longest_delay_seconds: float = 60
    failed_checks_until_away: int = 2
    shortest_pause_seconds: float = 0.5
    """Between two looks at the lists of an upstream that keeps announcing changes."""
