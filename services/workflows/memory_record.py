"""What is remembered of a run in memory."""

import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

import anyio

from quantum_suite.services.workflows.interface import (
    APPROVAL_STATUS,
    Failure,
    Json,
    Run,
    RunState,
    StepContext,
    StepFailed,
    StepRecord,
    Verdict,
)

Undo = Callable[[StepContext, Json], Awaitable[None]]


class PlacedFailure(StepFailed):
    """A step's failure that knows where in the code it was."""

    def __init__(self, step: str, failure: Failure, place: str) -> None:
        super().__init__(step, failure)
        self.place = place


@dataclass
class Question:
    """An approval that is waited for."""

    shown: dict[str, Json]
    verdict: Verdict | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)


@dataclass
class RunMemory:
    """All that is known of a run. `steps` goes by the step's place in the code, which replays find again."""

    run: Run
    steps: dict[str, StepRecord] = field(default_factory=dict)
    undos: list[tuple[str, str, Undo, Json]] = field(default_factory=list)
    undone: bool = False
    failed_at: str | None = None
    """The place of the step that ended the run, where one did."""
    signals: dict[str, deque[Json]] = field(default_factory=lambda: defaultdict(deque))
    signal_keys: set[str] = field(default_factory=set)
    questions: list[Question] = field(default_factory=list)
    gate: anyio.Event | None = None
    """Set up while the run is paused; steps wait for it."""
    scope: anyio.CancelScope | None = None
    """The code that runs, if it does."""
    waiting: int = 0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def change(
        self, *, state: RunState | None = None, status: dict[str, Json] | None = None, **rest: Json
    ) -> None:
        """Note a transition, and wake whoever waits for one."""
        self.run = replace(
            self.run,
            state=state or self.run.state,
            status={**self.run.status, **(status or {})},
            updated_at=datetime.now(UTC),
            **rest,
        )
        self.changed.set()
        self.changed = anyio.Event()

    def record(
        self, place: str, name: str, state: Literal["running", "completed", "failed"], **rest: Json
    ) -> None:
        """Note where a step stands; its number is given when it first begins."""
        earlier = self.steps.get(place)
        now = datetime.now(UTC)
        if earlier is None:
            number = max((step.number for step in self.steps.values()), default=0) + 1
            earlier = StepRecord(number, name, state, started_at=now)
        ended = None if state == "running" else now
        self.steps[place] = replace(earlier, state=state, ended_at=ended, **rest)
        self.change()

    def forget_failures(self, since: str | None) -> None:
        """Drop the failed step that ended the run, and what came after it, so that they are done again."""
        first = self.steps[since].number if since in self.steps else 0
        kept = {
            place: step
            for place, step in self.steps.items()
            if step.state == "completed" or (step.state == "failed" and step.number < first)
        }
        self.steps = kept


def show_question(memory: RunMemory) -> None:
    """Have `Run.status` tell the first open question."""
    open_ones = [question for question in memory.questions if question.verdict is None]
    memory.change(status={APPROVAL_STATUS: open_ones[0].shown if open_ones else None})


def as_json(value: Json) -> Json:
    """Return a copy of a value as storing it would; raises TypeError or ValueError for what is no JSON."""
    return json.loads(json.dumps(value, allow_nan=False))
