"""The event log as lines of JSON, for whoever keeps or searches it elsewhere."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Literal

import orjson

from quantum_suite.core.events import Event, EventFilter
from quantum_suite.services.audit.ocsf import as_ocsf
from quantum_suite.services.events.interface import EventStore

Format = Literal["jsonl", "ocsf"]


async def export(
    events: EventStore,
    form: Format,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    where: EventFilter | None = None,
) -> AsyncGenerator[bytes, None]:
    """Yield a line for every event that happened from `since` on and before `until`, in the log's order.

    `jsonl`: CloudEvents 1.0, one a line. `ocsf`: see `ocsf.py`. Personal data is in neither. Takes what is in the
    log when it comes to the end; never more than a page is held.
    """
    after = None
    while page := await events.read(after, where):
        for event in page:
            if (since is None or event.time >= since) and (until is None or event.time < until):
                yield _line(event, form)
        after = page[-1].position


def _line(event: Event, form: Format) -> bytes:
    value = event.as_cloud_event() if form == "jsonl" else as_ocsf(event)
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
