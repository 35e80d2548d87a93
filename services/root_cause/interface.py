"""What a diagnosis is asked, what it works on, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["latency", "errors", "traffic", "saturation"]
"""Seconds a request; share of requests that fail, 0 to 1; requests a step or a second; any measure of fullness
that is bad when high."""

KINDS: tuple[Kind, ...] = ("latency", "errors", "traffic", "saturation")


@dataclass(frozen=True, slots=True)
class Signal:
    """One measure of one node over time, from well before the onset to after it."""

    node: str
    kind: Kind
    name: str
    """How it is told in evidence: the query or column it comes from."""
    times: Sequence[float]
    """Unix seconds, ascending."""
    values: Sequence[float]
    """Of the same length; NaN where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done to the system: a deployment, a setting, a migration."""

    at: float
    what: str
    node: str | None = None
    """What it was done to; None where that is not known."""
    source: str = ""
    """Where it is known from."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, as somebody saw it."""

    node: str
    kind: Kind
    onset: float
    """Unix seconds: about when it began."""
    step: float
    """Seconds between points."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that speaks for or against a suspect."""

    words: str
    """A sentence with its numbers."""
    weight: float
    """How much it moved the score, from -1 to 1."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A node that may be the cause."""

    node: str
    score: float
    """0 to 1: comparable within one diagnosis."""
    confidence: float
    """How likely it is the cause, 0 to 1, calibrated on incidents with known causes."""
    since: float | None
    """When it was first seen to be off; None where it is suspected for a change alone."""
    evidence: tuple[Evidence, ...]


Verdict = Literal["suspects", "unclear", "not enough data"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The answer: suspects, the most likely first, and how far they can be trusted."""

    verdict: Verdict
    """`suspects`: the first is more likely the cause than not. `unclear`: there are suspects, none of them likely
    enough. `not enough data`: what is complained of is not to be seen in the metrics, or cannot be compared."""
    reason: str
    """Why the verdict is what it is, in one sentence."""
    suspects: tuple[Suspect, ...] = ()
    changes: tuple[Change, ...] = ()
    """Changes near before the onset, the nearest first."""
    notes: tuple[str, ...] = field(default=())
    """What was missing or could not be used."""
