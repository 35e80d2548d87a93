"""What a saga's state is made of."""

from typing import Any, ClassVar

from pydantic import Field

from quantum_suite.core.events import EventData


class SagaDecided(EventData):
    """A saga made something of an event: its whole state after that, and what is to be done."""

    event_type: ClassVar[str] = "saga.decision.made"

    trigger: str = Field(description="The event it decided about.")
    instance: dict[str, Any] = Field(description="The instance from now on.")
    commands: list[dict[str, Any]] = Field(description="What is to be done now, in order.")


class SagaCarriedOut(EventData):
    """What was decided is done."""

    event_type: ClassVar[str] = "saga.decision.carried_out"

    trigger: str = Field(description="The event it was decided about.")


SAGA_EVENTS: tuple[type[EventData], ...] = (SagaDecided, SagaCarriedOut)
"""Every type, for the registry."""
