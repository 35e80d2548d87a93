"""A drill's evidence in Markdown."""

from quantum_suite.services.recovery.interface import DrillReport, RowCount

_STATES = {
    "met": "objectives met",
    "missed": "objectives missed",
    "measured": "measured, no objectives given",
    "failed": "the drill failed",
    "cancelled": "cancelled",
}


def drill_line(report: DrillReport) -> str:
    """Return a drill in a sentence."""
    kind = "Failover" if report.request.kind == "failover" else "Point-in-time"
    line = f"{kind} drill: {_STATES[report.state]}"
    if report.rows is not None and report.rto_seconds is not None:
        rows = report.rows
        line += (
            f"; recovered in {report.rto_seconds:.2f} s, {rows.lost} of {rows.acknowledged} acknowledged rows lost"
        )
    return f"{line}."


def drill_markdown(report: DrillReport, digest: str) -> str:
    """Return the whole evidence as a page."""
    lines = [f"# Recovery drill {report.id}", "", drill_line(report), ""]
    if report.problem:
        lines += [f"**It did not come to its end:** {_text(report.problem)}", ""]
    if report.verdicts:
        lines += ["| objective | at most | measured | verdict |", "|---|---|---|---|"]
        for verdict in report.verdicts:
            how = f"met, {verdict.by:g} to spare" if verdict.met else f"missed by {verdict.by:g}"
            lines.append(f"| {verdict.objective} | {verdict.wanted:g} | {verdict.measured:g} | {how} |")
        lines.append("")
    if report.phases:
        lines += ["## Recovery time", "", "| phase | seconds |", "|---|---|"]
        lines += [f"| {phase.name} | {phase.seconds:.3f} |" for phase in report.phases]
        lines += [f"| **all** | **{report.rto_seconds or 0:.3f}** |", ""]
    if report.rows is not None:
        lines += _rows(report.rows)
    request = report.request.model_dump(mode="json", exclude_none=True, exclude={"objectives"})
    lines += ["## How it was drilled", "", *(f"- {name}: `{value}`" for name, value in request.items()), ""]
    lines += [*(f"- {name}: `{_text(value)}`" for name, value in report.facts.items()), ""]
    lines += ["## Timeline", "", f"Began {report.began}; took {report.seconds:.1f} s.", ""]
    lines += [f"- {moment.at:.3f} s: {_text(moment.what)}" for moment in report.timeline]
    for name, log in report.logs.items():
        lines += [
            "",
            f"## Last lines of the {name}",
            "",
            "```",
            *(line.replace("```", "'''") for line in log),
            "```",
        ]
    return "\n".join([*lines, "", f"SHA-256 of the evidence: `{digest}`", ""])


def _rows(rows: RowCount) -> list[str]:
    lines = ["## Rows, counted one by one", "", "| rows | number |", "|---|---|"]
    lines += [
        f"| acknowledged before the disaster (or the moment restored to) | {rows.acknowledged} |",
        f"| of these present, as written | {rows.present} |",
        f"| of these lost | {rows.lost} |",
        f"| in doubt: sent, never acknowledged in time | {rows.in_doubt} |",
        f"| of these present | {rows.in_doubt_present} |",
        f"| altered | {rows.altered} |",
        f"| present that nobody sent, or from after the moment | {rows.unexpected} |",
        f"| acknowledged after recovery | {rows.after} |",
        f"| of these missing | {rows.after_lost} |",
        "",
    ]
    if rows.lost:
        lines += [
            f"The oldest lost row was acknowledged {rows.lost_seconds:.3f} s before the disaster. "
            f"Lost (writer/number): {', '.join(rows.lost_rows)}.",
            "",
        ]
    return lines


def _text(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
