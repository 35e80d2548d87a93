"""The links to one upstream: opened on demand, shared by calls with equal keys, bounded, ended when idle."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import UPSTREAM_UNAVAILABLE, Json, Peer, RpcError
from quantum_suite.hub.upstreams.interface import (
    Announce,
    Connector,
    Diagnostics,
    Link,
    LinkKey,
    LinkLost,
    UpstreamFailed,
)


class PoolBusy(Unavailable):
    """Every link there may be carries calls: the server is not away, it has much to do."""


Prepare = Callable[[LinkKey, Link], Awaitable[None]]
"""Brings a fresh link to the state its predecessor had (log level, subscriptions), before any call takes it."""

_LONGEST_REAP_PAUSE_SECONDS = 15.0

logger = logging.getLogger(__name__)


class _Slot:
    """A link, or the attempt to open one."""

    __slots__ = ("error", "idle_since", "key", "leases", "link", "ready")

    def __init__(self, key: LinkKey) -> None:
        self.key = key
        self.link: Link | None = None
        self.error: Exception | None = None
        self.ready = anyio.Event()
        self.leases = 0
        self.idle_since = 0.0

    @property
    def idle(self) -> bool:
        return self.link is not None and not self.leases and not self.link.in_flight


class LinkPool:
    """Links to one upstream. Use as an async context manager, entered and left by the same task.

    Each key has one link at most. Opening happens once however many calls wait for it, and is not undone when one
    of them is cancelled; when it fails, all of them fail with its reason. A link that broke is replaced by the
    next call that needs it.
    """

    def __init__(
        self,
        connector: Connector,
        announce: Announce,
        *,
        max_links: int = 64,
        idle_seconds: float | None = 300.0,
        wait_seconds: float = 30.0,
        close_seconds: float = 10.0,
        prepare: Prepare | None = None,
    ) -> None:
        """At most `max_links` are open at once, those being closed included: one more ends the link that was idle
        longest, or waits up to `wait_seconds`. Links unused for `idle_seconds` are ended; None keeps them.
        `close_seconds` bounds the end of a link, and of the pool."""
        self._connector = connector
        self._announce = announce
        self._max_links = max_links
        self._idle_seconds = idle_seconds
        self._wait_seconds = wait_seconds
        self._close_seconds = close_seconds
        self._prepare = prepare
        self._slots: dict[LinkKey, _Slot] = {}
        self._closing: set[_Slot] = set()
        self._room = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        if self._idle_seconds is not None:
            self._tasks.start_soon(self._reap, self._idle_seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        await self.aclose()
        if self._tasks is None:
            return None
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, trace)

    # -- what is there ----------------------------------------------------------------------------------------

    @property
    def has_open_links(self) -> bool:
        """Whether any link is open."""
        return any(slot.link is not None and not slot.link.closed for slot in self._slots.values())

    def crowded_out(self, key: LinkKey) -> bool:
        """Whether a link with this key could be opened only at the cost of another, or not at all."""
        alive = sum(slot.link is None or not slot.link.closed for slot in self._slots.values())
        return key not in self._slots and alive + len(self._closing) >= self._max_links

    @property
    def has_idle_links(self) -> bool:
        """Whether any link could be ended without ending a call."""
        return any(slot.idle for slot in self._slots.values())

    def retire(self, key: LinkKey) -> None:
        """End the link with this key unless calls are using it: the next one is opened afresh."""
        slot = self._slots.get(key)
        if slot is not None and slot.idle:
            self._end(slot)

    def open_link(self, key: LinkKey) -> Link | None:
        """Return the link with this key where it is open; opens none and keeps none open."""
        slot = self._slots.get(key)
        return slot.link if slot is not None and slot.link is not None and not slot.link.closed else None

    def diagnostics(self) -> Diagnostics:
        """Return what is known about the upstream beyond its answers."""
        return self._connector.diagnostics()

    # -- using links ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, key: LinkKey) -> AsyncIterator[Link]:
        """Hold the link with this key, opening it if need be; raises as `Connector.connect` does.

        A link that is held is not ended for idleness.
        """
        slot, link = await self._acquire(key)
        try:
            yield link
        finally:
            self._release(slot)

    async def request(
        self,
        key: LinkKey,
        method: str,
        params: Json,
        peer: Peer,
        *,
        repeatable: bool = False,
        caller: Caller | None = None,
        headers: dict[str, str] | None = None,
        request_id: str | int | None = None,
    ) -> Json:
        """Carry one request on the link with this key; arguments as for `Link.request`.

        A request whose link broke is sent once more, on a new link where the old one is gone, if it is
        `repeatable` or provably was not begun; otherwise, or when that breaks too, raises `RpcError` with
        `UPSTREAM_UNAVAILABLE`, which says whether it may have been carried out. Errors of the server's own are
        raised as they are; a link that cannot be opened raises as `Connector.connect` does.
        """
        for attempt in (1, 2):
            slot, link = await self._acquire(key)
            try:
                return await link.request(
                    method, params, peer, caller=caller, headers=headers, request_id=request_id
                )
            except LinkLost as lost:
                if attempt == 2 or not (repeatable or lost.never_processed):
                    raise _unavailable(lost) from lost
                logger.info("sending %s once more: %s", method, lost.message)
            finally:
                self._release(slot)
        raise AssertionError("The second attempt returns or raises.")

    async def aclose(self) -> None:
        """End every link, within `close_seconds`. Idempotent; later requests raise Unavailable."""
        self._closed = True
        slots = [*self._slots.values()]
        self._slots.clear()
        self._room.set()
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for slot in slots:
                    if slot.link is not None:
                        tasks.start_soon(self._close, slot)

    # -- slots ------------------------------------------------------------------------------------------------

    async def _acquire(self, key: LinkKey) -> tuple[_Slot, Link]:
        slot = self._slots.get(key)
        if slot is None or slot.link is None or slot.link.closed:
            slot = await self._opened(key)
        else:
            slot.leases += 1
        if slot.link is None:
            raise Unavailable("The link was closed.", "Try again.")
        return slot, slot.link

    def _release(self, slot: _Slot) -> None:
        slot.leases -= 1
        if not slot.leases:
            slot.idle_since = time.monotonic()
            self._room.set()

    async def _opened(self, key: LinkKey) -> _Slot:
        """Return the key's slot with a lease on it, once its link is open."""
        slot = self._slots.get(key)
        if slot is not None and slot.link is not None and slot.link.closed:
            self._end(slot)
            slot = None
        if slot is None:
            slot = await self._slot_with_room(key)
        slot.leases += 1
        try:
            await slot.ready.wait()
            if slot.error is not None:
                raise _again(slot.error)
        except BaseException:
            self._release(slot)
            raise
        return slot

    async def _slot_with_room(self, key: LinkKey) -> _Slot:
        """Return the key's slot, made by this call or another; its link is being opened."""
        with anyio.move_on_after(self._wait_seconds):
            while True:
                if self._closed or self._tasks is None:
                    raise Unavailable("The connection to the server is closed.", "The hub is shutting down.")
                if (slot := self._slots.get(key)) is not None:
                    return slot
                if len(self._slots) + len(self._closing) < self._max_links:
                    slot = self._slots[key] = _Slot(key)
                    self._tasks.start_soon(self._open, slot)
                    return slot
                if self._room.is_set():
                    self._room = anyio.Event()
                idle = [slot for slot in self._slots.values() if slot.idle]
                if idle and not self._closing:
                    self._end(min(idle, key=lambda slot: slot.idle_since))
                await self._room.wait()
        raise PoolBusy(
            f"All {self._max_links} connections to the server are busy, and none became free within "
            f"{self._wait_seconds:g} seconds.",
            "Try again later, or allow the entry more of them in mcp.json.",
        )

    async def _open(self, slot: _Slot) -> None:
        try:
            link = await self._connector.connect(slot.key, self._announce)
            try:
                if self._prepare is not None:
                    await self._prepare(slot.key, link)
            except BaseException:
                with anyio.move_on_after(self._close_seconds, shield=True):
                    await link.aclose()
                raise
            slot.link = link
        except LinkLost as error:
            slot.error = Unavailable(error.message, "It is connected to anew with the next call.")
        except (RpcError, SuiteError) as error:
            slot.error = error
        except Exception:
            logger.exception("a link could not be opened")
            slot.error = Unavailable("The server could not be connected to, for a reason of the hub's own.", None)
        finally:
            if slot.link is None:
                slot.error = slot.error or Unavailable("The connection to the server is closed.", None)
                if self._slots.get(slot.key) is slot:
                    del self._slots[slot.key]
            elif self._closed:
                await self._close(slot)
            slot.idle_since = time.monotonic()
            slot.ready.set()
            self._room.set()

    def _end(self, slot: _Slot) -> None:
        """Take a link out of use and close it in the background."""
        if self._slots.get(slot.key) is slot:
            del self._slots[slot.key]
        if slot not in self._closing and self._tasks is not None:
            self._closing.add(slot)
            self._tasks.start_soon(self._close, slot)

    async def _close(self, slot: _Slot) -> None:
        try:
            with anyio.move_on_after(self._close_seconds, shield=True) as scope:
                if slot.link is not None:
                    await slot.link.aclose()
            if scope.cancelled_caught:
                logger.warning("a link took longer than %g seconds to close", self._close_seconds)
        except Exception:
            logger.exception("a link could not be closed")
        finally:
            self._closing.discard(slot)
            self._room.set()

    async def _reap(self, idle_seconds: float) -> None:
        while True:
            await anyio.sleep(min(idle_seconds / 4, _LONGEST_REAP_PAUSE_SECONDS))
            oldest = time.monotonic() - idle_seconds
            for slot in [*self._slots.values()]:
                if slot.idle and slot.link is not None and (slot.idle_since <= oldest or slot.link.closed):
                    self._end(slot)


def _unavailable(lost: LinkLost) -> RpcError:
    """Return what a lost request looks like to its caller."""
    doubt = "It was not carried out." if lost.never_processed else "It may or may not have been carried out."
    return UpstreamFailed(UPSTREAM_UNAVAILABLE, f"{lost.message} {doubt}")


def _again(error: Exception) -> Exception:
    """Return an error equal to one that several callers get: a shared one would collect their tracebacks."""
    if type(error) is RpcError:
        return RpcError(error.code, error.message, error.data)
    if type(error) is Unavailable:
        return Unavailable(error.message, error.hint)
    return error
