"""Writes the chain: a record for every event in the store, and a checkpoint now and then."""

import logging
import time
from collections.abc import Callable
from typing import NoReturn

import anyio
import anyio.to_thread

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Fence
from quantum_suite.services.audit.chain.checkpoints import Checkpoint, CheckpointFile, sign_checkpoint
from quantum_suite.services.audit.chain.interface import AuditChain
from quantum_suite.services.audit.chain.records import ChainHead, chained
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.events.interface import EventStore, StoredEvent

logger = logging.getLogger(__name__)

CHECKPOINT_RECORDS = 10_000
CHECKPOINT_SECONDS = 10.0
POLL_SECONDS = 0.5
_PAGES_AT_ONCE = 10
_LONGEST_PAUSE_SECONDS = 30.0


class ChainWriter:
    """Reads events as they are stored and adds their records. One writer at a time: it runs under a lease's fence.

    A checkpoint is signed once `checkpoint_records` records or `checkpoint_seconds` have passed since the last
    one: what came after the newest checkpoint is bound to what was before, but could be cut off unnoticed.
    """

    def __init__(
        self,
        events: EventStore,
        chain: AuditChain,
        provider: KeyProvider,
        checkpoint_file: CheckpointFile | None = None,
        *,
        checkpoint_records: int = CHECKPOINT_RECORDS,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events = events
        self._chain = chain
        self._provider = provider
        self._file = checkpoint_file
        self._checkpoint_records = checkpoint_records
        self._checkpoint_seconds = checkpoint_seconds
        self._monotonic = monotonic
        self._signed_at = monotonic()
        self._in_file = -1
        """The newest checkpoint known to be in the file."""

    async def run(self, fence: Fence, *, poll_seconds: float = POLL_SECONDS) -> NoReturn:
        """Go on until cancelled; while a part is away, wait for it. Raises Fenced when somebody newer writes."""
        pause, told = poll_seconds, False
        while True:
            try:
                await self.catch_up(fence)
                pause, told = poll_seconds, False
            except Unavailable as error:
                if not told:
                    logger.warning("The audit chain waits: %s", error)
                told, pause = True, min(pause * 2, _LONGEST_PAUSE_SECONDS)
            await anyio.sleep(pause)

    async def catch_up(self, fence: Fence) -> int:
        """Add a record for every event there is by now, and sign when it is time; returns how many were added."""
        head = await self._chain.head()
        signed = await self._chain.last_checkpoint()
        await self._complete_file(signed)
        added = 0
        while True:
            events = await self._next(head)
            if events:
                rows = await anyio.to_thread.run_sync(chained, head, events)
                await self._chain.append(head, rows, fence)
                head = ChainHead(rows[-1][0], rows[-1][2], events[-1].position)
                added += len(rows)
            if self._due(head, signed):
                signed = await self._sign(head, signed, fence)
            if not events:
                return added

    async def sign(self, fence: Fence) -> Checkpoint | None:
        """Sign the chain as it is, whether it is time or not; None when it is signed, or empty."""
        head, signed = await self._chain.head(), await self._chain.last_checkpoint()
        if head.number == (signed.number if signed else 0):
            return None
        return await self._sign(head, signed, fence)

    async def _next(self, head: ChainHead) -> list[StoredEvent]:
        events: list[StoredEvent] = []
        after = head.position
        for _ in range(_PAGES_AT_ONCE):
            page = await self._events.read_stored(after)
            if not page:
                break
            events += page
            after = page[-1].position
        return events

    def _due(self, head: ChainHead, signed: Checkpoint | None) -> bool:
        unsigned = head.number - (signed.number if signed else 0)
        if unsigned == 0:
            return False
        return unsigned >= self._checkpoint_records or (
            self._monotonic() - self._signed_at >= self._checkpoint_seconds
        )

    async def _sign(self, head: ChainHead, signed: Checkpoint | None, fence: Fence) -> Checkpoint:
        checkpoint = sign_checkpoint(head, signed, await self._provider.current())
        await self._chain.add_checkpoint(checkpoint, fence)
        self._signed_at = self._monotonic()
        if self._file is not None:
            await anyio.to_thread.run_sync(self._file.append, [checkpoint])
            self._in_file = checkpoint.number
        return checkpoint

    async def _complete_file(self, signed: Checkpoint | None) -> None:
        """Add to the file what a crash kept out of it, and what was signed elsewhere."""
        if self._file is None or signed is None or signed.number == self._in_file:
            return
        kept = await anyio.to_thread.run_sync(self._file.read)
        last = max((checkpoint.number for checkpoint in kept[0]), default=0) if kept else 0
        if missing := await self._chain.checkpoints(last):
            await anyio.to_thread.run_sync(self._file.append, missing)
        self._in_file = signed.number
