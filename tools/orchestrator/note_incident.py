"""Writes what a run did into an incident's timeline."""

import hashlib
from collections.abc import Mapping

from quantum_suite.core.events import NewEvent
from quantum_suite.core.incident_events import ActionTaken, incident_stream
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.interface import Json

_MOST_TEXT = 4_000

SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "incident": {"description": "The incident's id; null where there is none, and nothing is written."},
        "text": {"type": "string", "description": "What was done."},
        "outcome": {"type": "string", "description": "What came of it."},
    },
    "required": ["incident", "text"],
    "additionalProperties": False,
}


def note_incident(events: EventStore) -> Action:
    """Return the action; done twice for one step, it writes once."""

    async def work(call: ActionCall) -> Json:
        incident = call.arguments.get("incident")
        if not isinstance(incident, str) or not incident:
            return {"written": False}
        await call.check()
        taken = ActionTaken(
            incident=incident,
            action=str(call.arguments["text"])[:_MOST_TEXT],
            outcome=str(call.arguments.get("outcome") or "")[:_MOST_TEXT],
            run=call.run_id,
        )
        digest = hashlib.sha256(call.idempotency_key.encode()).hexdigest()[:26]
        event = NewEvent(taken, principal=call.owner.principal, correlation_id=call.run_id, id=f"evt_{digest}")
        await events.append(incident_stream(incident), ANY_VERSION, [event])
        return {"written": True}

    return Action("note_incident", "Writes into an incident's timeline.", SCHEMA, work)
