"""Writes down what a change was proved by: each gate with its reason, the mutants missed, what nobody checked."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.workflows.composite.actions import Action, ActionCall
from quantum_suite.services.workflows.interface import Json
from quantum_suite.tools.orchestrator.write_markdown import code, counted, inline

KEEP_DAYS = 365.0
MEDIA_TYPE = "text/markdown"
NOBODY_WROTE_IT = "Nobody has written the change yet: no patch was given, and no model is configured."
MODEL_WROTE_NONE = "The model's answer was no change that applies."
_WRITE_IT = "Write the change, with the context of the plan, and start this again with it as patch."

SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "properties": {
        "goal": {"type": "string", "description": "What the change is for."},
        "plan": {"type": "object", "description": "The result of plan_change."},
        "written": {"type": ["object", "null"], "description": "The result of generate_code; null: a patch came."},
        "judged": {
            "type": ["object", "null"],
            "description": "The result of submit_change; null: none was there.",
        },
        "mutation_score_at_least": {"type": "number", "description": "The bar for mutants of changed lines."},
    },
    "required": ["goal", "plan", "written", "judged", "mutation_score_at_least"],
    "additionalProperties": False,
}


def outcome(arguments: Mapping[str, Any]) -> dict[str, Json]:
    """Return what the run came to, in short."""
    judged, written = arguments["judged"], arguments["written"]
    if judged is None:
        by_model = written is not None and written["author"] == "model"
        return {
            "accepted": False,
            "author": "model" if by_model else "assistant",
            "refused_at": "author" if not by_model else "applies",
            "reason": MODEL_WROTE_NONE if by_model else NOBODY_WROTE_IT,
            "next_step": _WRITE_IT,
            "change": None,
            "not_assessed": 0,
        }
    refused = next((gate["gate"] for gate in judged["gates"] if gate["outcome"] == "failed"), None)
    return {
        "accepted": judged["accepted"],
        "author": "model" if written is not None else judged["author"],
        "refused_at": refused,
        "reason": judged["reason"],
        "next_step": judged["next_step"],
        "change": judged["change"] if judged["accepted"] else None,
        "not_assessed": len(judged["not_assessed"]),
    }


def evidence(run_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the evidence in Markdown."""
    plan, judged, came_to = arguments["plan"], arguments["judged"], outcome(arguments)
    lines = [f"# A change of {inline(plan['root'])}", "", f"**Goal.** {inline(arguments['goal'])}", ""]
    verdict = "Accepted" if came_to["accepted"] else f"Refused at {code(came_to['refused_at'])}"
    lines += [f"**{verdict}.** {inline(came_to['reason'])}", ""]
    lines += [f"Run {code(run_id)}. {inline(_author(arguments, came_to))}", ""]
    if came_to["next_step"]:
        lines += [f"**Next.** {inline(came_to['next_step'])}", ""]
    if judged is not None:
        lines += [*_gates(judged["gates"]), *_problems(judged), *_not_assessed(judged["not_assessed"])]
        lines += _mutation(judged["gates"], arguments["mutation_score_at_least"])
    lines += [*_known(plan), *_sources(plan, judged)]
    return "\n".join(lines)


def _author(arguments: Mapping[str, Any], came_to: Mapping[str, Any]) -> str:
    if came_to["author"] == "model":
        written = arguments["written"]
        change = (written or {}).get("change") or {}
        return f"Written by the configured model {change.get('model') or ''}, {written['tokens']} tokens."
    return "Written by the assistant or person who started this." if arguments["judged"] else "Not written yet."


def _gates(gates: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Gates"
    yield ""
    yield "| gate | outcome | why | seconds |"
    yield "|---|---|---|---|"
    for gate in gates:
        told = inline(gate["summary"])
        yield f"| {inline(gate['gate'])} | {gate['outcome'].replace('_', ' ')} | {told} | {gate['seconds']:g} |"
    yield ""


def _problems(judged: Mapping[str, Any]) -> Iterator[str]:
    if not judged["problems"]:
        return
    yield "## What was found"
    yield ""
    for one in judged["problems"]:
        weight = "blocks" if one["blocking"] else "advice" if one["introduced"] else "was there before"
        place = f" at {code(_place(one['location']))}" if one["location"] else ""
        yield f"- {code(one['code'])}{place} ({weight}): {inline(one['message'])}"
    if judged["more_problems"]:
        yield f"- and {judged['more_problems']} more, in the verdict."
    yield ""


def _place(location: Mapping[str, Any]) -> str:
    region = location.get("region")
    return f"{location['path']}:{region['start_line']}" if region else str(location["path"])


def _not_assessed(notes: Sequence[str]) -> Iterator[str]:
    yield "## Not assessed"
    yield ""
    yield from (f"- {inline(note)}" for note in notes)
    if not notes:
        yield "Nothing was left out."
    yield ""


def _mutation(gates: Sequence[Mapping[str, Any]], bar: float) -> Iterator[str]:
    if not any(gate["gate"] == "mutation" for gate in gates):
        yield "The changed lines were not mutated: the change was refused before."
    else:
        yield f"Mutants of the changed lines: the bar is {bar:g}."
    yield ""


def _known(plan: Mapping[str, Any]) -> Iterator[str]:
    if plan["risks"]:
        yield "## Risks that were seen beforehand"
        yield ""
        yield from (f"- {inline(risk)}" for risk in plan["risks"])
        yield ""
    if plan["tests"]:
        yield f"{counted(len(plan['tests']), 'test')} reach what the goal speaks of, as far as is known."
        yield ""


def _sources(plan: Mapping[str, Any], judged: Mapping[str, Any] | None) -> Iterator[str]:
    yield "## Evidence"
    yield ""
    yield f"- context: {code(plan['context'])}"
    if judged is not None:
        yield f"- verdict: {code(judged['report'])}"
        if judged["change"]:
            yield f"- the change, as a diff: {code(judged['report'] + '/diff')}"
    yield ""


def write_change_evidence(objects: ObjectStore) -> Action:
    """Return the action, which keeps the evidence for a year."""

    async def work(call: ActionCall) -> Json:
        text = evidence(call.run_id, call.arguments)
        await call.check()
        info = await objects.put(text.encode(), MEDIA_TYPE, keep_days=KEEP_DAYS)
        return {
            **outcome(call.arguments),
            "digest": info.digest,
            "media_type": MEDIA_TYPE,
            "title": f"Evidence for a change of {call.arguments['plan']['root']}",
        }

    return Action(
        "write_change_evidence",
        "Write down what a change was proved by, and keep it.",
        SCHEMA,
        work,
        is_report=True,
    )
