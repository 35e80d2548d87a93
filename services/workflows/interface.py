"""The port to the orchestrator: durable workflows, their runs, queues and schedules."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from quantum_suite.core.errors import SuiteError

Json = Any
"""A JSON value: what crosses a step's or a run's border and is stored."""

RunState = Literal["queued", "running", "waiting", "paused", "completed", "failed", "cancelled"]
"""`waiting`: for a signal, an approval or a point in time. The last three are final."""

FINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled"})


APPROVAL_STATUS = "approval"
"""Where `Run.status` says what a run asks people: `question`, `approvers`, `details`, `expires_at` (RFC 3339);
None once it is answered. Of several at once it is the first, which is the one `approve` answers."""

PROGRESS_STATUS = "progress"
"""Where `Run.status` says how far a step has come: `step`, `progress`, `total`, `message`."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step is tried and how long is waited between: exponential, with full jitter."""

    attempts: int = 3
    first_delay_seconds: float = 0.5
    backoff: float = 2
    longest_delay_seconds: float = 30


ONCE = Retry(attempts=1)


@dataclass(frozen=True, slots=True)
class Owner:
    """For whom a run works: what is needed to call on their behalf, and nothing secret."""

    principal: str
    roles: tuple[str, ...] = ()
    workspaces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run or step failed: the code and words of a SuiteError, or an opaque internal error with its id."""

    code: str
    message: str
    hint: str | None = None


class StepFailed(SuiteError):
    """A step, or a child run, has failed for good; what a workflow's code sees, at first and when it is replayed.

    Left uncaught it fails the run with the same `failure`.
    """

    code = "step_failed"

    def __init__(self, step: str, failure: Failure) -> None:
        super().__init__(failure.message, failure.hint)
        self.step = step
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow's run as it stands."""

    id: str
    workflow: str
    version: str
    """The version of the definition it began with."""
    state: RunState
    owner: Owner
    arguments: Json
    created_at: datetime
    updated_at: datetime
    queue: str | None = None
    result: Json = None
    failure: Failure | None = None
    status: Mapping[str, Json] = field(default_factory=dict)
    """What the run says of itself (`RunContext.report`)."""
    parent: str | None = None
    forked_from: str | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a run that has ended, or is under way."""

    number: int
    name: str
    state: Literal["running", "completed", "failed"]
    result: Json = None
    failure: Failure | None = None
    child: str | None = None
    """The run it started, where it is one."""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class RunContext(Protocol):
    """What a workflow's code works with. Everything it awaits is a step: done once, and remembered.

    The code between steps must be deterministic: no clock, no randomness, no I/O of its own.
    """

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def owner(self) -> Owner:
        """For whom it works."""
        ...

    async def step(
        self,
        name: str,
        work: Callable[["StepContext"], Awaitable[Json]],
        *,
        retry: Retry = ONCE,
        deadline_seconds: float | None = None,
        undo: Callable[["StepContext", Json], Awaitable[None]] | None = None,
    ) -> Json:
        """Do `work` and remember its JSON result. After a crash only a step that was under way is done again, with
        the same idempotency key. Errors that are `retryable` (and errors outside the tree) are retried as told.
        When the run fails or is cancelled later, `undo`s run in reverse order, as steps of their own.
        Raises StepFailed.
        """
        ...

    async def report(self, key: str, value: Json) -> None:
        """Say something of the run that `Run.status` shows; a later value replaces it."""
        ...

    async def wait_for_signal(self, topic: str, *, timeout_seconds: float) -> Json:
        """Wait for `signal`; returns its payload, or None after the timeout. Survives restarts."""
        ...

    async def approval(
        self, question: str, *, approvers: Sequence[str] = (), timeout_seconds: float, details: Json = None
    ) -> "Verdict":
        """Ask people; returns the verdict (not approved after the timeout). `approvers` names roles or principals;
        nobody may approve what only others may."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; survives restarts, and is not begun anew by them."""
        ...

    async def child(self, workflow: str, arguments: Json, *, queue: str | None = None) -> Json:
        """Run another workflow and return its result; cancelling this run cancels it. Raises StepFailed when the
        child failed or was cancelled."""
        ...

    async def parallel(self, branches: Sequence["Branch"], *, concurrency: int | None = None) -> list[Json]:
        """Run branches at once, at most `concurrency` of them, each with a context of its own that it must use in
        place of this one; returns their results in order. May be nested.

        Steps of one branch keep their identity whatever the others do. Every branch runs to its end; then the
        failure of the first one that failed, in order, is raised.
        """
        ...


@dataclass(frozen=True, slots=True)
class StepContext:
    """What the work of one step is told."""

    run_id: str
    step: str
    attempt: int
    idempotency_key: str
    """`<run id>:<place>`: the same for every attempt at this step of this run, also after a crash and on another
    worker."""
    check: Callable[[], Awaitable[None]]
    """Raises Fenced when this worker was declared dead and its run given to another: call before an effect."""
    progress: Callable[[float, float | None, str | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people said."""

    approved: bool
    by: str | None
    reason: str | None = None


Body = Callable[[RunContext, Json], Awaitable[Json]]

Branch = Callable[[RunContext], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A definition: a name, and the code of its present version."""

    name: str
    body: Body
    version: str = "1"
    """Change it whenever the sequence of steps changes. Runs of versions not given in `older` are refused clearly
    when they would resume."""
    older: Mapping[str, Body] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """Bounds how much of one kind of work runs at once."""

    name: str
    concurrency: int | None = None
    """Over all workers."""
    worker_concurrency: int | None = None
    """On one worker."""
    rate: tuple[int, float] | None = None
    """So many starts in so many seconds."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Starts a workflow by the clock."""

    name: str
    cron: str
    """Five or six fields, UTC."""
    workflow: str
    arguments: Json
    owner: Owner
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs are wanted."""

    owner: str | None = None
    workflow: str | None = None
    state: RunState | None = None
    limit: int = 50
    cursor: str | None = None


class Workflows(Protocol):
    """Starts and steers runs. Any process that shares the database may call any of these; workers do the work.

    A run acknowledged by `start` survives every process. Every transition is appended to the event store as
    `orchestrator.run.*` and `orchestrator.step.*`. Raises NotFound for unknown runs and workflows, Unavailable
    while the database is away.
    """

    async def start(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        *,
        run_id: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        delay_seconds: float | None = None,
        deadline_seconds: float | None = None,
    ) -> Run:
        """Start a run, durably. Starting the same `run_id` again returns the run there is."""
        ...

    async def get(self, run_id: str) -> Run:
        """Return a run as it stands."""
        ...

    async def steps(self, run_id: str) -> list[StepRecord]:
        """Return a run's steps in order."""
        ...

    async def find(self, query: RunQuery) -> tuple[list[Run], str | None]:
        """Return runs, newest first, and the cursor of the next page."""
        ...

    async def wait(self, run_id: str, timeout_seconds: float) -> Run:
        """Return the run when it is final, or as it stands after the timeout."""
        ...

    async def cancel(self, run_id: str) -> Run:
        """Stop a run and its children; what it did is undone by its `undo`s. Final runs stay as they are."""
        ...

    async def pause(self, run_id: str) -> Run:
        """Stop before the next step, until `resume`."""
        ...

    async def resume(self, run_id: str) -> Run:
        """Go on after `pause`; a failed or cancelled run goes on from the step it stopped at."""
        ...

    async def fork(self, run_id: str, from_step: int, owner: Owner) -> Run:
        """Start a new run that takes the results of the steps before `from_step` over."""
        ...

    async def signal(self, run_id: str, topic: str, payload: Json, *, key: str | None = None) -> None:
        """Tell a run something. With `key`, telling it again changes nothing."""
        ...

    async def approve(self, run_id: str, verdict: Verdict) -> Run:
        """Answer the approval a run waits for; raises Conflict when it waits for none."""
        ...

    async def schedule(self, schedule: Schedule) -> None:
        """Add or replace a schedule."""
        ...

    async def unschedule(self, name: str) -> None:
        """Remove a schedule."""
        ...

    async def schedules(self) -> list[Schedule]:
        """Return the schedules there are."""
        ...

    async def forget(self, before: datetime) -> int:
        """Drop final runs that ended before `before`; returns how many."""
        ...
