"""Changes of the system that are told to the suite, so that a diagnosis knows of them."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import NewEvent
from quantum_suite.core.incident_events import CHANGES_STREAM, SystemChanged
from quantum_suite.core.masking import mask_text
from quantum_suite.services.events.interface import ANY_VERSION, EventStore


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")

    what: str = Field(min_length=1, max_length=300)
    service: str = Field(default="", max_length=200)
    at: datetime | None = None
    by: str = Field(default="", max_length=100)


def read_change(body: Mapping[str, Any], now: float) -> SystemChanged:
    """Return a change as told; raises CallerError naming the field that is wrong."""
    try:
        told = _Told.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "body"
        raise CallerError(
            f"{field}: {first['msg']}.", "Post {what, service, at, by}; only what is needed.", argument=field
        ) from error
    at = told.at or datetime.fromtimestamp(now, UTC)
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return SystemChanged(what=mask_text(told.what), service=told.service, at=aware.isoformat(), by=told.by)


async def tell_change(events: EventStore, change: SystemChanged, *, principal: str, correlation: str) -> None:
    """Write a change down; the same one twice in a row is written once."""
    digest = hashlib.sha256(f"{change.at}\0{change.what}\0{change.service}".encode()).hexdigest()[:26]
    event = NewEvent(change, principal=principal, correlation_id=correlation, id=f"evt_{digest}")
    await events.append(CHANGES_STREAM, ANY_VERSION, [event])
