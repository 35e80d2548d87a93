"""Verdicts: what was checked about a change or a test, what each check said, and exactly where.

A gate that could not be assessed is never a gate that passed: it says what was not checked, why, and what would
make it checkable.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.findings import Location


class Outcome(StrEnum):
    """What a gate says."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASSESSED = "not_assessed"


class Problem(BaseModel):
    """One thing that is wrong, at one place."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(
        description="The rule or kind, as the tool that found it names it, e.g. F821 or syntax-error."
    )
    message: str = Field(description="What is wrong, in one sentence.")
    location: Location | None = Field(default=None, description="Where; absent when it concerns the whole change.")
    blocking: bool = Field(default=True, description="Whether it makes the gate fail; false for advice.")
    introduced: bool = Field(
        default=True, description="Whether the change brought it; false for what was wrong before."
    )
    suggestion: str | None = Field(default=None, description="What would be right, where the tool knows.")


class Isolation(StrEnum):
    """How code that was run for a check was kept apart."""

    NOT_NEEDED = "not_needed"
    """Nothing of the change was executed."""
    BUBBLEWRAP = "bubblewrap"
    """Own namespaces: no network, only granted folders, limits on time, memory, processes and output."""
    RLIMITS = "rlimits"
    """A scratch copy and resource limits alone: the network and readable files of the user stay reachable."""


class GateReport(BaseModel):
    """What one gate found."""

    model_config = ConfigDict(frozen=True)

    gate: str = Field(
        description="The gate, e.g. applies, syntax, lint, types, imports, tests, security, mutation."
    )
    outcome: Outcome = Field(description="passed, failed or not_assessed.")
    summary: str = Field(description="The reason in one sentence; for not_assessed what would make it assessable.")
    problems: tuple[Problem, ...] = Field(
        default=(), description="Worst first; a long list is cut, see `omitted`."
    )
    omitted: int = Field(default=0, ge=0, description="How many problems were left out of the list.")
    unassessed: tuple[str, ...] = Field(
        default=(), description="Parts of it that nobody checked, each with the reason; the rest was."
    )
    engine: str | None = Field(default=None, description="What checked, with its version.")
    isolation: Isolation = Field(default=Isolation.NOT_NEEDED, description="How executed code was kept apart.")
    install_command: str | None = Field(default=None, description="What installs the missing engine, if one is.")
    seconds: float = Field(default=0.0, ge=0, description="Wall time.")


class Verdict(BaseModel):
    """Every gate's report, and what follows from them."""

    model_config = ConfigDict(frozen=True)

    accepted: bool = Field(description="Whether every required gate passed.")
    gates: tuple[GateReport, ...] = Field(
        description="In the order they ran; later ones are absent after a refusal."
    )
    reason: str = Field(description="Why it was accepted or refused, in one sentence.")
    next_step: str | None = Field(default=None, description="The smallest thing to do next, if it was refused.")
    not_assessed: tuple[str, ...] = Field(default=(), description="What nobody checked, with the reason.")

    def gate(self, name: str) -> GateReport | None:
        """Return the report of a gate, or None when it did not run."""
        return next((report for report in self.gates if report.gate == name), None)


Author = Literal["assistant", "model"]
"""Who wrote a change: the calling assistant, or the model that the gateway is configured with."""
