"""A verdict for reading: every gate, every place, and what nobody checked."""

from collections.abc import Mapping
from typing import Any

from quantum_suite.core.verdicts import GateReport, Problem, Verdict


def verdict_markdown(verdict: Verdict, record: Mapping[str, Any]) -> str:
    """Return a verdict as Markdown; `record` is what is kept beside it."""
    author = record.get("author", "assistant")
    model = f" ({record['model']})" if record.get("model") else ""
    files = ", ".join(f"`{path}`" for path in record.get("files", ())) or "none"
    lines = [
        f"# {'Accepted' if verdict.accepted else 'Refused'}",
        "",
        verdict.reason,
        "",
        f"Author: {author}{model}. Files: {files}.",
        "",
    ]
    if verdict.next_step:
        lines += [f"**Next:** {verdict.next_step}", ""]
    lines += ["| gate | outcome | seconds | kept apart by | engine |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.gate} | {one.outcome.value} | {one.seconds:.2f} | {one.isolation.value} | {one.engine or ''} |"
        for one in verdict.gates
    ]
    for gate in verdict.gates:
        lines += _gate(gate)
    if verdict.not_assessed:
        lines += ["", "## Not assessed", "", *(f"- {note}" for note in verdict.not_assessed)]
    return "\n".join(lines) + "\n"


def _gate(gate: GateReport) -> list[str]:
    if not gate.problems:
        return []
    lines = ["", f"## {gate.gate}", "", gate.summary, ""]
    lines += [_problem(problem) for problem in gate.problems]
    if gate.omitted:
        lines.append(f"- and {gate.omitted} more")
    return lines


def _problem(problem: Problem) -> str:
    kind = "blocks" if problem.blocking else ("advice" if problem.introduced else "was there before")
    place = f"`{problem.location}` " if problem.location is not None else ""
    right = f" Right would be: {problem.suggestion}" if problem.suggestion else ""
    return f"- {place}**{problem.code}** ({kind}): {' '.join(problem.message.split())}{right}"
