"""The list of definitions."""

import json
from collections.abc import Iterable

from quantum_suite.resources.orchestrator.uris import definition_uri
from quantum_suite.services.workflows.composite.composites import Known
from quantum_suite.services.workflows.composite.model import Definition, Trigger
from quantum_suite.services.workflows.interface import Json


def definitions_json(definitions: Iterable[tuple[Known, Definition]]) -> str:
    """Return a short list of definitions: what each does and what it takes."""
    rows = [definition_row(known, read) for known, read in definitions]
    return json.dumps({"definitions": rows}, indent=2, ensure_ascii=False)


def definition_row(known: Known, read: Definition) -> dict[str, Json]:
    """Return what somebody needs to know to start a definition."""
    return {
        "name": known.name,
        "version": known.version,
        "uri": definition_uri(known.name),
        "description": read.description,
        "inputs": {
            name: {
                **one.schema,
                **({"required": True} if one.required else {}),
                **({"default": one.default} if one.default is not None else {}),
            }
            for name, one in read.inputs.items()
        },
        "owner": "the suite" if known.stored is None else known.stored.owner,
        **({"on": [_trigger(one) for one in read.triggers]} if read.triggers else {}),
    }


def _trigger(trigger: Trigger) -> dict[str, Json]:
    written = {"where": trigger.where, "key": trigger.key, "inputs": trigger.inputs}
    given = {name: one.node.plain() for name, one in written.items() if one is not None}
    return {"event": trigger.event, **given}
