"""The bus as a wake-up: what is heard there has the event store's subscribers look now, not at their next poll."""

from quantum_suite.services.bus.interface import Bus
from quantum_suite.services.bus.subjects import EVERYTHING
from quantum_suite.services.events.interface import EventStore


async def wake_on_news(bus: Bus, events: EventStore) -> None:
    """Wake the store's subscribers in this process at every message, until cancelled.

    Nothing depends on it: a message that is not heard is found by polling.
    """
    async with bus.listen(EVERYTHING) as messages:
        async for _ in messages:
            events.wake()
