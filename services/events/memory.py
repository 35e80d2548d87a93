"""The event store's twin in memory: the same rules and the same bytes, gone with the process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.events import Event, EventFilter, Fence, NewEvent, Position
from quantum_suite.services.databases.fences import outdated
from quantum_suite.services.events.encoding import Row, appended, as_stored, decode, encode, subjects_of
from quantum_suite.services.events.interface import MAX_BATCH, MAX_BATCH_BYTES, Snapshot, StoredEvent
from quantum_suite.services.events.news import News
from quantum_suite.services.events.planning import (
    Compare,
    Repeated,
    Request,
    StreamState,
    Verdict,
    Written,
    compared,
    decide,
    place,
)
from quantum_suite.services.events.positions import number_of, page_size, position_of, version_after
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.events.sealing import EventCipher, NoCipher
from quantum_suite.services.events.snapshots import open_snapshot, seal_snapshot
from quantum_suite.services.events.subscription import POLLING_SECONDS, Page, following


class MemoryEventStore:
    """Belongs to one event loop. `async with` it or not: there is nothing to close."""

    def __init__(
        self,
        registry: EventRegistry,
        cipher: EventCipher | None = None,
        *,
        polling_seconds: float = POLLING_SECONDS,
    ) -> None:
        self._registry = registry
        self._cipher = cipher or NoCipher()
        self._polling_seconds = polling_seconds
        self._rows: list[Row] = []
        self._streams: dict[str, list[Row]] = {}
        self._fences: dict[str, int] = {}
        self._snapshots: dict[str, tuple[int, int, bytes]] = {}
        self._news = News()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def append(
        self, stream: str, expected_version: int, events: Sequence[NewEvent], *, fence: Fence | None = None
    ) -> list[Event]:
        drafts = encode(self._registry, stream, expected_version, events)
        if not drafts:
            return []
        seal = await self._cipher.sealing(subjects_of(drafts))
        outcome = self._write(Request(stream, expected_version, drafts, seal, fence))
        if isinstance(outcome, SuiteError):
            raise outcome
        if isinstance(outcome, Repeated):
            return await self.read_stream(stream, outcome.version - 1, limit=len(drafts))
        self._news.wake()
        positions = (position_of(outcome.sequence + n) for n in range(len(drafts)))
        return appended(stream, outcome.version, positions, drafts)

    async def read(
        self, after: Position | None = None, where: EventFilter | None = None, *, limit: int = MAX_BATCH
    ) -> list[Event]:
        rows = self._rows[number_of(after) :]
        if where is not None:
            rows = [row for row in rows if where.matches(row[4], row[1])]
        return await decode(_page(rows, limit), self._registry, self._cipher)

    async def read_stream(self, stream: str, after_version: int = 0, *, limit: int = MAX_BATCH) -> list[Event]:
        rows = self._streams.get(stream, [])[version_after(after_version) :]
        return await decode(_page(rows, limit), self._registry, self._cipher)

    async def read_back(self, before: Position | None = None, *, limit: int = MAX_BATCH) -> list[Event]:
        rows = self._rows if before is None else self._rows[: max(number_of(before) - 1, 0)]
        return await decode(rows[::-1][: page_size(limit)], self._registry, self._cipher)

    async def read_stored(self, after: Position | None = None, *, limit: int = MAX_BATCH) -> list[StoredEvent]:
        return as_stored(_page(self._rows[number_of(after) :], limit))

    def subscribe(
        self, checkpoint: Position | None = None, where: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Event]]]:
        return following(self._look, self._news, checkpoint, where, self._polling_seconds)

    def wake(self) -> None:
        self._news.wake()

    async def head(self) -> Position | None:
        return self._rows[-1][0] if self._rows else None

    async def count(self, after: Position | None = None) -> int:
        return max(len(self._rows) - number_of(after), 0)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        state = await seal_snapshot(snapshot, self._cipher)
        kept = self._snapshots.get(snapshot.stream)
        if kept is None or kept[1] != snapshot.schema or kept[0] <= snapshot.version:
            self._snapshots[snapshot.stream] = (
                snapshot.version,
                snapshot.schema,
                state,
            )

    async def snapshot(self, stream: str, schema: int) -> Snapshot | None:
        kept = self._snapshots.get(stream)
        if kept is None or kept[1] != schema:
            return None
        return await open_snapshot(stream, kept[0], schema, kept[2], self._cipher)

    async def erase(self, subject: str) -> bool:
        erased = await self._cipher.erase(subject)
        self._snapshots.clear()
        return erased

    async def _look(self, after: Position | None, where: EventFilter | None) -> Page:
        end = await self.head()
        events = await self.read(after, where)
        if events:
            return Page(events, events[-1].position, more=True)
        return Page(events, end or after)

    def _write(self, request: Request) -> Written | Repeated | SuiteError:
        fence, stored = request.fence, self._streams.get(request.stream, [])
        if fence is not None:
            if self._fences.get(fence.name, fence.token) > fence.token:
                return outdated(fence)
            self._fences[fence.name] = fence.token
        state = StreamState(0, len(stored), stored[-1][3] if stored else None)
        verdict = decide(request, state)
        if isinstance(verdict, Compare):
            first = verdict.version
            there = stored[first - 1 : first - 1 + len(request.drafts)]
            final = compared(request, state, first, [row[3] for row in there])
        else:
            final = verdict
        if not isinstance(final, Verdict):
            return final
        written = Written(place(request, state), len(self._rows) + 1)
        rows = _rows(request, written)
        self._rows += rows
        self._streams.setdefault(request.stream, []).extend(rows)
        return written


def _page(rows: Sequence[Row], limit: int) -> list[Row]:
    page: list[Row] = []
    size = 0
    for row in rows[: page_size(limit)]:
        page.append(row)
        size += len(row[7])
        if size > MAX_BATCH_BYTES:
            break
    return page


def _rows(request: Request, written: Written) -> list[Row]:
    rows: list[Row] = []
    for n, draft in enumerate(request.drafts):
        payload, personal = draft.sealed(request.stream, written.version + n, request.seal)
        position = position_of(written.sequence + n)
        rows.append(
            (
                position,
                request.stream,
                written.version + n,
                draft.id,
                draft.type,
                draft.time,
                draft.attributes,
                payload,
                personal,
            )
        )
    return rows
