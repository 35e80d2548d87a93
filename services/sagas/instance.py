"""One instance of a saga, and how a decision changes it. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.services.sagas.interface import (
    ClearTimeout,
    Command,
    Decision,
    RunEnded,
    SagaStatus,
    SetTimeout,
    StartWorkflow,
    TimedOut,
    Trigger,
)
from quantum_suite.services.workflows.interface import Json

TIMER_STEP = "timer-"


class Step(BaseModel):
    """A workflow the saga has started."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["started", "completed", "failed", "cancelled"] = "started"
    undo: dict[str, Any] | None = None
    is_undo: bool = False


class Instance(BaseModel):
    """Where one instance stands; stored whole with each decision."""

    model_config = ConfigDict(extra="forbid")

    state: dict[str, Any] | None = None
    status: SagaStatus = "running"
    reason: str | None = None
    steps: dict[str, Step] = Field(default_factory=dict)
    """In the order they were started."""
    undoing: list[dict[str, Any]] | None = None
    """What is still to be taken back, next one first; None until every step has ended."""
    undo_failures: list[str] = Field(default_factory=list)
    """Steps that could not be taken back: for people to look at."""
    timers: dict[str, int] = Field(default_factory=dict)
    """Timeouts that are set, with the number of the timer that counts."""
    timers_set: int = 0

    @property
    def ended(self) -> bool:
        """Whether it takes in nothing more."""
        return self.status in ("completed", "failed")

    def note(self, trigger: Trigger) -> None:
        """Remember that a step has ended or a timeout passed."""
        if isinstance(trigger, RunEnded) and trigger.step in self.steps:
            step = self.steps[trigger.step]
            step.state = trigger.state
            if step.is_undo and trigger.state != "completed":
                self.undo_failures.append(trigger.step)
        elif isinstance(trigger, TimedOut):
            self.timers.pop(trigger.name, None)

    def follow(self, decision: Decision) -> list[dict[str, Any]]:
        """Change as decided; returns what is to be done, as JSON."""
        self.state = dict(decision.state)
        commands: list[dict[str, Any]] = []
        for command in decision.commands:
            commands += self._commanded(command)
        if decision.outcome != "goes_on":
            commands += self._ending(decision)
        for name in decision.forget:
            if name in self.steps and self.steps[name].state != "started":
                del self.steps[name]
        return commands

    def take_back(self) -> list[dict[str, Any]]:
        """Return the next undo to start, if nothing is under way; with none left the instance has failed."""
        if any(step.state == "started" for step in self.steps.values()):
            return []
        if self.undoing is None:
            done = [step for step in self.steps.values() if step.state == "completed"]
            self.undoing = [step.undo for step in reversed(done) if step.undo]
        if not self.undoing:
            self.status = "failed"
            return []
        command = self.undoing.pop(0)
        self.steps[command["step"]] = Step(is_undo=True)
        return [command]

    def _commanded(self, command: Command) -> list[dict[str, Any]]:
        if isinstance(command, StartWorkflow):
            if command.step.startswith(TIMER_STEP):
                raise ValueError(f"a step may not be called {command.step}: timers are")
            if command.step in self.steps:
                return []  # a step starts once
            self.steps[command.step] = Step(undo=_as_json(command.undo) if command.undo else None)
            return [_as_json(command)]
        cleared = self._cleared(command.name)
        if isinstance(command, ClearTimeout):
            return cleared
        self.timers_set += 1
        self.timers[command.name] = self.timers_set
        return [*cleared, {**_as_json(command), "step": f"{TIMER_STEP}{self.timers_set}-{command.name}"}]

    def _cleared(self, name: str) -> list[dict[str, Any]]:
        number = self.timers.pop(name, None)
        return [] if number is None else [{"kind": "cancel", "step": f"{TIMER_STEP}{number}-{name}"}]

    def _ending(self, decision: Decision) -> list[dict[str, Any]]:
        commands: list[dict[str, Any]] = []
        for name in list(self.timers):
            commands += self._cleared(name)
        if decision.outcome == "completed":
            self.status = "completed"
            return commands
        self.status, self.reason = "compensating", decision.reason
        commands += [
            {"kind": "cancel", "step": name} for name, step in self.steps.items() if step.state == "started"
        ]
        return commands + self.take_back()


def timer_of(step: str) -> tuple[str, int] | None:
    """Return the timeout a timer's step stands for, and the timer's number."""
    if not step.startswith(TIMER_STEP):
        return None
    number, _, name = step.removeprefix(TIMER_STEP).partition("-")
    return (name, int(number)) if number.isdigit() else None


def _as_json(command: StartWorkflow | SetTimeout) -> dict[str, Any]:
    kind = "start" if isinstance(command, StartWorkflow) else "timer"
    plain: Mapping[str, Json] = asdict(command)
    return {"kind": kind, **{name: value for name, value in plain.items() if name != "undo"}}
