"""What the tools answer: structured for programs, a few lines of text for a model, links for what is long."""

import json

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel

from quantum_suite.resources.events.stream import stream_uri
from quantum_suite.tools.events.list_events import EventList, EventRow
from quantum_suite.tools.events.list_parked_events import FollowerRow, ParkedList
from quantum_suite.tools.events.query_analytics import QueryAnswer
from quantum_suite.tools.events.replay_parked_event import ReplayAnswer

_MOST_LINKS = 5
_TROUBLED = frozenset({"retrying", "slowed"})


def query_answer(answer: QueryAnswer) -> CallToolResult:
    """Return the answer of query_analytics: the rows as lines of JSON."""
    lines = [", ".join(answer.columns), *(json.dumps(row, ensure_ascii=False) for row in answer.rows)]
    more = " There are more." if answer.truncated else ""
    lines.append(f"{len(answer.rows)} rows, as of {answer.as_of or 'before any event'}.{more}")
    return _result(answer, "\n".join(lines))


def events_answer(answer: EventList) -> CallToolResult:
    """Return the answer of list_events, with links to the histories it touches."""
    lines = [_event_line(row) for row in answer.events] or ["No events."]
    if answer.next_after is not None:
        lines.append(f"More with after_version {answer.next_after}.")
    streams = list(dict.fromkeys(row.stream for row in answer.events))[:_MOST_LINKS]
    return _result(answer, "\n".join(lines), *(_link(stream) for stream in streams))


def parked_answer(answer: ParkedList) -> CallToolResult:
    """Return the answer of list_parked_events: trouble first."""
    lines = [_follower_line(row) for row in answer.followers if row.state in _TROUBLED]
    lines += [
        f"- {row.consumer} could not deal with {row.event_type} at {row.position} ({row.attempts} attempts): "
        f"{row.problem}"
        for row in answer.parked
    ]
    well = [row.name for row in answer.followers if row.state not in _TROUBLED]
    if well:
        lines.append(f"Without trouble: {', '.join(well)}.")
    streams = list(dict.fromkeys(row.stream for row in answer.parked))[:_MOST_LINKS]
    return _result(answer, "\n".join(lines) or "Nothing follows the events.", *(_link(one) for one in streams))


def replay_answer(answer: ReplayAnswer) -> CallToolResult:
    """Return the answer of replay_parked_event."""
    words = {
        "dealt_with": "was dealt with.",
        "failed_again": f"failed again: {answer.problem}",
        "requested": "will be dealt with by whoever runs the consumer; look with list_parked_events.",
        "left": "was taken off the list without being dealt with.",
    }
    return _result(answer, f"The event at {answer.position} {words[answer.outcome]}")


def _event_line(row: EventRow) -> str:
    by = f" by {row.principal}" if row.principal else ""
    return f"- {row.time} {row.type} {row.stream}{by}: {row.data}"


def _follower_line(row: FollowerRow) -> str:
    return f"- {row.name} is {row.state}, {row.lag_events or 0} events behind: {row.problem}"


def _link(stream: str) -> ResourceLink:
    return ResourceLink(
        uri=stream_uri(stream),
        name=stream,
        mime_type="application/json",
        description="Its history, event by event.",
    )


def _result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )
