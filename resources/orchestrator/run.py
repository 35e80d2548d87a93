"""A run in JSON, its steps, and the list of runs. Secrets in what it was given are masked."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from quantum_suite.core.masking import mask_value
from quantum_suite.resources.orchestrator.uris import run_uri
from quantum_suite.services.workflows.composite.composites import COMPOSITE
from quantum_suite.services.workflows.interface import Failure, Json, Run, StepRecord

MAX_STEP_CHARACTERS = 2000
"""Longest result of a step that is shown with it."""


def run_json(run: Run) -> str:
    """Return everything known about a run, with links to its views."""
    data: dict[str, Any] = {
        "id": run.id,
        "workflow": definition_name(run),
        "version": definition_version(run),
        "state": run.state,
        "owner": run.owner.principal,
        "inputs": mask_value(inputs_of(run)),
        "created_at": run.created_at.isoformat(),
        "updated_at": run.updated_at.isoformat(),
        "result": run.result,
        "failure": failure_json(run.failure),
        "status": dict(run.status),
        "parent": run.parent,
        "forked_from": run.forked_from,
        "started_by": run.arguments.get("started_by") if run.workflow == COMPOSITE else None,
        "links": {view: run_uri(run.id, view) for view in views_of(run)},
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def steps_json(steps: Sequence[StepRecord]) -> str:
    """Return the steps of a run; long results are cut, and say so."""
    rows = [
        {
            "number": step.number,
            "name": step.name,
            "state": step.state,
            "result": _short(step.result),
            "failure": failure_json(step.failure),
            "run": step.child,
            "started_at": None if step.started_at is None else step.started_at.isoformat(),
            "ended_at": None if step.ended_at is None else step.ended_at.isoformat(),
        }
        for step in steps
    ]
    return json.dumps({"steps": rows}, indent=2, ensure_ascii=False)


def runs_json(runs: Iterable[Run]) -> str:
    """Return a short list of runs, newest first."""
    rows = [
        {
            "id": run.id,
            "uri": run_uri(run.id),
            "workflow": definition_name(run),
            "state": run.state,
            "created_at": run.created_at.isoformat(),
        }
        for run in runs
    ]
    return json.dumps({"runs": rows}, indent=2, ensure_ascii=False)


def views_of(run: Run) -> tuple[str, ...]:
    """Return the views a run has."""
    return ("steps", "graph", "report") if run.status.get("report") else ("steps", "graph")


def definition_name(run: Run) -> str:
    """Return what a run runs, by the name people know it under."""
    return str(run.arguments["definition"]) if _composite(run) else run.workflow


def definition_version(run: Run) -> str:
    """Return the version of the definition a run began with."""
    return str(run.arguments["version"]) if _composite(run) else run.version.partition(".")[0]


def inputs_of(run: Run) -> Json:
    """Return what a run was given."""
    return run.arguments["inputs"] if _composite(run) else run.arguments


def failure_json(failure: Failure | None) -> dict[str, Json] | None:
    """Return a failure as JSON."""
    if failure is None:
        return None
    return {"code": failure.code, "message": failure.message, "hint": failure.hint}


def _composite(run: Run) -> bool:
    return run.workflow == COMPOSITE and isinstance(run.arguments, dict) and "definition" in run.arguments


def _short(value: Json) -> Json:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MAX_STEP_CHARACTERS:
        return value
    return f"{text[:MAX_STEP_CHARACTERS]}... ({len(text)} characters)"
