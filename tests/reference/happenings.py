"""Events for tests of what is derived from events, and a bounded wait for it."""

from collections.abc import Callable
from typing import ClassVar

import anyio
import anyio.lowlevel

from quantum_suite.core.events import Event, EventData, NewEvent
from quantum_suite.services.events.interface import ANY_VERSION, EventStore

SECONDS = 50.0


class Happened(EventData):
    """Something happened."""

    event_type: ClassVar[str] = "demo.thing.happened"

    number: int


class Noticed(EventData):
    """Somebody noticed."""

    event_type: ClassVar[str] = "demo.thing.noticed"

    number: int


async def happen(store: EventStore, *numbers: int, principal: str | None = None, thing: str = "1") -> list[Event]:
    """Append one event a number, in one batch."""
    events = [NewEvent(Happened(number=number), principal=principal) for number in numbers]
    return await store.append(f"demo.thing/{thing}", ANY_VERSION, events)


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; raises TimeoutError when it does not in time."""
    with anyio.fail_after(SECONDS):
        while not condition():
            await anyio.sleep(0.005)
