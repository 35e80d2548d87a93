"""What is said about a judged change: the same whoever wrote it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.verdicts import Author, GateReport, Isolation, Outcome, Problem, Verdict

SHOWN_PROBLEMS = 10
Way = Literal["assistant", "model"]


class GateLine(BaseModel):
    """One gate in a line."""

    model_config = ConfigDict(frozen=True)

    gate: str = Field(description="The gate.")
    outcome: Outcome = Field(description="passed, failed or not_assessed.")
    summary: str = Field(description="The reason in one sentence.")
    seconds: float = Field(description="Wall time.")


class ChangeAnswer(BaseModel):
    """The verdict on a change, short. The report holds everything."""

    model_config = ConfigDict(frozen=True)

    change: str | None = Field(
        description="Names the judged change: pass it to apply_change. None where it does not apply."
    )
    accepted: bool = Field(description="Whether every gate that could be assessed was passed.")
    author: Author = Field(description="Who wrote it: assistant (you) or model (the configured one).")
    model: str | None = Field(default=None, description="The model that wrote it, if one did.")
    reason: str = Field(description="Why it was accepted or refused.")
    next_step: str | None = Field(description="The smallest thing to do next, if it was refused.")
    gates: tuple[GateLine, ...] = Field(
        description="The gates that ran, in order; none after the one that refused."
    )
    problems: tuple[Problem, ...] = Field(description="The worst problems, those that block first.")
    more_problems: int = Field(description="How many more the report names.")
    not_assessed: tuple[str, ...] = Field(description="What nobody checked, and what would make it checkable.")
    isolation: Isolation = Field(description="How the code was kept apart while it ran.")
    files: tuple[str, ...] = Field(description="The files it changes.")
    report: str = Field(description="URI of the whole verdict.")
    diff: str | None = Field(default=None, description="The change as a diff, where a model wrote it.")


def gate_lines(verdict: Verdict) -> tuple[GateLine, ...]:
    """Return each gate that ran in a line."""
    return tuple(
        GateLine(gate=one.gate, outcome=one.outcome, summary=one.summary, seconds=one.seconds)
        for one in verdict.gates
    )


def problems_of(gates: tuple[GateReport, ...]) -> list[Problem]:
    """Return the problems of all gates, blocking ones first, then new ones."""
    every = [problem for gate in gates for problem in gate.problems]
    return sorted(every, key=lambda one: (not one.blocking, not one.introduced))


def isolation_of(gates: tuple[GateReport, ...]) -> Isolation:
    """Return how code was kept apart in the gates that ran any, the weakest way if there were several."""
    used = {gate.isolation for gate in gates}
    for one in (Isolation.RLIMITS, Isolation.BUBBLEWRAP):
        if one in used:
            return one
    return Isolation.NOT_NEEDED
