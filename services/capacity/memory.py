"""Places for the heavy work of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from quantum_suite.services.capacity.interface import Waiting
from quantum_suite.services.capacity.waiting import told


class MemoryCapacity:
    """Counts in memory: what other processes of the machine do is not seen."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._free = anyio.Semaphore(places)
        self._held: list[str] = []

    @asynccontextmanager
    async def place(self, what: str, waiting: Waiting | None = None) -> AsyncIterator[None]:
        """Hold a place while the context lasts."""
        holding = False
        try:
            async with told(lambda: list(self._held), self.places, waiting) as tell:
                try:
                    self._free.acquire_nowait()
                except anyio.WouldBlock:
                    await tell()
                    await self._free.acquire()
                holding = True
                self._held.append(what)
            yield
        finally:
            if holding:
                self._held.remove(what)
                self._free.release()
