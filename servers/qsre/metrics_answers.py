"""What the tools on metrics answer: structured for programs, a few lines for a model, pictures and links."""

import base64

from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel

from quantum_suite.tools.qsre.exploration import AlertRow, Exploration, FamilyRow
from quantum_suite.tools.qsre.query_metrics import MetricAnswer, MetricReply, SeriesRow

_TOLD_FAMILIES = 12
_TOLD_LABELS = 6


def metrics_answer(reply: MetricReply) -> CallToolResult:
    """Return the answer of query_metrics."""
    answer = reply.answer
    lines = [_headline(answer), *(f"Note: {note}" for note in answer.notes)]
    lines += [f"Mind: {said}" for said in answer.advice]
    if answer.shared_labels:
        lines.append("All: " + ", ".join(f'{name}="{value}"' for name, value in answer.shared_labels.items()))
    if answer.rows:
        lines += ["| series | min | mean | max | last | trend | remarks |", "|---|---|---|---|---|---|---|"]
        lines += [_row(row) for row in answer.rows]
    if answer.series > len(answer.rows):
        lines.append(f"{answer.series - len(answer.rows)} more series with smaller means are in the data.")
    blocks: list[ContentBlock] = [TextContent(text="\n".join(lines))]
    if reply.picture is not None:
        blocks.append(ImageContent(data=base64.b64encode(reply.picture).decode(), mime_type="image/png"))
    pages = f"{answer.pages} page{'s' if answer.pages > 1 else ''}"
    if answer.data_json is not None and answer.data_csv is not None:
        blocks.append(_link(answer.data_json, "Data in JSON", "application/json", f"Every point, {pages}."))
        blocks.append(_link(answer.data_csv, "Data in CSV", "text/csv", f"Every point, a row each, {pages}."))
    return CallToolResult(content=blocks, structured_content=answer.model_dump(mode="json"))


def exploration_answer(found: Exploration) -> CallToolResult:
    """Return the answer of explore_metrics."""
    series = f", {found.series} series" if found.series is not None else ""
    lines = [f"{found.source} ({found.product}{series}).", *(f"Note: {note}" for note in found.notes)]
    if found.jobs:
        lines.append(
            "Targets: " + ", ".join(f"{job.job} {job.up} up, {job.down} down" for job in found.jobs) + "."
        )
    lines += [f"- down: {one.job} {one.instance}: {one.error}" for one in found.down]
    lines.append(f"Alerts: {found.alerts_found}." if found.alerts_found else "No alert is pending or firing.")
    lines += [_alert(alert) for alert in found.alerts]
    if found.silences:
        lines.append(f"{found.silences} silences are active.")
    broken = [rule for rule in found.alerting_rules if rule.problem]
    lines += [f"- broken rule {rule.name}: {rule.problem}" for rule in broken]
    heading = f"that have to do with '{found.about}'" if found.about else "by number of series"
    lines.append(f"{found.families_found} families of metrics {heading}:")
    lines += [_family(family) for family in found.families[:_TOLD_FAMILIES]]
    if found.families_found > _TOLD_FAMILIES:
        groups = ", ".join(f"{group.prefix} ({group.families})" for group in found.groups)
        lines.append(f"Names begin with: {groups}. Ask again with about to see others.")
    return _result(found, "\n".join(lines))


def _headline(answer: MetricAnswer) -> str:
    many = "No series" if not answer.series else f"{answer.series} series, {answer.points} points"
    if answer.kind == "moment":
        return f"{many} from {answer.source}, as measured before {answer.end}."
    return f"{many} from {answer.source}, {answer.start} to {answer.end}, a point every {answer.step_seconds:g} s."


def _row(row: SeriesRow) -> str:
    numbers = " | ".join(_number(value) for value in (row.minimum, row.mean, row.maximum, row.last))
    trend = row.trend if row.change is None or row.trend == "unclear" else f"{row.trend} ({row.change:+.4g})"
    return f"| {row.series.replace('|', '¦')} | {numbers} | {trend} | {'; '.join(row.remarks)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _alert(alert: AlertRow) -> str:
    labels = ", ".join(f'{name}="{value}"' for name, value in alert.labels.items())
    return f"- {alert.state} since {alert.since}: {alert.name}{{{labels}}} {alert.summary}".rstrip()


def _family(family: FamilyRow) -> str:
    about = ", ".join(part for part in (family.type, family.unit) if part)
    series = f", {family.series} series" if family.series is not None else ""
    labels = "; ".join(f"{label.name}: {', '.join(label.examples)}" for label in family.labels[:_TOLD_LABELS])
    told = (f"- {family.name} ({about}{series})", family.help, f"[{labels}]" if labels else "")
    return " ".join(part for part in told if part)


def _link(uri: str, name: str, mime_type: str, description: str) -> ResourceLink:
    return ResourceLink(uri=uri, name=name, mime_type=mime_type, description=description)


def _result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )
