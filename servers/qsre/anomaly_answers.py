"""What the tools on anomalies answer: structured for programs, a few lines for a model, a picture and links."""

import base64

from mcp_types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent

from quantum_suite.tools.qsre.detect_anomalies import AlarmRow, AnomalyReply, SeriesAnomalies
from quantum_suite.tools.qsre.manage_watches import WatchAnswer, WatchRow

_TOLD_SERIES = 5
_TOLD_ALARMS = 5


def anomalies_answer(reply: AnomalyReply) -> CallToolResult:
    """Return the answer of detect_anomalies."""
    answer = reply.answer
    if not answer.enough_data:
        headline = f"Not enough data to judge {answer.what}."
    elif not answer.alarm_count:
        headline = f"No anomaly in {answer.series_count} series, {answer.start} to {answer.end}."
    else:
        headline = (
            f"{answer.alarm_count} anomalies in {answer.series_count} series, {answer.start} to {answer.end}, "
            f"at sensitivity {answer.sensitivity}."
        )
    lines = [headline, *(f"Note: {note}" for note in answer.notes)]
    for series in answer.series[:_TOLD_SERIES]:
        lines += _series(series)
    lines.append(answer.accuracy.told())
    blocks: list[ContentBlock] = [TextContent(text="\n".join(lines))]
    if reply.picture is not None:
        blocks.append(ImageContent(data=base64.b64encode(reply.picture).decode(), mime_type="image/png"))
    if answer.data_json is not None and answer.data_csv is not None:
        blocks.append(_link(answer.data_json, "Scores in JSON", "application/json"))
        blocks.append(_link(answer.data_csv, "Scores in CSV", "text/csv"))
    return CallToolResult(content=blocks, structured_content=answer.model_dump(mode="json"))


def watches_answer(answer: WatchAnswer) -> CallToolResult:
    """Return the answer of manage_watches."""
    text = "\n".join([answer.done, *(_watch(row) for row in answer.watches)])
    return CallToolResult(content=[TextContent(text=text)], structured_content=answer.model_dump(mode="json"))


def _series(series: SeriesAnomalies) -> list[str]:
    season = f", season {series.season}" if series.season else ""
    what = "rate of a counter" if series.kind == "counter" else "values"
    head = f"{series.series}: {series.judged} of {series.points} points judged ({what}{season})"
    lines = [f"{head}, {series.alarm_count} anomalies."]
    lines += [_alarm(alarm) for alarm in series.alarms[:_TOLD_ALARMS]]
    if series.alarm_count > _TOLD_ALARMS:
        lines.append(f"- and {series.alarm_count - _TOLD_ALARMS} weaker ones")
    return lines


def _alarm(alarm: AlarmRow) -> str:
    expected = f"{alarm.expected_low:.5g} to {alarm.expected_high:.5g}"
    return (
        f"- {alarm.time} (since {alarm.since}): {alarm.value:.5g}, expected {expected}; "
        f"score {alarm.score:.2f}, strength {alarm.strength:.1f}. {'; '.join(alarm.reasons)}."
    )


def _watch(row: WatchRow) -> str:
    state = row.problem or (
        f"{row.series} series, {row.learning} still learned" if row.last_look else "not yet seen"
    )
    last = f", last look {row.last_look}" if row.last_look else ""
    return (
        f"- {row.id} '{row.name}' on {row.source} ({row.schedule}, {row.sensitivity}){last}: {state}. {row.query}"
    )


def _link(uri: str, name: str, mime_type: str) -> ResourceLink:
    return ResourceLink(
        uri=uri, name=name, mime_type=mime_type, description="Every value and its score, in pages."
    )
