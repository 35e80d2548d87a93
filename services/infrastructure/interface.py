"""The ports of infrastructure as code: engines, the state of stacks, and policies on plans."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from quantum_suite.services.infrastructure.plan import Operation, Plan, PlanKind, PolicyVerdict

IDENTITY_KEY = "__identity"
"""An input that a provider's `check` may add: under which id its `read` finds what `create` is going to make.

The engine looks there before it creates, so that nothing foreign is taken over, and after an interruption, so that
nothing is made twice. Without it an interrupted creation stays a pending operation until somebody settles it.
"""


@dataclass(frozen=True, slots=True)
class StackRef:
    """A stack: a project's folder, already checked against the caller's workspaces, and the stack's name."""

    folder: Path
    stack: str


PendingAnswer = Literal["absent"] | str
"""What became of an interrupted creation: `absent`, or the id under which it exists."""


@dataclass(frozen=True, slots=True)
class StackRequest:
    """What to do with which stack."""

    ref: StackRef
    config: Mapping[str, str] = field(default_factory=dict)
    """Overlays the stack's file; keys without a colon are the project's own."""
    secret_config: frozenset[str] = frozenset()
    """Keys of `config` whose values are secret."""
    targets: tuple[str, ...] = ()
    """URNs to confine changes to; none for all."""
    refresh: bool = False
    """Read every resource from the world first."""
    pending: Mapping[str, PendingAnswer] = field(default_factory=dict)
    """By URN, how interrupted creations are settled."""
    parallel: int = 8
    """Most operations of providers at once."""
    deadline_seconds: float = 1800.0
    """For everything: program, providers, policies."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What program and providers find in their environment, credentials for instance. Masked in what they say."""
    policy_packs: tuple[Path, ...] = ()
    """Folders of Pulumi policy packs."""
    import_: "ImportRequest | None" = None


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A resource to take under management, which the program declares already."""

    urn: str
    id: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """How far a run is."""

    urn: str
    operation: Operation
    state: Literal["started", "done", "failed"]
    message: str = ""
    done: int = 0
    total: int | None = None


Progress = Callable[[StepReport], Awaitable[None]]


async def unheard(report: StepReport) -> None:
    """Be a `Progress` that nobody listens to."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run did."""

    plan: Plan
    """What was planned when it began; for an `up` or `destroy`, with the digest that was approved."""
    state: Literal["succeeded", "failed", "interrupted"]
    done: Mapping[str, int]
    """Steps carried out, by operation."""
    failures: Sequence[tuple[str, str]]
    """URN and what went wrong; secrets masked."""
    pending: Sequence[str]
    """URNs of creations whose outcome is open."""
    outputs: Mapping[str, Any]
    """The stack's outputs, secrets masked."""
    messages: Sequence[str]
    serial: int
    """The state's serial afterwards."""


class Engine(Protocol):
    """Brings stacks to what their programs say.

    Guarantees. A preview changes nothing. `up` and `destroy` compute the plan anew under the stack's lock and
    refuse to begin, with `Conflict` naming what differs, unless its digest is the one that was approved; a step
    that turns out otherwise than planned is refused too, and what was done until then is kept. Every effect is
    written down durably before and after it: killed at any point, the next run knows what is done, what is open,
    and does nothing twice. One run writes to a stack at a time, across processes.

    Every method raises CallerError (no such project, program or stack file; a protected resource), Conflict,
    Damaged (the state file was cut or altered; names the backup), EngineMissing, EngineError (the program raised
    or hung, a provider died: with the masked tail of what it printed) and Unavailable (somebody else is at it).
    """

    @property
    def name(self) -> str:
        """Return what plans say of who made them."""
        ...

    async def preview(
        self, request: StackRequest, progress: Progress = unheard, *, kind: PlanKind = "update"
    ) -> Plan:
        """Return what would be done."""
        ...

    async def up(self, request: StackRequest, digest: str, progress: Progress = unheard) -> RunOutcome:
        """Do what the plan of that digest says."""
        ...

    async def destroy(self, request: StackRequest, digest: str, progress: Progress = unheard) -> RunOutcome:
        """Delete everything the state holds (or the targets, and what depends on them)."""
        ...

    async def refresh(
        self, request: StackRequest, progress: Progress = unheard, *, digest: str = ""
    ) -> RunOutcome:
        """Bring the state up to the world; the world stays as it is. With a digest, exactly as that plan says."""
        ...

    async def import_(self, request: StackRequest, progress: Progress = unheard) -> RunOutcome:
        """Take `request.import_` under management; the world stays as it is."""
        ...

    async def state(self, ref: StackRef) -> "Deployment":
        """Return the stack's state as it is now, without secrets' values; empty for a new stack."""
        ...


@dataclass(frozen=True, slots=True)
class ResourceState:
    """A resource as the state knows it. Property values are JSON, Pulumi's special objects kept as they are."""

    urn: str
    type: str
    custom: bool = False
    id: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    provider: str = ""
    """`urn::id` of the provider resource."""
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False
    external: bool = False
    """Looked up, not managed."""
    delete: bool = False
    """Replaced already; its deletion is still to come."""
    pending_replacement: bool = False
    """Deleted to be replaced; its successor is still to come."""
    retain_on_delete: bool = False
    deleted_with: str = ""
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_timeouts: Mapping[str, float] = field(default_factory=dict)
    """Seconds, by create, update, delete, read."""
    import_id: str = ""
    init_errors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the logical name: what follows the last `::` of the URN."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, slots=True)
class PendingOperation:
    """Something that was begun, and nobody knows how it ended."""

    type: Literal["creating", "updating", "deleting", "reading", "importing"]
    resource: ResourceState


@dataclass(frozen=True, slots=True)
class Deployment:
    """The state of a stack. Resources come after what they depend on."""

    project: str
    stack: str
    serial: int = 0
    """Grows with every write."""
    resources: tuple[ResourceState, ...] = ()
    pending: tuple[PendingOperation, ...] = ()


class StateStore(Protocol):
    """Keeps the states of stacks, in Pulumi's deployment format, version 3."""

    def read(self, ref: StackRef) -> Deployment:
        """Return the state, what a killed run wrote down included; empty for a new stack.

        Secrets stay sealed. Raises Damaged naming the file and its backup.
        """
        ...

    def locked(self, ref: StackRef, wait_seconds: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Hold the stack against every other writer on this machine; raises Unavailable where somebody has it."""
        ...

    def stacks(self, folder: Path) -> Sequence[str]:
        """Return the names of the stacks of a project's folder that have a state."""
        ...


class PolicyCheck(Protocol):
    """Judges plans."""

    @property
    def name(self) -> str:
        """Return what the check is called."""
        ...

    async def check(self, plan: Plan, folder: Path) -> Sequence[PolicyVerdict]:
        """Return what is objected to. Every resource's properties as they will be are in the plan's steps.

        `folder` is the project's, which may hold policies and exceptions of its own.
        Raises EngineError when it cannot judge: a plan nobody could judge is not applied.
        """
        ...
