"""Lists events a principal may see."""

from datetime import datetime

import orjson
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.core.events import Event, EventFilter
from quantum_suite.core.principals import Principal
from quantum_suite.services.analytics.interface import EventQuery
from quantum_suite.services.events.interface import MAX_BATCH
from quantum_suite.tools.events.access import EventAccess, is_admin

_SHOWN_DATA = 300
STREAM_PAGE = 200
"""Events looked at for one page of a stream."""

READ_BACK = 20_000
"""Events looked at, from the newest on, where there are no tables to ask."""


class EventRow(BaseModel):
    """An event in a line."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The event's id.")
    type: str = Field(description="What happened, with the version of its shape.")
    time: str = Field(description="When, UTC.")
    stream: str = Field(description="To what; its history is a resource.")
    version: int = Field(description="Its place in that history.")
    principal: str | None = Field(description="On whose behalf.")
    data: str = Field(description="The beginning of its data, as JSON.")


class EventList(BaseModel):
    """Events."""

    model_config = ConfigDict(frozen=True)

    events: tuple[EventRow, ...] = Field(description="Newest first; of one stream, in their order.")
    next_after: int | None = Field(
        default=None, description="Of one stream: pass it as after_version for the next page; absent on the last."
    )


async def list_events(
    access: EventAccess,
    principal: Principal,
    *,
    types: tuple[str, ...] = (),
    since: datetime | None = None,
    limit: int = 20,
) -> EventList:
    """Return the newest events, the caller's own alone unless they are an administrator."""
    if since is not None and since.tzinfo is None:
        raise CallerError("The time has no offset.", "Write it as 2026-01-31T12:00:00Z.", argument="since")
    wanted = EventQuery(None if is_admin(principal) else principal.id, types, since, limit)
    if access.analytics is None:
        return await _read_back(access, wanted)
    found = await access.analytics.latest(wanted)
    return EventList(
        events=tuple(
            EventRow(
                id=event_id,
                type=kind,
                time=time,
                stream=stream,
                version=version,
                principal=by,
                data=data[:_SHOWN_DATA],
            )
            for _, stream, version, event_id, kind, time, _, by, data in found.rows
        )
    )


async def _read_back(access: EventAccess, wanted: EventQuery) -> EventList:
    """Look for events from the log's end backwards, at `READ_BACK` events at most."""
    kinds, rows, before = EventFilter(types=frozenset(wanted.types)), list[EventRow](), None
    for _ in range(READ_BACK // MAX_BATCH):
        page = await access.events.read_back(before)
        for event in page:
            if wanted.since is not None and event.time < wanted.since:
                return EventList(events=tuple(rows))
            if wanted.principal in (None, event.principal) and kinds.matches(event.type, event.stream):
                rows.append(_row(event))
                if len(rows) == wanted.limit:
                    return EventList(events=tuple(rows))
        if not page:
            break
        before = page[-1].position
    return EventList(events=tuple(rows))


async def list_stream(
    access: EventAccess, principal: Principal, stream: str, *, types: tuple[str, ...] = (), after_version: int = 0
) -> EventList:
    """Return a page of one stream's events, in order; raises NotFound as `open_stream` does."""
    events, next_after = await open_stream(access, principal, stream, after_version)
    wanted = EventFilter(types=frozenset(types))
    return EventList(
        events=tuple(_row(event) for event in events if wanted.matches(event.type, stream)), next_after=next_after
    )


async def open_stream(
    access: EventAccess, principal: Principal, stream: str, after_version: int = 0
) -> tuple[list[Event], int | None]:
    """Return a page of a stream's events that the caller may see, and the version to go on after.

    Raises NotFound for a stream that does not exist and for one with nothing of the caller's, in the same words.
    """
    page = await access.events.read_stream(stream, after_version, limit=STREAM_PAGE)
    seen = [event for event in page if is_admin(principal) or event.principal == principal.id]
    if not seen and after_version == 0:
        raise NotFound(f"There is no stream {stream[:200]} with events of yours.", argument="stream")
    return seen, page[-1].version if len(page) == STREAM_PAGE else None


def _row(event: Event) -> EventRow:
    return EventRow(
        id=event.id,
        type=event.type,
        time=event.time.isoformat(),
        stream=event.stream,
        version=event.version,
        principal=event.principal,
        data=orjson.dumps(dict(event.data)).decode()[:_SHOWN_DATA],
    )
