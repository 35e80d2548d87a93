"""A runbook as it was read, and what it comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool and what it is called with."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verification:
    """What must hold, asked again and again for a while."""

    use: ToolUse
    holds: str
    """An expression over `result`."""
    within_seconds: float
    every_seconds: float


@dataclass(frozen=True, slots=True)
class RunbookStep:
    """One step: a call, something that must hold, or both in this order."""

    id: str
    title: str
    call: ToolUse | None
    verify: Verification | None
    undo: ToolUse | None
    deadline_seconds: float | None


@dataclass(frozen=True, slots=True)
class Runbook:
    """Steps in order. When one fails, those before it are undone, last first."""

    name: str
    description: str
    inputs: Mapping[str, Any]
    approvers: Sequence[str]
    steps: Sequence[RunbookStep]


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What one step would do."""

    id: str
    title: str
    effect: Literal["reads", "changes", "verifies"]
    tool: str
    arguments: Mapping[str, Any]
    approval: bool
    """Whether people are asked before."""
    undo: str
    """The tool that takes it back; empty where nothing does."""
    holds: str = ""
