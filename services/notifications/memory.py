"""A channel that keeps what it is told: for tests."""

from quantum_suite.services.notifications.interface import Notification


class MemoryChannel:
    """Remembers notifications."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.sent: list[Notification] = []

    async def send(self, notification: Notification) -> None:
        self.sent.append(notification)
