"""What is approved: one digest over all that decides what a run does, and what differs when it is another."""

import hashlib
from typing import Any

from quantum_suite.services.infrastructure.plan import Plan, PlannedStep
from quantum_suite.services.infrastructure.values import canonical

_NOT_DECIDING = {"digest", "created_at", "messages", "verdicts", "outputs", "engine_version"}
_MOST_NAMED = 10


def plan_digest(plan: Plan) -> str:
    """Return the SHA-256 over a plan's canonical JSON, without what decides nothing."""
    return hashlib.sha256(canonical(plan.model_dump(mode="json", exclude=_NOT_DECIDING))).hexdigest()


def differences(approved: Plan, now: Plan) -> list[str]:
    """Return in words what differs between two plans of one stack; empty when their digests are the same."""
    told: list[str] = []
    for name, words in _WORDS.items():
        before, after = getattr(approved, name), getattr(now, name)
        if before != after:
            told.append(words.format(before=before, after=after))
    old, new = (
        {step.urn + step.id * (step.operation == "delete"): step for step in p.steps} for p in (approved, now)
    )
    for key in [*old, *(key for key in new if key not in old)]:
        told += _of_steps(old.get(key), new.get(key))
    if not told and plan_digest(approved) != plan_digest(now):
        told.append("drift or problems are others than before")
    more = len(told) - _MOST_NAMED
    return [*told[:_MOST_NAMED], f"and {more} more"] if more > 0 else told


_WORDS: dict[str, str] = {
    "kind": "it was to {before} the stack, now to {after} it",
    "state_serial": "the state was written since (serial {before}, now {after})",
    "source_digest": "the program's files have changed",
    "config_digest": "the configuration has changed",
    "options": "the options are others ({before}, now {after})",
}


def _of_steps(before: PlannedStep | None, after: PlannedStep | None) -> list[str]:
    if before is None and after is not None:
        return [f"{after.name} ({after.type}) is new in the plan: {after.operation}"]
    if after is None and before is not None:
        return [f"{before.name} ({before.type}) is no longer in the plan: it was to {before.operation}"]
    if before is None or after is None or before == after:
        return []
    if before.operation != after.operation:
        return [f"{before.name} ({before.type}): it was to {before.operation}, now it would {after.operation}"]
    if before.inputs_digest != after.inputs_digest:
        paths: Any = ", ".join(sorted(_changed(before.inputs, after.inputs))) or "a secret"
        return [f"{before.name} ({before.type}): its properties differ ({paths})"]
    return [f"{before.name} ({before.type}): its step differs"]


def _changed(before: Any, after: Any) -> set[str]:
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}
