"""How models and providers stand now, for a person or an assistant to look at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ready", "resting", "open", "unusable"]


@dataclass(frozen=True, slots=True)
class ModelStanding:
    """One model."""

    name: str
    """`provider/model`."""
    context_tokens: int | None
    price: str
    """`free`, `configured`, `list`, or why it is unknown."""
    structured: str
    """How JSON is asked for: native or instruction."""


@dataclass(frozen=True, slots=True)
class ProviderStanding:
    """One provider."""

    name: str
    kind: str
    host: str
    state: State
    """`open`: its circuit is."""
    why: str
    """Empty when it is ready."""
    in_flight: int
    failures: int
    """In a row."""
    models: tuple[ModelStanding, ...]


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """What binds a principal, and what is spent of it."""

    scope: str
    """The principal, or `*` for everybody together."""
    per: Literal["day", "month"]
    usd: float | None
    tokens: int | None
    spent_usd: float
    spent_tokens: int
    """Reservations included."""


@dataclass(frozen=True, slots=True)
class GatewayStanding:
    """Everything there is."""

    configured: bool
    how_to_configure: str
    """Empty when it is."""
    providers: tuple[ProviderStanding, ...] = ()
    routes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    budgets: tuple[BudgetStanding, ...] = ()
