"""The port to the places notifications are sent to."""

from dataclasses import dataclass
from typing import Protocol

from quantum_suite.core.events import Event


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell."""

    id: str
    """The same whenever it is sent again, so that the other side can tell a repetition."""
    rule: str
    title: str
    """One line."""
    text: str
    event: Event


class Channel(Protocol):
    """A place notifications go to."""

    name: str

    async def send(self, notification: Notification) -> None:
        """Send it; returns when the other side has accepted it.

        Raises Unavailable where trying later may help, and EngineError where the other side does not want it.
        """
        ...
