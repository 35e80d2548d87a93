"""Finds out what the name in a call stands for."""

from typing import Protocol

from quantum_suite.hub.call import Call, Handler, Json
from quantum_suite.hub.target import Target


class Directory(Protocol):
    """Knows what names stand for."""

    def find(self, call: Call) -> Target | None:
        """Return what the call's name stands for at this moment; None for unknown names and calls without one."""
        ...

    def awaits(self, call: Call, found: Target | None) -> bool:
        """Whether a server that is still starting may change what `find` found."""
        ...

    async def arrival(self, call: Call) -> Target | None:
        """Wait, within bounds, until that is known."""
        ...


class ResolveStage:
    """Sets `call.target`. Stands below authentication: nobody unknown learns a name or keeps the hub waiting."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Resolve, then call on."""
        target = self._directory.find(call)
        if self._directory.awaits(call, target):
            target = await self._directory.arrival(call)
        call.target = target
        return await handler(call)
