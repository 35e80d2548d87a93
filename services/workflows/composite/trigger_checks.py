"""Checks the events that start a definition: their types, what is read of them, and what a run is given."""

from collections.abc import Mapping

from quantum_suite.core.events import EventData
from quantum_suite.services.workflows.composite.expressions import Reference
from quantum_suite.services.workflows.composite.model import Definition, Trigger
from quantum_suite.services.workflows.composite.problems import near
from quantum_suite.services.workflows.composite.schemas import check_value, unknown_member
from quantum_suite.services.workflows.composite.templates import Template
from quantum_suite.services.workflows.interface import Json
from quantum_suite.services.yaml_nodes import Node, Problem

EVENT_MEMBERS = ("id", "type", "time", "stream", "subject", "principal", "correlation_id", "data")
"""What expressions see of an event. What it says of people is not part of it."""


def check_triggers(definition: Definition, events: Mapping[str, type[EventData]] | None) -> list[Problem]:
    """Return what is wrong with a definition's triggers. `events` are the types that may start workflows; where
    they are not known, types and what they carry are not checked."""
    problems: list[Problem] = []
    for trigger in definition.triggers:
        schema: Mapping[str, Json] = {}
        if events is not None and trigger.event in events:
            schema = events[trigger.event].model_json_schema()
        elif events is not None and trigger.event:
            named = trigger.node.value["event"]
            problems.append(
                named.problem(f"No event '{trigger.event}' starts workflows.", near(trigger.event, events))
            )
        problems += _expressions(trigger, schema)
        problems += check_value(_inputs(trigger), definition.input_schema())
    return problems


def _expressions(trigger: Trigger, schema: Mapping[str, Json]) -> list[Problem]:
    problems: list[Problem] = []
    for template in (trigger.where, trigger.key, trigger.inputs):
        for node, expression in template.expressions() if template is not None else ():
            for reference in expression.references():
                found = _reference(reference, schema)
                if found is not None:
                    problems.append(node.problem(*found))
    return problems


def _reference(reference: Reference, schema: Mapping[str, Json]) -> tuple[str, str] | None:
    first, *rest = reference.path
    if first != "event":
        return f"There is no '{first}' here.", "A trigger sees the event alone: write event.data.<field>."
    if not rest or not isinstance(rest[0], str):
        return None
    if rest[0] not in EVENT_MEMBERS:
        return f"An event has no '{rest[0]}'.", near(rest[0], EVENT_MEMBERS)
    found = unknown_member(schema, rest[1:]) if rest[0] == "data" else None
    return None if found is None else (f"The event carries no '{found[0]}'.", near(*found))


def _inputs(trigger: Trigger) -> Template:
    if trigger.inputs is not None:
        return trigger.inputs
    node = trigger.node
    return Template(Node({}, node.path, node.line, node.column), {})
