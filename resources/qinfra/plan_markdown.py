"""A plan in Markdown, for the person who is to approve it."""

import json
from collections.abc import Iterator
from typing import Any, Final

from quantum_suite.services.infrastructure.plan import Drift, Plan, PlannedStep, PropertyChange

MOST_STEPS: Final = 300
"""Changes told one by one; the JSON has all."""

_MOST_PROPERTIES = 40
_LONGEST_VALUE = 300
_ORDER: Final = ("delete", "replace", "update", "create", "import", "refresh")


def plan_markdown(plan: Plan) -> str:
    """Return a plan as a page: first what forbids it, then what is lost, then the rest."""
    lines = [f"# Plan: {plan.kind} {_code(plan.project)} / {_code(plan.stack)}", "", *_summary(plan), ""]
    if plan.problems:
        lines += [
            "## It cannot be applied",
            "",
            *(f"- **{one.code}**: {_text(one.message)}" for one in plan.problems),
            "",
        ]
    if plan.verdicts:
        lines += ["## Policies", ""]
        for verdict in sorted(plan.verdicts, key=lambda one: one.level != "mandatory"):
            about = f" ({_code(verdict.urn.rpartition('::')[2])})" if verdict.urn else ""
            lines.append(
                f"- **{verdict.level}** {_code(f'{verdict.pack}/{verdict.rule}')}{about}: {_text(verdict.message)}"
            )
        lines.append("")
    changes = sorted(plan.changes, key=lambda step: _ORDER.index(step.operation))
    if changes:
        lines += ["## Changes", ""]
        for step in changes[:MOST_STEPS]:
            lines += _step(step)
        if len(changes) > MOST_STEPS:
            lines += [f"{len(changes) - MOST_STEPS} more changes are in the JSON.", ""]
    if plan.drift:
        lines += ["## Drift: the world is not as the state says", ""]
        for drift in plan.drift:
            lines += _drift(drift)
        lines.append("")
    lines += _outputs(plan)
    lines += ["## What decides it", ""]
    lines += [f"- {name}: {_code(value)}" for name, value in _deciding(plan)]
    return "\n".join(lines) + "\n"


def summary_line(plan: Plan) -> str:
    """Return the plan in a sentence."""
    counts = plan.counts
    told = [f"{counts[name]} to {name}" for name in _ORDER if counts.get(name)]
    same = counts.get("same", 0)
    return (", ".join(told) if told else "Nothing to change") + (f", {same} unchanged" if same else "")


def _summary(plan: Plan) -> list[str]:
    lines = [f"{summary_line(plan)}.", ""]
    lost = [step for step in plan.steps if step.custom and step.operation in ("delete", "replace")]
    if lost:
        lines += [f"**{len(lost)} existing resources are deleted or replaced.**", ""]
    lines.append(f"Digest, which is what an approval is for: {_code(plan.digest)}")
    return lines


def _step(step: PlannedStep) -> Iterator[str]:
    kind = "" if step.custom else " (component)"
    identity = f" {_code(step.id)}" if step.id else ""
    yield f"### {step.operation}: {_code(step.name)}{kind}"
    yield ""
    yield f"{_code(step.type)}{identity}"
    yield ""
    if step.replace_order:
        order = step.replace_order.replace("_", " ")
        yield f"- Order: {order}."
    for reason in step.replacement_reasons:
        yield f"- Replaced because of {_code(reason.key) if reason.key else 'this'}: {_text(reason.why)}."
    if step.protected:
        yield "- Protected against deletion."
    if step.retained and step.operation == "delete":
        yield "- It leaves the stack and stays in the world."
    if step.blast_radius:
        named = ", ".join(_code(urn.rpartition("::")[2]) for urn in step.blast_radius[:20])
        more = f" and {len(step.blast_radius) - 20} more" if len(step.blast_radius) > 20 else ""
        yield f"- Depends on it: {named}{more}."
    changes = step.changes
    if step.operation == "create":
        changes = tuple(PropertyChange(path=key, kind="add", new=value) for key, value in step.inputs.items())
    yield from _properties(changes)
    yield ""


def _properties(changes: tuple[PropertyChange, ...]) -> Iterator[str]:
    for change in changes[:_MOST_PROPERTIES]:
        mark = {"add": "+", "delete": "-", "update": "~"}[change.kind]
        before = "" if change.kind == "add" else f"{_value(change.old)} "
        after = "gone" if change.kind == "delete" else _value(change.new)
        arrow = "" if change.kind == "add" else "→ "
        forced = " **forces replacement**" if change.forces_replacement else ""
        yield f"- {mark} {_code(change.path)}: {before}{arrow}{after}{forced}"
    if len(changes) > _MOST_PROPERTIES:
        yield f"- and {len(changes) - _MOST_PROPERTIES} more properties"


def _drift(drift: Drift) -> Iterator[str]:
    yield f"- {_code(drift.name)} ({_code(drift.type)}): {'it is gone' if drift.kind == 'missing' else 'changed'}"
    for line in _properties(drift.changes):
        yield f"  {line}"


def _outputs(plan: Plan) -> list[str]:
    if not plan.outputs:
        return []
    return ["## Outputs", "", *(f"- {_code(name)}: {_value(value)}" for name, value in plan.outputs.items()), ""]


def _deciding(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "engine", f"{plan.engine} {plan.engine_version}".strip()
    yield "state", f"serial {plan.state_serial}"
    yield "sources", plan.source_digest
    for key, value in plan.config.items():
        yield f"configuration {key}", value
    for key, value in plan.options.items():
        yield f"option {key}", json.dumps(value, default=str)


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _code(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...")


def _code(text: str) -> str:
    """Return a text as code on one line, whatever is in it."""
    one_line = " ".join(str(text).split())
    fence = "`" * (1 + max((len(run) for run in _runs(one_line)), default=0))
    pad = " " if one_line.startswith("`") or one_line.endswith("`") else ""
    return f"{fence}{pad}{one_line}{pad}{fence}" if one_line else "(empty)"


def _runs(text: str) -> list[str]:
    return [part for part in "".join(char if char == "`" else " " for char in text).split() if part]


def _text(text: str) -> str:
    """Return a foreign text on one line that Markdown takes for text."""
    one_line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in one_line)
