"""Turns a runbook into a workflow that the orchestrator runs: approvals before changes, verification after them,
and a line in the incident's timeline for each."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from quantum_suite.services.runbooks.model import PlannedStep, Runbook, RunbookStep, ToolUse
from quantum_suite.services.workflows.tool_catalogue import ToolOffer

NOTE = "note_incident"
"""The action that writes into an incident's timeline."""
INCIDENT = "runbook_incident"
"""The input that names the incident; null where there is none."""

_RESULT = re.compile(r"(?<![\w.'\"])result\b")
_APPROVAL_SECONDS = 24 * 3600
_MOST_SHOWN = 200


def compile_runbook(
    runbook: Runbook, definition: str, tools: Mapping[str, ToolOffer]
) -> tuple[str, Sequence[PlannedStep]]:
    """Return the workflow's text under the name `definition`, and what its steps would do.

    A call of a tool that does not say of itself that it only reads is approved before.
    """
    steps: list[dict[str, Any]] = [_began(runbook)]
    planned: list[PlannedStep] = []
    for step in runbook.steps:
        if step.call is not None:
            offer = tools.get(step.call.tool)
            changes = offer is None or not offer.read_only
            if changes:
                steps.append(_approval(runbook, step, step.call))
            steps += [_call(step, step.call), _note(f"{step.id}_noted", step.title, "done")]
            undo = step.undo.tool if step.undo is not None else ""
            effect: Any = "changes" if changes else "reads"
            planned.append(
                PlannedStep(step.id, step.title, effect, step.call.tool, step.call.arguments, changes, undo)
            )
        if step.verify is not None:
            use = step.verify.use
            steps += [_verified(step), _note(f"{step.id}_holds", f"{step.title}: verified", step.verify.holds)]
            planned.append(
                PlannedStep(step.id, step.title, "verifies", use.tool, use.arguments, False, "", step.verify.holds)
            )
    whole = {
        "name": definition,
        "description": runbook.description or f"The runbook {runbook.name}.",
        "inputs": {**runbook.inputs, INCIDENT: {"type": "string"}},
        "steps": [*steps, _note("ended", f"Runbook {runbook.name}", "every step done and verified")],
    }
    return json.dumps(whole, ensure_ascii=False, indent=1), planned


def _began(runbook: Runbook) -> dict[str, Any]:
    """The first step: its undo comes last of all, when a run fails or is cancelled."""
    began = _note("began", f"Runbook {runbook.name}", "begun")
    undo = _note("", f"Runbook {runbook.name}", "failed or cancelled; what it had done was undone where it can be")
    return {**began, "undo": {"do": undo["do"], "with": undo["with"]}}


def _note(name: str, text: str, outcome: str) -> dict[str, Any]:
    told = {"incident": f"${{{{ inputs.{INCIDENT} }}}}", "text": _plain(text), "outcome": _plain(outcome)}
    return {"id": name, "do": NOTE, "with": told, "retry": {"attempts": 3}}


def _approval(runbook: Runbook, step: RunbookStep, call: ToolUse) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "question": f"{_plain(f'{step.title}: call {call.tool}')}{_with(call.arguments)}?",
        "timeout_seconds": _APPROVAL_SECONDS,
        "details": {"runbook": runbook.name, "tool": call.tool, "arguments": dict(call.arguments)},
    }
    if runbook.approvers:
        asked["approvers"] = list(runbook.approvers)
    return {"id": f"{step.id}_approved", "approval": asked}


def _with(arguments: Mapping[str, Any]) -> str:
    """Return what a call is made with, as a template: whoever approves it has to see that."""
    shown = []
    for name, value in arguments.items():
        written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if "${{" in written:
            # An expression inside a larger value cannot be taken out of it here; the details have it worked out.
            shown.append(f"{name}={written if isinstance(value, str) else '(see the details)'}")
        else:
            shown.append(f"{name}={written if len(written) <= _MOST_SHOWN else f'{written[:_MOST_SHOWN]}...'}")
    return f" with {', '.join(shown)}" if shown else ""


def _call(step: RunbookStep, call: ToolUse) -> dict[str, Any]:
    made: dict[str, Any] = {"id": step.id, "title": step.title, "call": call.tool, "with": dict(call.arguments)}
    if step.undo is not None:
        made["undo"] = {"call": step.undo.tool, "with": dict(step.undo.arguments)}
    if step.deadline_seconds is not None:
        made["deadline_seconds"] = step.deadline_seconds
    return made


def _verified(step: RunbookStep) -> dict[str, Any]:
    """Ask until it holds; the run fails, and is undone, when it does not in time."""
    verify = step.verify
    assert verify is not None
    check = f"{step.id}_check"
    holds = _RESULT.sub(f"steps.{check}.result", verify.holds)
    ask = {
        "id": check,
        "title": f"{step.title}: {verify.holds}",
        "call": verify.use.tool,
        "with": dict(verify.use.arguments),
        "retry": {"attempts": 3},
    }
    return {
        "id": f"{step.id}_verified",
        "loop": {
            "until": f"${{{{ {holds} }}}}",
            "max": math.ceil(verify.within_seconds / verify.every_seconds) + 1,
            "on_max": "fail",
            "steps": [{"when": "${{ round > 0 }}", "sleep": verify.every_seconds}, ask],
        },
    }


def _plain(text: str) -> str:
    return text.replace("${{", "$ {{")
