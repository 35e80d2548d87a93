"""Whether an event starts a definition, with what, and as which run. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import Event, type_and_version
from quantum_suite.services.workflows.composite.functions import BadExpression, kind_of
from quantum_suite.services.workflows.composite.model import Definition, Trigger
from quantum_suite.services.workflows.interface import Json

MAX_INPUT_BYTES = 64 * 1024
"""Most that a run is given by an event, as JSON: it is part of the saga's own events."""

MAX_DEPTH = 5
"""Runs that one event may lead to, each started by an event of the one before."""

_PREFIX = "on-"
_ORIGIN = re.compile(
    rf"saga\.{_PREFIX}(?P<definition>[a-z][a-z0-9_]*)\.[0-9a-f]{{24}}\.d(?P<depth>[0-9]{{1,3}})-[0-9a-f]{{24}}(?=\.|$)"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The run started by an event that some run is, or belongs to."""

    run: str
    definition: str
    depth: int
    """1 for a run that an event from outside started; 2 for what that run's events started, and so on."""


@dataclass(frozen=True, slots=True)
class Match:
    """What an event starts."""

    inputs: Mapping[str, Json]
    slot: str
    """The instance of the definition's saga: of the key, or of the event where there is none."""
    shared: bool
    """Whether the slot is for all events of one key."""


def origin_of(run_id: str | None) -> Origin | None:
    """Return where a run comes from: ids of children begin with their parent's. None where no event started it."""
    found = _ORIGIN.match(run_id or "")
    return Origin(found[0], found["definition"], int(found["depth"])) if found else None


def saga_name(definition: str) -> str:
    """Return the name of the saga that a definition with triggers is."""
    return f"{_PREFIX}{definition}"


def definition_of(saga: str) -> str | None:
    """Return the definition whose saga has this name."""
    return saga.removeprefix(_PREFIX) if saga.startswith(_PREFIX) else None


def step_of(event: Event, depth: int) -> str:
    """Return the name of the run an event starts: the same for the same event."""
    return f"d{depth}-{_digest(event.id)}"


def match(definition: Definition, event: Event) -> Match | None:
    """Return what an event starts by the first trigger it fits.

    Raises CallerError for expressions that cannot be worked out over this event, and inputs that are too large.
    """
    scope = event_scope(event)
    for trigger in definition.triggers:
        if trigger.event == scope["event"]["type"]:
            try:
                if _wanted(trigger, scope):
                    return _match(trigger, event, scope)
            except BadExpression as error:
                raise CallerError(error.message, error.hint, argument="on") from error
    return None


def event_scope(event: Event) -> dict[str, dict[str, Json]]:
    """Return what a trigger's expressions see."""
    told = {
        "id": event.id,
        "type": type_and_version(event.type)[0],
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "stream": event.stream,
        "subject": event.subject,
        "principal": event.principal,
        "correlation_id": event.correlation_id,
        "data": dict(event.data),
    }
    return {"event": told}


def _wanted(trigger: Trigger, scope: Mapping[str, Json]) -> bool:
    if trigger.where is None:
        return True
    wanted = trigger.where.render(scope)
    if not isinstance(wanted, bool):
        node = trigger.where.node
        raise BadExpression(
            f"{node.path} (line {node.line}, column {node.column}): This is {kind_of(wanted)}, not true or false.",
            "Compare it with something.",
        )
    return wanted


def _match(trigger: Trigger, event: Event, scope: Mapping[str, Json]) -> Match:
    inputs = trigger.inputs.render(scope) if trigger.inputs is not None else {}
    size = len(json.dumps(inputs).encode())
    if size > MAX_INPUT_BYTES:
        raise BadExpression(f"The inputs have {size} bytes.", f"{MAX_INPUT_BYTES} is the most.")
    if trigger.key is None:
        return Match(inputs, _digest(event.id), shared=False)
    key = json.dumps(trigger.key.render(scope), sort_keys=True)
    return Match(inputs, _digest(f"key {key}"), shared=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
