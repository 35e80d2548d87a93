"""Actions: steps of a definition that are the suite's own code and no tool (`do: triage_findings`)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from quantum_suite.services.workflows.interface import Json, Owner


@dataclass(frozen=True, slots=True)
class ActionCall:
    """What an action is told."""

    owner: Owner
    run_id: str
    idempotency_key: str
    """The same for every attempt: an effect that carries it is not doubled."""
    check: Callable[[], Awaitable[None]]
    """Raises Fenced when the run was given to another worker: call before an effect."""
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Action:
    """An action by its name. It works on what it is given and on the suite's own stores, never on the world."""

    name: str
    description: str
    schema: Mapping[str, Json]
    """JSON Schema of its arguments."""
    work: Callable[[ActionCall], Awaitable[Json]]
    is_report: bool = False
    """Whether its result (`digest`, `media_type`, `title`) is the report of the run."""
