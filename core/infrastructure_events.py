"""What happens to stacks, as events. Stream: `qinfra.run/<run id>`."""

from typing import ClassVar, Literal

from pydantic import Field

from quantum_suite.core.events import EventData

StackVerb = Literal["up", "destroy", "refresh", "import"]


class StackRunStarted(EventData):
    """A run began to change a stack, or its state."""

    event_type: ClassVar[str] = "qinfra.run.started"

    run: str = Field(description="The run's id.")
    verb: StackVerb = Field(description="What is done.")
    folder: str = Field(description="Real path of the project.")
    stack: str = Field(description="The stack's name.")
    digest: str = Field(default="", description="The plan that was approved; empty where none is needed.")


class StackRunEnded(EventData):
    """A run ended, well or not."""

    event_type: ClassVar[str] = "qinfra.run.ended"

    run: str = Field(description="The run's id.")
    verb: StackVerb = Field(description="What was done.")
    folder: str = Field(description="Real path of the project.")
    stack: str = Field(description="The stack's name.")
    state: Literal["succeeded", "failed", "interrupted", "refused"] = Field(description="How it ended.")
    done: dict[str, int] = Field(default_factory=dict, description="Steps carried out, by operation.")
    failed: tuple[str, ...] = Field(default=(), description="URNs of what failed.")
    pending: tuple[str, ...] = Field(default=(), description="URNs of creations whose outcome is open.")
    serial: int = Field(default=0, description="The state's serial afterwards; 0 where nothing was written.")


INFRASTRUCTURE_EVENTS: tuple[type[EventData], ...] = (StackRunStarted, StackRunEnded)
"""Every type, for the registry."""


def run_stream(run: str) -> str:
    """Return the stream of a run."""
    return f"qinfra.run/{run}"
