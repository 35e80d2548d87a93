"""What happens to runs, as facts. Results and arguments stay with the run: events tell that, not what.

All of a run's events are in the stream `orchestrator.run/<run id>`.
"""

from typing import ClassVar, Literal

from quantum_suite.core.events import EventData

LONGEST_TEXT = 2000
"""Events carry at most so much of a message or question; all of it is with the run."""


def run_stream(run_id: str) -> str:
    """Return the stream of a run."""
    return f"orchestrator.run/{run_id}"


class RunStarted(EventData):
    """A run was accepted; it survives every process from here on."""

    event_type: ClassVar[str] = "orchestrator.run.started"
    workflow: str
    version: str
    queue: str | None = None
    parent: str | None = None


class RunForked(EventData):
    """A run was started on the results of another one's first steps."""

    event_type: ClassVar[str] = "orchestrator.run.forked"
    workflow: str
    version: str
    forked_from: str
    from_step: int


class RunWaiting(EventData):
    """A run waits for a signal, an approval or a point in time."""

    event_type: ClassVar[str] = "orchestrator.run.waiting"
    step: int
    kind: Literal["signal", "approval", "sleep"]
    topic: str | None = None


class RunPaused(EventData):
    """Somebody paused a run: it begins no further step."""

    event_type: ClassVar[str] = "orchestrator.run.paused"


class RunResumed(EventData):
    """A paused, failed or cancelled run goes on."""

    event_type: ClassVar[str] = "orchestrator.run.resumed"


class RunRecovered(EventData):
    """The worker of a run was lost or left, and the run went back to its queue."""

    event_type: ClassVar[str] = "orchestrator.run.recovered"
    worker: str


class RunCompleted(EventData):
    """A run has returned its result."""

    event_type: ClassVar[str] = "orchestrator.run.completed"


class RunFailed(EventData):
    """A run has failed, and what it did was undone where it can be."""

    event_type: ClassVar[str] = "orchestrator.run.failed"
    code: str
    message: str


class RunCancelled(EventData):
    """A run was cancelled, and what it did was undone where it can be."""

    event_type: ClassVar[str] = "orchestrator.run.cancelled"


class StepCompleted(EventData):
    """A step's result is remembered."""

    event_type: ClassVar[str] = "orchestrator.step.completed"
    step: int
    name: str


class StepFailed(EventData):
    """A step has failed for good."""

    event_type: ClassVar[str] = "orchestrator.step.failed"
    step: int
    name: str
    code: str
    message: str


class StepUndone(EventData):
    """What a step did was taken back."""

    event_type: ClassVar[str] = "orchestrator.step.undone"
    step: int
    name: str


class ApprovalAsked(EventData):
    """A run asks people."""

    event_type: ClassVar[str] = "orchestrator.approval.asked"
    step: int
    question: str
    approvers: list[str]


class ApprovalGiven(EventData):
    """The verdict that counts. Who gave it is the event's principal; their reason stays with the run."""

    event_type: ClassVar[str] = "orchestrator.approval.given"
    step: int
    approved: bool


RUN_EVENTS: tuple[type[EventData], ...] = (
    RunStarted,
    RunForked,
    RunWaiting,
    RunPaused,
    RunResumed,
    RunRecovered,
    RunCompleted,
    RunFailed,
    RunCancelled,
    StepCompleted,
    StepFailed,
    StepUndone,
    ApprovalAsked,
    ApprovalGiven,
)
"""To be registered with the event registry."""
