"""`Workflows` on DBOS."""

import logging
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path

import anyio
import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError, SuiteError
from quantum_suite.core.ids import new_id
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.workflows.dbos.background import background
from quantum_suite.services.workflows.dbos.engine import Engine, open_engine
from quantum_suite.services.workflows.dbos.ledger import Ledger, Transaction, database_errors, open_ledger
from quantum_suite.services.workflows.dbos.membership import Membership
from quantum_suite.services.workflows.dbos.messages import give_verdict, send_signal
from quantum_suite.services.workflows.dbos.relay import Relay
from quantum_suite.services.workflows.dbos.rows import load, now_ms, read_page, read_run, read_steps, step_records
from quantum_suite.services.workflows.dbos.steering import (
    check_step_number,
    forget,
    forgettable,
    fork_run,
    pause_run,
    resume_run,
)
from quantum_suite.services.workflows.dbos.tables import SQLITE_MIGRATIONS
from quantum_suite.services.workflows.dbos.timetable import Timetable
from quantum_suite.services.workflows.dbos.worker import Worker
from quantum_suite.services.workflows.interface import (
    Json,
    Owner,
    Queue,
    Run,
    RunQuery,
    Schedule,
    StepRecord,
    Verdict,
    Workflow,
)
from quantum_suite.services.workflows.queues import machine_queues
from quantum_suite.services.workflows.replay import History, HistoryStep, history_of

_FORGET_AT_ONCE = 500
_CANCEL_SECONDS = 10.0
_LEAVE_SECONDS = 10.0
_HANG_SECONDS = 3.0

_log = logging.getLogger(__name__)


class DbosWorkflows:
    """`Workflows`, durable. Opened by `open_workflows`; belongs to the event loop it was opened on."""

    def __init__(self, ledger: Ledger, worker: Worker, timetable: Timetable) -> None:
        self._ledger = ledger
        self._worker = worker
        self._timetable = timetable

    async def start(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        *,
        run_id: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        delay_seconds: float | None = None,
        deadline_seconds: float | None = None,
    ) -> Run:
        now = now_ms()
        return await self._worker.start(
            workflow,
            arguments,
            owner,
            run_id or new_id("run"),
            queue=queue,
            priority=priority,
            delay_until_ms=now + int(delay_seconds * 1000) if delay_seconds else None,
            deadline_ms=None if deadline_seconds is None else now + int(deadline_seconds * 1000),
        )

    async def get(self, run_id: str) -> Run:
        return await self._worker.get(run_id)

    async def steps(self, run_id: str) -> list[StepRecord]:
        def work(transaction: Transaction) -> list[StepRecord]:
            read_run(transaction, run_id)
            row = transaction.one("SELECT waiting FROM our.workflow_runs WHERE run_id = ?", run_id)
            waiting = load(row[0] if row else "{}", f"what {run_id} waits for")
            return step_records(read_steps(transaction, run_id), waiting)

        return await self._ledger.read(work)

    async def history(self, run_id: str) -> History:
        """Return what a run did and how it ended, to check changed code against."""

        def work(transaction: Transaction) -> History:
            steps = [
                HistoryStep(kept.place, kept.name, kept.result, kept.failure)
                for kept in read_steps(transaction, run_id)
            ]
            return history_of(read_run(transaction, run_id), steps)

        return await self._ledger.read(work)

    async def find(self, query: RunQuery) -> tuple[list[Run], str | None]:
        return await self._ledger.read(lambda transaction: read_page(transaction, query))

    async def wait(self, run_id: str, timeout_seconds: float) -> Run:
        with anyio.move_on_after(timeout_seconds):
            await self._worker.until_final(run_id)
        return await self.get(run_id)

    async def cancel(self, run_id: str) -> Run:
        """As the port says; returns once it is cancelled, or after ten seconds as it stands then."""
        await self._worker.cancel(run_id)
        return await self.wait(run_id, _CANCEL_SECONDS)

    async def pause(self, run_id: str) -> Run:
        await self._ledger.write(pause_run(run_id))
        self._worker.tell(run_id, "pause")
        return await self.get(run_id)

    async def resume(self, run_id: str) -> Run:
        await self._ledger.write(resume_run(run_id, self._worker.knows))
        self._worker.tell(run_id)
        self._worker.wake()
        return await self.get(run_id)

    async def fork(self, run_id: str, from_step: int, owner: Owner) -> Run:
        check_step_number(from_step)
        forked = new_id("run")
        await self._ledger.write(fork_run(self._ledger.engine, run_id, from_step, forked, owner))
        self._worker.wake()
        return await self.get(forked)

    async def signal(self, run_id: str, topic: str, payload: Json, *, key: str | None = None) -> None:
        await self._ledger.write(send_signal(run_id, topic, payload, key))
        self._worker.tell(run_id, only_ring=True)

    async def approve(self, run_id: str, verdict: Verdict) -> Run:
        await self._ledger.write(give_verdict(run_id, verdict))
        self._worker.tell(run_id, only_ring=True)
        return await self.get(run_id)

    async def schedule(self, schedule: Schedule) -> None:
        self._worker.definition(schedule.workflow)
        await self._timetable.save(schedule)

    async def unschedule(self, name: str) -> None:
        await self._timetable.remove(name)

    async def schedules(self) -> list[Schedule]:
        return await self._timetable.all()

    async def forget(self, before: datetime) -> int:
        dropped = 0
        while run_ids := await self._ledger.read(forgettable(before, _FORGET_AT_ONCE)):
            await self._ledger.call(self._ledger.engine.delete, run_ids)
            await self._ledger.write(forget(run_ids))
            dropped += len(run_ids)
        return dropped

    def wake(self) -> None:
        """Look at the database now: somebody (the bus) says there is something new. From the event loop alone."""
        self._worker.wake()


@asynccontextmanager
async def open_workflows(
    where: str | Path,
    workflows: Sequence[Workflow],
    queues: Sequence[Queue] | None = None,
    *,
    events: EventStore,
    leases: LeaseStore,
    worker_id: str,
    work: bool = True,
    lease_seconds: float = 15.0,
    poll_seconds: float = 0.25,
    most_attempts: int = 100,
) -> AsyncIterator[DbosWorkflows]:
    """Open the orchestrator in the SQLite file or on the `postgresql://` database `where`.

    Every process that works has a `worker_id` of its own, and keeps it over restarts: so a restart takes its runs
    up at once. A worker that does not renew its lease for `lease_seconds` is taken for dead, and its runs go on
    elsewhere within another half of that. Other processes' doings are seen within `poll_seconds`. A run whose
    worker was lost `most_attempts` times in a row, at the same step, fails. Without `work` runs are started and
    steered here, but worked on by others. `queues`: those of `machine_queues` where none are given.

    The first opening takes a second, for DBOS is heavy to import. Closing ends all work at its present step and
    puts it back in line. Raises EngineMissing, Unavailable, ConfigurationError.
    """
    if ":" in worker_id or not worker_id:
        raise ConfigurationError("A worker's id is a name without colons.", "Choose another one.")
    shown = str(where).rpartition("@")[2].rpartition("//")[2]
    async with AsyncExitStack() as stack:
        engine = await _open_engine(where, shown, machine_queues() if queues is None else queues)
        patience = threading.Timer(_HANG_SECONDS, engine.abort)
        patience.daemon = True
        stack.push_async_callback(_close, engine, patience)
        ledger = await stack.enter_async_context(open_ledger(engine, shown))
        membership = Membership(ledger, leases, worker_id, lease_seconds) if work else None
        relay = Relay(
            ledger,
            events,
            leases,
            worker_id,  # a worker that is started anew goes on at once with what it carried
            ttl_seconds=lease_seconds,
            poll_seconds=poll_seconds,
        )
        if membership is not None:
            stack.push_async_callback(_leave, relay, membership)
            await membership.join()
        tasks = await stack.enter_async_context(background(cancel=True))
        worker = Worker(
            ledger,
            membership,
            workflows,
            tasks,
            poll_seconds=poll_seconds,
            sweep_seconds=lease_seconds / 2,
            most_attempts=most_attempts,
        )
        stack.callback(worker.close)

        async def start(schedule: Schedule, run_id: str) -> None:
            await worker.start(schedule.workflow, schedule.arguments, schedule.owner, run_id)

        timetable = Timetable(ledger, start, poll_seconds=max(poll_seconds, 2.0))
        tasks.start_soon(worker.look)
        if membership is not None:
            tasks.start_soon(membership.keep, worker.drop_all)
            tasks.start_soon(worker.sweep)
            tasks.start_soon(timetable.keep_time)
            tasks.start_soon(relay.run)
        stack.callback(patience.start)
        yield DbosWorkflows(ledger, worker, timetable)


async def _open_engine(where: str | Path, shown: str, queues: Sequence[Queue]) -> Engine:
    url = str(where)
    if url.partition("://")[0] in ("postgresql", "postgres"):
        async with open_postgres(url, max_connections=1):
            pass  # the suite's own tables are up to date now
    else:
        path = await anyio.Path(where).absolute()
        url = f"sqlite:///{path}"
        with SqliteDatabase(Path(path), SQLITE_MIGRATIONS) as database:
            await database.write(lambda _: None)

    def opening() -> Engine:
        with database_errors(shown):
            engine = open_engine(url)
            try:
                engine.register_queues(queues)
            except BaseException:
                engine.close()
                raise
            return engine

    return await anyio.to_thread.run_sync(opening)


async def _close(engine: Engine, patience: threading.Timer) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(engine.close)
    patience.cancel()


async def _leave(relay: Relay, membership: Membership) -> None:
    """Put back in line what is held, tell what happened, and free the leases: as far as can be done in time."""
    with anyio.move_on_after(_LEAVE_SECONDS, shield=True):
        for leave in (membership.hand_over, relay.leave, membership.leave):
            try:
                await leave()
            except SuiteError as error:
                _log.warning("the orchestrator did not leave in order: %s", error)
