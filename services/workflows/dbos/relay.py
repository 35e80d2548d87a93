"""Carries events from the outbox to the event store: each once, a run's in the order they happened.

A transition and its event are written in one transaction, so no event is lost and none is told of what did not
happen. Whoever holds the lease `orchestrator.relay` carries them over, fenced by its token; events reach the store
a moment after their transition, or when the store is back.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from quantum_suite.core.errors import Fenced, Unavailable
from quantum_suite.core.events import EventData, Fence, NewEvent
from quantum_suite.services.events.interface import ANY_VERSION, EventStore
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.workflows.dbos.ledger import Ledger, Row, Transaction, Work
from quantum_suite.services.workflows.dbos.rows import moment
from quantum_suite.services.workflows.events import RUN_EVENTS, run_stream

LEASE = "orchestrator.relay"

_log = logging.getLogger(__name__)
_BATCH = 500
_AT_ONCE = 64
_AWAY_SECONDS = 0.5
_GATHER_SECONDS = 0.03
"""How long events wait for others, to be appended together."""
_TYPES = {data.event_type: data for data in RUN_EVENTS}


@dataclass
class _Carried:
    """The events of one run in a batch."""

    run_id: str
    sequences: list[int]
    events: list[NewEvent]


class Relay:
    """Carries the outbox of one database over, while it is this process's turn."""

    def __init__(
        self,
        ledger: Ledger,
        events: EventStore,
        leases: LeaseStore,
        holder: str,
        *,
        ttl_seconds: float,
        poll_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._events = events
        self._leases = leases
        self._holder = holder
        self._ttl = ttl_seconds
        self._poll = poll_seconds
        self._lease: Lease | None = None
        self._stuck: set[str] = set()
        self._until = 0.0
        self._unsure = True

    async def run(self) -> None:
        """Carry over what comes, for ever."""
        away = False
        while True:
            wrote = self._ledger.wrote
            more = False
            try:
                if await self._in_turn():
                    more = await self._carry()
                away = False
            except (Unavailable, Fenced) as error:
                if not away:
                    _log.warning("the orchestrator's events wait: %s", error)
                away = self._unsure = True
                if isinstance(error, Fenced):
                    self._lease = None
            except Exception:
                _log.exception("carrying the orchestrator's events over failed; it is tried again")
                self._unsure = True
            if away:
                await anyio.sleep(_AWAY_SECONDS)
            elif not more:
                with anyio.move_on_after(self._poll):
                    await wrote.wait()
                await anyio.sleep(_GATHER_SECONDS)

    async def leave(self) -> None:
        """Carry over what is left, and let another process have its turn."""
        if self._lease is not None:
            while await self._carry():
                pass
            lease, self._lease = self._lease, None
            await self._leases.release(lease)

    async def _in_turn(self) -> bool:
        now = anyio.current_time()
        if self._lease is not None and now < self._until:
            return True
        if self._lease is not None and await self._leases.renew(self._lease):
            self._until = now + self._ttl / 3
            return True
        self._lease = await self._leases.acquire(LEASE, self._holder, self._ttl)
        self._unsure = True
        self._until = now + self._ttl / 3
        return self._lease is not None

    async def _carry(self) -> bool:
        """Carry one batch over; returns whether there may be more."""
        rows = await self._ledger.read(_oldest(self._stuck))
        if not rows or self._lease is None:
            return False
        by_run: dict[str, _Carried] = {}
        for row in rows:
            carried = by_run.setdefault(row[2], _Carried(row[2], [], []))
            carried.sequences.append(row[0])
            carried.events.append(_event(row))
        fence, limit = self._lease.fence, anyio.Semaphore(_AT_ONCE)
        done: list[int] = []

        async def append(carried: _Carried) -> None:
            async with limit:
                try:
                    await self._append(carried, fence)
                except (Unavailable, Fenced):
                    raise
                except Exception:  # the events of other runs go on
                    _log.exception("the events of %s stay behind until the next start", carried.run_id)
                    self._stuck.add(carried.run_id)
                else:
                    done.extend(carried.sequences)

        try:
            async with anyio.create_task_group() as tasks:
                for carried in by_run.values():
                    tasks.start_soon(append, carried)
        except* (Unavailable, Fenced) as group:
            self._unsure = True
            raise group.exceptions[0] from None
        finally:
            if done:
                with anyio.CancelScope(shield=True):
                    await self._ledger.write(_delete(done))
        self._unsure = False
        return len(rows) == _BATCH

    async def _append(self, carried: _Carried, fence: Fence) -> None:
        stream, events = run_stream(carried.run_id), carried.events
        if self._unsure:  # somebody may have carried some of these over, and not lived to say so
            known = await self._ids(stream)
            events = [event for event in events if event.id not in known]
        if events:
            await self._events.append(stream, ANY_VERSION, events, fence=fence)

    async def _ids(self, stream: str) -> set[str]:
        ids: set[str] = set()
        version = 0
        while page := await self._events.read_stream(stream, version):
            ids.update(event.id for event in page)
            version = page[-1].version
        return ids


def _oldest(stuck: set[str]) -> Work[list[Row]]:
    left_out = sorted(stuck)[:_BATCH]
    marks = ", ".join("?" for _ in left_out) or "''"
    columns = "SELECT seq, id, run_id, type, data, principal, at_ms FROM our.workflow_outbox"
    statement = f"{columns} WHERE run_id NOT IN ({marks}) ORDER BY seq LIMIT ?"

    def work(transaction: Transaction) -> list[Row]:
        return transaction.all(statement, *left_out, _BATCH)

    return work


def _delete(sequences: Sequence[int]) -> Work[None]:
    def work(transaction: Transaction) -> None:
        marks = ", ".join("?" for _ in sequences)
        statement = f"DELETE FROM our.workflow_outbox WHERE seq IN ({marks})"  # noqa: S608  # marks alone
        transaction.run(statement, *sequences)

    return work


def _event(row: Row) -> NewEvent:
    _, event_id, run_id, event_type, data, principal, at_ms = row
    payload: EventData = _TYPES[event_type].model_validate_json(data)
    return NewEvent(
        payload,
        subject=run_id,
        principal=principal,
        correlation_id=run_id,
        id=event_id,
        time=moment(at_ms),
    )
