"""How far a ranking can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import replace

from quantum_suite.services.root_cause.accounting import SIGNIFICANT
from quantum_suite.services.root_cause.interface import Complaint, Suspect, Verdict
from quantum_suite.services.root_cause.shifts import LEAST_BASELINE, Shift

MOST_SUSPECTS = 10
LIKELY = 0.5
"""From this confidence on the first suspect is called the likely cause."""

_SHARPNESS = 4.0
_STRONG = 2.0
"""Scales at which what is complained of is to be seen beyond doubt."""
_BY_CHANCE = 0.2
"""How likely by chance halves the confidence."""
_UNCONNECTED = 0.3
"""How often the first suspect is right where nobody knows who depends on whom, as measured."""


def unmeasured(complaint: Complaint) -> str:
    """Say that a complaint cannot be compared with anything."""
    return (
        f"There is too little of the {complaint.kind} of {complaint.node} to compare: {LEAST_BASELINE} points "
        "before the onset, and one since, are needed."
    )


def verdict(
    suspects: Sequence[Suspect], complaint: Complaint, target: Shift, by_chance: float, *, connected: bool
) -> tuple[Verdict, str, tuple[Suspect, ...]]:
    """Return the verdict, why, and the suspects with their confidence.

    A suspect's confidence is its share of all suspects' scores (sharpened), times its own score's worth, times how
    plainly the complaint itself is to be seen: how strong it is, and how unlikely `by_chance`. Where nothing is
    `connected`, causes cannot be told from consequences, and no suspect is called likely.
    """
    total = sum(suspect.score**_SHARPNESS for suspect in suspects)
    strength = abs(target.strength) if complaint.kind == "traffic" else max(0.0, target.strength)
    seen = (1 - math.exp(-((strength / _STRONG) ** 2))) / (1 + (by_chance / _BY_CHANCE) ** 2)
    if not connected:
        seen *= _UNCONNECTED
    told = tuple(
        replace(
            suspect,
            confidence=round(seen * _worth(suspect.score) * suspect.score**_SHARPNESS / total, 3),
            score=round(suspect.score, 3),
        )
        for suspect in suspects[:MOST_SUSPECTS]
    )
    if strength < SIGNIFICANT:
        return "not enough data", _unusual(complaint, target), told
    if not told:
        return "unclear", "Nothing that is measured got worse enough to explain the complaint.", ()
    first = told[0]
    if first.confidence >= LIKELY:
        return (
            "suspects",
            f"{first.node} explains the complaint best, with confidence {first.confidence:.2f}.",
            told,
        )
    return "unclear", f"No suspect is likely enough; {first.node} comes first with {first.confidence:.2f}.", told


def _unusual(complaint: Complaint, target: Shift) -> str:
    return (
        f"Nothing unusual is to be seen in the {complaint.kind} of {complaint.node}: {target.reference:.4g} "
        f"before, {target.during:.4g} since, {target.strength:.1f} times its usual spread."
    )


def _worth(score: float) -> float:
    return 1 - (1 - score) ** 3
