"""Wake-ups: subscribers hear, in whatever thread and event loop, that there is something new."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio


class Listener:
    """One who waits, in the event loop it was made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()

    def rearm(self) -> None:
        """Forget earlier news; call it before looking, so that nothing is missed in between."""
        self._woken.clear()

    async def wait(self, seconds: float) -> None:
        """Return when there is news since `rearm`, at the latest after `seconds`."""
        with anyio.move_on_after(seconds):
            await self._woken.wait()

    def wake(self) -> None:
        """Have `wait` return. Callable from any thread."""
        if self._woken.is_set():
            return
        with suppress(RuntimeError):  # its loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._woken.set)


class News:
    """All who listen to one store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """Listen from now on."""
        listener = Listener()
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def wake(self) -> None:
        """Wake all who listen. Callable from any thread."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener.wake()
