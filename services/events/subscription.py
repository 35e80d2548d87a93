"""Following the log: what every store's `subscribe` does with its own way to read."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Event, EventFilter, Position
from quantum_suite.services.events.news import Listener, News

logger = logging.getLogger(__name__)

POLLING_SECONDS = 0.25
"""How soon a subscriber sees what another process appended, without being woken."""

_FIRST_RETRY_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Page:
    """What one look at the log brought."""

    events: list[Event]
    scanned: Position | None
    """Up to where it was looked, whether anything wanted was there or not."""
    more: bool = False
    """Whether it stopped before the end."""
    pending: bool = False
    """Whether something is stored that will be readable shortly."""


Look = Callable[[Position | None, EventFilter | None], Awaitable[Page]]


@asynccontextmanager
async def following(
    look: Look, news: News, checkpoint: Position | None, where: EventFilter | None, polling_seconds: float
) -> AsyncIterator[AsyncIterator[list[Event]]]:
    """Yield what follows the log, for `EventStore.subscribe`."""
    with news.listen() as listener:
        yield _Following(look, listener, checkpoint, where, polling_seconds)


class _Following:
    """Batches of events, without end."""

    def __init__(
        self,
        look: Look,
        listener: Listener,
        checkpoint: Position | None,
        where: EventFilter | None,
        polling_seconds: float,
    ) -> None:
        self._look = look
        self._listener = listener
        self._scanned = checkpoint
        self._where = where
        self._polling_seconds = polling_seconds
        self._away = False

    def __aiter__(self) -> "_Following":
        return self

    async def __anext__(self) -> list[Event]:
        retry = _FIRST_RETRY_SECONDS
        while True:
            self._listener.rearm()
            page = await self._try_look()
            if page is None:
                await self._listener.wait(self._polling_seconds)
                continue
            self._scanned = page.scanned
            if page.events:
                return page.events
            if page.more:
                continue
            if page.pending:
                await self._listener.wait(min(retry, self._polling_seconds))
                retry *= 2
            else:
                await self._listener.wait(self._polling_seconds)
                retry = _FIRST_RETRY_SECONDS

    async def _try_look(self) -> Page | None:
        try:
            page = await self._look(self._scanned, self._where)
        except Unavailable as error:
            if not self._away:
                self._away = True
                logger.warning("The event store is away; its subscribers wait: %s", error)
            return None
        if self._away:
            self._away = False
            logger.info("The event store is back.")
        return page
