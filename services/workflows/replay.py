"""Runs a workflow's code against the recorded history of a run, to see whether it still does the same steps.

A changed workflow whose version was not changed would go astray in runs that are under way: histories of shipped
workflows are kept, and checked against the present code.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import anyio

from quantum_suite.core.errors import CallerError
from quantum_suite.services.workflows.interface import (
    ONCE,
    Body,
    Branch,
    Failure,
    Json,
    Owner,
    Retry,
    Run,
    StepContext,
    StepFailed,
    Verdict,
)

FORMAT = 1
"""The version of the form that `dump_history` writes."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A step of a recorded run, by its place in the code."""

    place: str
    name: str
    result: Json = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What a run did, and how it ended."""

    workflow: str
    version: str
    run_id: str
    owner: Owner
    arguments: Json
    state: str
    result: Json
    failure: Failure | None
    steps: tuple[HistoryStep, ...]


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first point at which code does something else than a history tells."""

    place: str
    recorded: str | None
    """What the history tells; None: nothing."""
    now: str | None
    """What the code does; None: nothing."""

    def __str__(self) -> str:
        return f"at {self.place}: recorded {self.recorded or 'nothing'}, now {self.now or 'nothing'}"


def history_of(run: Run, steps: Sequence[HistoryStep]) -> History:
    """Return the history of a run that has ended; what undid its steps is left out."""
    kept = tuple(step for step in steps if not step.place.startswith("undo "))
    return History(
        run.workflow, run.version, run.id, run.owner, run.arguments, run.state, run.result, run.failure, kept
    )


def dump_history(history: History) -> str:
    """Return a history as JSON, one that reads well in a diff."""
    return json.dumps({"format": FORMAT, **asdict(history)}, indent=2, sort_keys=True) + "\n"


def load_history(text: str) -> History:
    """Return a history from its JSON; raises CallerError for anything else."""
    try:
        stored: dict[str, Any] = json.loads(text)
        if stored["format"] != FORMAT:
            raise ValueError(f"it is of form {stored['format']}")
        owner = stored["owner"]
        workspaces = None if owner["workspaces"] is None else tuple(owner["workspaces"])
        return History(
            workflow=stored["workflow"],
            version=stored["version"],
            run_id=stored["run_id"],
            owner=Owner(owner["principal"], tuple(owner["roles"]), workspaces),
            arguments=stored["arguments"],
            state=stored["state"],
            result=stored["result"],
            failure=_failure(stored["failure"]),
            steps=tuple(
                HistoryStep(step["place"], step["name"], step["result"], _failure(step["failure"]))
                for step in stored["steps"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CallerError(f"That is no recorded history: {error}.", argument="history") from error


async def first_divergence(body: Body, history: History) -> Divergence | None:
    """Run code against a history; returns the first difference, None when it does the same and ends the same.

    Nothing of the steps' work is done. A history of a run that was cancelled is followed as far as it goes.
    """
    recorder = _Recorder({step.place: step for step in history.steps}, history)
    result: Json = None
    failure: Failure | None = None
    with anyio.CancelScope() as recorder.scope:
        try:
            result = json.loads(json.dumps(await body(_Replay(recorder, ""), history.arguments), allow_nan=False))
        except StepFailed as failed:
            failure = failed.failure
        except Exception as error:
            failure = Failure(getattr(error, "code", "internal_error"), str(error))
    if recorder.divergence is not None or recorder.ended_early:
        return recorder.divergence
    unseen = [step for step in history.steps if step.place not in recorder.seen]
    if unseen:
        return Divergence(unseen[0].place, unseen[0].name, None)
    told = _ending(history.state, history.result, history.failure)
    now = _ending("failed" if failure else "completed", result, failure)
    return None if told == now else Divergence("the end", told, now)


def _ending(state: str, result: Json, failure: Failure | None) -> str:
    if state == "completed":
        return f"completed with {json.dumps(result, sort_keys=True)}"
    return f"{state} with {failure.code if failure else 'nothing'}"


def _failure(stored: Mapping[str, Any] | None) -> Failure | None:
    return None if stored is None else Failure(stored["code"], stored["message"], stored.get("hint"))


class _Recorder:
    """Gives out what is recorded, and notes the first thing that is not."""

    def __init__(self, steps: dict[str, HistoryStep], history: History) -> None:
        self.history = history
        self.seen: set[str] = set()
        self.divergence: Divergence | None = None
        self.ended_early = False
        self.scope: anyio.CancelScope | None = None
        self._steps = steps

    async def take(self, place: str, name: str) -> Json:
        step = self._steps.get(place)
        if step is None or step.name != name:
            if step is None and self.history.state == "cancelled":
                self.ended_early = True
            else:
                self.divergence = self.divergence or Divergence(place, step.name if step else None, name)
            await self._stop()
        self.seen.add(place)
        if step.failure is not None:
            raise StepFailed(name, step.failure)
        return step.result

    async def _stop(self) -> NoReturn:
        if self.scope is not None:
            self.scope.cancel()
        await anyio.sleep_forever()
        raise RuntimeError("a stopped replay went on")


class _Replay:
    """A `RunContext` that does nothing: it looks up what was done."""

    def __init__(self, recorder: _Recorder, prefix: str) -> None:
        self._recorder = recorder
        self._prefix = prefix
        self._count = 0

    @property
    def run_id(self) -> str:
        return self._recorder.history.run_id

    @property
    def owner(self) -> Owner:
        return self._recorder.history.owner

    async def step(
        self,
        name: str,
        work: Callable[[StepContext], Awaitable[Json]],
        *,
        retry: Retry = ONCE,
        deadline_seconds: float | None = None,
        undo: Callable[[StepContext, Json], Awaitable[None]] | None = None,
    ) -> Json:
        return await self._recorder.take(self._next_place(), name)

    async def report(self, key: str, value: Json) -> None:
        return None

    async def wait_for_signal(self, topic: str, *, timeout_seconds: float) -> Json:
        return await self._recorder.take(self._next_place(), f"signal {topic}")

    async def approval(
        self, question: str, *, approvers: Sequence[str] = (), timeout_seconds: float, details: Json = None
    ) -> Verdict:
        return Verdict(**await self._recorder.take(self._next_place(), "approval"))

    async def sleep(self, seconds: float) -> None:
        await self._recorder.take(self._next_place(), "sleep")

    async def child(self, workflow: str, arguments: Json, *, queue: str | None = None) -> Json:
        return await self._recorder.take(self._next_place(), f"child {workflow}")

    async def parallel(self, branches: Sequence[Branch], *, concurrency: int | None = None) -> list[Json]:
        place = self._next_place()
        results: list[Json] = []
        failures: list[Exception] = []
        for number, branch in enumerate(branches, 1):
            try:
                results.append(await branch(_Replay(self._recorder, f"{place}.{number}.")))
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return results

    def _next_place(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"
