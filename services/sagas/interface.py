"""What a saga is: pure decisions over events. `consumer` runs it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from quantum_suite.core.events import Event, EventFilter
from quantum_suite.services.workflows.interface import Json, Owner, Run

SagaStatus = Literal["running", "compensating", "completed", "failed"]
"""The last two are final: an ended saga takes in nothing more. `failed` comes when what was done is taken back."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_STEP = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RUN = re.compile(r"saga\.(?P<saga>[a-z][a-z0-9_-]*)\.(?P<key>[A-Za-z0-9_.-]+)\.(?P<step>[a-z][a-z0-9_-]*)")


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of those the saga wants."""

    event: Event


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A workflow the saga had started has come to its end."""

    step: str
    state: Literal["completed", "failed", "cancelled"]
    event: Event
    """Its data has the `code` and `message` of a failure."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A timeout the saga had set has passed, and was not cleared."""

    name: str


Trigger = Happened | RunEnded | TimedOut


@dataclass(frozen=True, slots=True)
class StartWorkflow:
    """Start a workflow as one step of the saga. A step starts once: its name makes the run's id."""

    step: str
    workflow: str
    arguments: Json
    owner: Owner
    queue: str | None = None
    undo: "StartWorkflow | None" = None
    """What takes it back once it has completed, if the saga fails later."""


@dataclass(frozen=True, slots=True)
class SetTimeout:
    """Be told after so many seconds, also over restarts. Setting it again moves it."""

    name: str
    seconds: float
    owner: Owner


@dataclass(frozen=True, slots=True)
class ClearTimeout:
    """Be not told."""

    name: str


Command = StartWorkflow | SetTimeout | ClearTimeout


@dataclass(frozen=True, slots=True)
class Decision:
    """What a saga makes of a trigger."""

    state: Mapping[str, Json]
    """Its memory from now on; JSON."""
    commands: tuple[Command, ...] = ()
    outcome: Literal["goes_on", "completed", "failed"] = "goes_on"
    """`failed`: runs still under way are cancelled; when all have ended, the undos of the completed ones run one
    by one, the last step's first."""
    reason: str | None = None
    """Why it failed."""
    forget: tuple[str, ...] = ()
    """Steps that have ended and will never be taken back, so that an instance may go on for long. Their names must
    not be used again."""


class RunStarter(Protocol):
    """What a saga needs of `Workflows`, which is one. It may be opened by the first call."""

    async def start(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        *,
        run_id: str | None = None,
        queue: str | None = None,
        delay_seconds: float | None = None,
    ) -> Run:
        """See `Workflows.start`."""
        ...

    async def cancel(self, run_id: str) -> Run:
        """See `Workflows.cancel`."""
        ...


class Saga(Protocol):
    """A process that spans events and workflows, one instance a key.

    `react` is pure: no clock, no randomness, no I/O. Its decision is stored before it is carried out, so it is
    made once, whatever crashes.
    """

    name: str
    """Lower case, digits, `-` and `_`."""
    where: EventFilter
    """Events it may react to; the ends of its own runs and its timeouts come of themselves."""

    def key(self, event: Event) -> str | None:
        """Return which instance an event belongs to; None for none."""
        ...

    def react(self, state: Mapping[str, Json] | None, trigger: Trigger) -> Decision | None:
        """Decide. `state` is None for an instance that does not exist; None returned: nothing follows."""
        ...


@dataclass(frozen=True, slots=True)
class SagaRun:
    """Whose step a run is."""

    saga: str
    key: str
    step: str
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if not _STEP.fullmatch(self.step):
            raise ValueError(f"'{self.step}' is no name of a step: lower case, digits, - and _")
        object.__setattr__(self, "id", f"saga.{self.saga}.{self.key}.{self.step}")


def saga_run(run_id: str) -> SagaRun | None:
    """Return whose step the run of this id is, if it is a saga's."""
    match = _RUN.fullmatch(run_id)
    return SagaRun(match["saga"], match["key"], match["step"]) if match else None


def plain_key(key: str) -> str:
    """Return a key as it stands in ids: itself, or a digest of one that is long or has other characters."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    return "h" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def saga_stream(saga: str, key: str) -> str:
    """Return the stream of one instance."""
    return f"saga.{saga}/{key}"
