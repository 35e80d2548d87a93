"""Compares how workspaces stand with how they stood the last time."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from quantum_suite.core.errors import NotFound
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.interface import Json
from quantum_suite.tools.orchestrator.postures import last_posture

MOST_NAMED = 50

WORKSPACES: Mapping[str, Json] = {
    "type": "array",
    "description": "Each with workspace, state, scan, counts, total, fingerprints, not_assessed and error.",
    "items": {"type": "object"},
}
SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "series": {"type": "string", "description": "Postures of one series are compared with each other."},
        "workspaces": WORKSPACES,
    },
    "required": ["series", "workspaces"],
    "additionalProperties": False,
}


class KnownFindings(TypedDict):
    """What a snapshot holds of one workspace."""

    fingerprints: list[str]
    partial: bool
    """Whether there were more than were read."""


Snapshot = Mapping[str, KnownFindings]


def snapshot_of(workspaces: Sequence[Mapping[str, Any]], before: Snapshot | None) -> Snapshot:
    """Return what the next comparison starts from. A workspace that could not be scanned stays as it was."""
    kept = {
        one["workspace"]: before[one["workspace"]] for one in workspaces if before and one["workspace"] in before
    }
    now = {
        one["workspace"]: KnownFindings(fingerprints=one["fingerprints"], partial=_partial(one))
        for one in workspaces
        if one["state"] == "completed"
    }
    return {**kept, **now}


def compare(workspaces: Sequence[Mapping[str, Any]], before: Snapshot | None) -> dict[str, Json]:
    """Return, by workspace, which findings appeared and which are gone.

    A workspace that could not be scanned, or was not seen before, is compared with nothing. Where not all findings
    were read, now or then, what cannot be known is None.
    """
    compared = [_compare_one(one, (before or {}).get(one["workspace"])) for one in workspaces]
    return {
        "workspaces": compared,
        "appeared": sum(one["appeared_count"] or 0 for one in compared),
        "gone": sum(one["gone_count"] or 0 for one in compared),
    }


def _compare_one(one: Mapping[str, Any], before: KnownFindings | None) -> dict[str, Json]:
    compared = before is not None and one["state"] == "completed"
    now, then = set(one["fingerprints"]), set(before["fingerprints"] if before else ())
    # Of a finding that was not read nobody knows whether it was there.
    appeared = sorted(now - then) if compared and before and not before["partial"] else None
    gone = sorted(then - now) if compared and not _partial(one) else None
    return {
        "workspace": one["workspace"],
        "compared": compared,
        "appeared": (appeared or [])[:MOST_NAMED],
        "appeared_count": None if appeared is None else len(appeared),
        "gone": (gone or [])[:MOST_NAMED],
        "gone_count": None if gone is None else len(gone),
    }


def _partial(one: Mapping[str, Any]) -> bool:
    return one["total"] is not None and one["total"] > len(one["fingerprints"])


async def last_snapshot(
    events: EventStore, objects: ObjectStore, owner: str, series: str, *, before_run: str
) -> tuple[Snapshot | None, str | None]:
    """Return what the last posture of a series found, and when that was; None where there is none any more."""
    last = await last_posture(events, owner, series, before_run=before_run)
    if last is None:
        return None, None
    try:
        found: Snapshot = json.loads(await objects.get(str(last.data["snapshot"])))
    except NotFound:
        return None, None  # it was kept for as long as was promised
    return found, last.time.isoformat()


def compare_postures(events: EventStore, objects: ObjectStore) -> Action:
    """Return the action."""

    async def work(call: ActionCall) -> Json:
        series = call.arguments["series"]
        before, since = await last_snapshot(events, objects, call.owner.principal, series, before_run=call.run_id)
        return {**compare(call.arguments["workspaces"], before), "since": since}

    return Action("compare_postures", "Compare workspaces with how they stood the last time.", SCHEMA, work)
