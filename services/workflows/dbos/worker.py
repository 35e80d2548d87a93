"""Works on runs: takes them from their queues, carries them to their end, and takes over those of dead workers."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import anyio.abc

from quantum_suite.core.errors import Conflict, Fenced, NotFound, Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.dbos.execution import Execution
from quantum_suite.services.workflows.dbos.ledger import Ledger, Transaction, Work
from quantum_suite.services.workflows.dbos.membership import Membership, held_by
from quantum_suite.services.workflows.dbos.rows import Loaded, now_ms, read_loaded, read_run
from quantum_suite.services.workflows.dbos.session import Session
from quantum_suite.services.workflows.dbos.steering import NewRun, cancel_run, resume_run, start_run
from quantum_suite.services.workflows.dbos.transitions import Claim, Wish, expire, put_back
from quantum_suite.services.workflows.failures import failure_of
from quantum_suite.services.workflows.interface import FINAL, Body, Json, Owner, Run, Workflow

_log = logging.getLogger(__name__)
_AT_ONCE = 500
_AWAY_SECONDS = 0.5
_ENDED = "SELECT run_id FROM our.workflow_runs WHERE state IN ('completed', 'failed', 'cancelled')"


@dataclass
class Watch:
    """Somebody waits for a run's end."""

    ended: anyio.Event
    watchers: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at the database showed."""

    news: list[str]
    ended: list[str]
    queues: list[str]
    delays_over: bool


class Worker:
    """One process's part in the work. Belongs to the task group it is given."""

    def __init__(
        self,
        ledger: Ledger,
        membership: Membership | None,
        workflows: Sequence[Workflow],
        tasks: anyio.abc.TaskGroup,
        *,
        poll_seconds: float,
        sweep_seconds: float,
        most_attempts: int,
    ) -> None:
        self.ledger = ledger
        self._membership = membership
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._tasks = tasks
        self._poll_seconds = poll_seconds
        self._sweep_seconds = sweep_seconds
        self._most_attempts = most_attempts
        self._executions: dict[str, tuple[Execution, str | None]] = {}
        self._watches: dict[str, Watch] = {}
        self._orphans: set[str] = set()
        self._look = anyio.Event()
        self._closing = False

    # Definitions

    def definition(self, name: str) -> Workflow:
        """Return a definition; raises NotFound."""
        try:
            return self._workflows[name]
        except KeyError:
            known = ", ".join(sorted(self._workflows)) or "none"
            raise NotFound(
                f"There is no workflow '{name}'.", f"Known are: {known}.", argument="workflow"
            ) from None

    def knows(self, name: str, version: str) -> bool:
        """Whether the code of a workflow's version is here."""
        return self._code(name, version) is not None

    def _code(self, name: str, version: str) -> Body | None:
        workflow = self._workflows.get(name)
        return None if workflow is None else {**workflow.older, workflow.version: workflow.body}.get(version)

    # What sessions need

    def lost(self) -> bool:
        return self._closing or self._membership is None or self._membership.lapsed()

    async def load(self, run_id: str) -> Loaded:
        return await self.ledger.read(lambda transaction: read_loaded(transaction, run_id))

    async def run_child(
        self, parent: Loaded, child_id: str, workflow: str, arguments: Json, queue: str | None
    ) -> Run:
        child = await self.start(
            workflow, arguments, parent.run.owner, child_id, queue=queue, parent=parent.run.id
        )
        before_resume = child.updated_at.timestamp() * 1000 < parent.resumed_ms
        if child.state in ("failed", "cancelled") and before_resume:
            try:
                await self.ledger.write(resume_run(child_id, self.knows))
            except Conflict:
                return child
            self.wake()
        elif child.state in FINAL:
            return child
        await self.until_final(child_id)
        return await self.get(child_id)

    async def cancel_children(self, run_id: str) -> None:
        rows = await self.ledger.read(
            lambda transaction: transaction.all(
                "SELECT run_id FROM our.workflow_runs WHERE parent = ? AND state IN ('active', 'paused')", run_id
            )
        )
        for (child,) in rows:
            await self.cancel(child)

    # Steering

    async def get(self, run_id: str) -> Run:
        """Return a run; raises NotFound."""
        return await self.ledger.read(lambda transaction: read_run(transaction, run_id))

    async def start(
        self,
        workflow: str,
        arguments: Json,
        owner: Owner,
        run_id: str,
        *,
        queue: str | None = None,
        priority: int = 0,
        delay_until_ms: int | None = None,
        deadline_ms: int | None = None,
        parent: str | None = None,
    ) -> Run:
        """Store a run, and begin to work on it here where it stands in no queue."""
        definition = self.definition(workflow)
        if queue is not None and not self.ledger.engine.has_queue(queue):
            raise NotFound(f"There is no queue '{queue}'.", argument="queue")
        here = queue is None and delay_until_ms is None and not self.lost()
        executor = self._membership.executor if here and self._membership is not None else None
        new = NewRun(
            run_id=run_id,
            workflow=workflow,
            version=definition.version,
            owner=owner,
            arguments=arguments,
            token=new_id("own"),
            executor=executor,
            queue=queue,
            priority=priority,
            delay_until_ms=delay_until_ms,
            deadline_ms=deadline_ms,
            parent=parent,
        )
        begin = start_run(self.ledger.engine, new)

        def work(transaction: Transaction) -> tuple[bool, Run]:
            return begin(transaction), read_run(transaction, run_id)

        ours, run = await self.ledger.write(work)
        if ours:
            fresh = Loaded(run, None, {}, {}, None, deadline_ms, 0)
            self._begin(Claim(run_id, new.token, owner.principal), None, fresh)
        else:
            self.wake()
        return run

    async def cancel(self, run_id: str) -> None:
        """Have a run end, and those it started."""
        children = await self.ledger.write(cancel_run(run_id))
        self.tell(run_id, "cancel")
        for child in children:
            await self.cancel(child)

    def tell(self, run_id: str, wish: Wish = None, *, only_ring: bool = False) -> None:
        """Have a run look, if it is worked on here; others see the news in their database."""
        found = self._executions.get(run_id)
        if found is None:
            self.wake()
        elif only_ring:
            found[0].session.ring()
        else:
            found[0].session.request(wish)

    def wake(self) -> None:
        """Look at the database now."""
        self._look.set()

    async def until_final(self, run_id: str) -> None:
        """Return when a run is final."""
        watch = self._watches.setdefault(run_id, Watch(anyio.Event()))
        watch.watchers += 1
        try:
            # The end of what is worked on here is told here; what was worked on elsewhere may have ended already.
            if run_id in self._executions or (await self.get(run_id)).state not in FINAL:
                await watch.ended.wait()
        finally:
            watch.watchers -= 1
            if not watch.watchers and self._watches.get(run_id) is watch:
                del self._watches[run_id]

    # Loops

    async def look(self) -> None:
        """Look at the database again and again: for news, for ends that are waited for, for runs in line."""
        away = False
        while True:
            self._look = anyio.Event()
            try:
                await self._look_once()
                away = False
            except Unavailable as error:
                if not away:
                    _log.warning("the orchestrator waits for its database: %s", error)
                away = True
            except Exception:
                _log.exception("looking for work failed; it is tried again")
            with anyio.move_on_after(max(self._poll_seconds, _AWAY_SECONDS) if away else self._poll_seconds):
                await self._look.wait()

    async def sweep(self) -> None:
        """Put back in line what dead workers hold, again and again."""
        while True:
            try:
                await self._sweep_once()
            except Unavailable as error:
                _log.warning("nobody's runs could be looked for: %s", error)
            except Exception:
                _log.exception("looking for runs of dead workers failed; it is tried again")
            await anyio.sleep(self._sweep_seconds)

    def drop_all(self) -> None:
        """Stop all work: this worker's lease is lost."""
        for execution, _ in self._executions.values():
            execution.session.halt("fenced")

    def close(self) -> None:
        """Take no more work, and wait for no database that is away."""
        self._closing = True

    async def _look_once(self) -> None:
        found = await self.ledger.read(self._findings)
        for run_id in found.ended:
            if run_id in self._watches:
                self._watches[run_id].ended.set()
        mine = sorted(run_id for run_id in found.news if run_id in self._executions)
        if mine:
            for run_id, wish in await self.ledger.write(_take_news(mine)):
                self.tell(run_id, wish)
        if found.delays_over:
            await self.ledger.call(self.ledger.engine.release_delayed)
            self.wake()
        for queue in found.queues:
            await self._take(queue)

    def _findings(self, transaction: Transaction) -> Findings:
        watched = list(self._watches)
        ended: list[str] = []
        for first in range(0, len(watched), _AT_ONCE):
            some = watched[first : first + _AT_ONCE]
            marks = ", ".join("?" for _ in some)
            rows = transaction.all(f"{_ENDED} AND run_id IN ({marks})", *some)
            ended += [run_id for (run_id,) in rows]
        news = transaction.all("SELECT run_id FROM our.workflow_news")
        waiting = transaction.all(
            "SELECT DISTINCT queue_name FROM dbos.workflow_status WHERE status = 'ENQUEUED' "
            "AND status IN ('ENQUEUED', 'PENDING')"
        )
        delayed = transaction.one(
            "SELECT 1 FROM dbos.workflow_status WHERE status = 'DELAYED' AND delay_until_epoch_ms <= ? LIMIT 1",
            now_ms(),
        )
        return Findings(
            news=[run_id for (run_id,) in news],
            ended=ended,
            queues=[name for (name,) in waiting if name],
            delays_over=delayed is not None,
        )

    async def _take(self, queue: str) -> None:
        executor = self._membership.executor if self._membership is not None and not self._closing else None
        if executor is None or not self.ledger.engine.has_queue(queue):
            return
        running = sum(1 for _, of in self._executions.values() if of == queue)
        try:
            token, run_ids = await self.ledger.call(self.ledger.engine.claim, queue, executor, running)
        except Unavailable as error:  # another worker takes from this queue just now, or the database is away
            _log.info("nothing was taken from queue %s: %s", queue, error)
            return
        for run_id in run_ids:
            self._begin(Claim(run_id, token, ""), queue, None)

    async def _sweep_once(self) -> None:
        if self._membership is None or self._closing:
            return
        for executor in await self._membership.dead_executors():
            if await self._membership.take_over(executor):
                self.wake()
        mine = self._membership.executor
        if mine is None:
            return
        held = await self.ledger.read(held_by(mine))
        orphans = {run_id for run_id in held if run_id not in self._executions}
        for run_id in orphans & self._orphans:
            if run_id not in self._executions:
                _log.error("run %s was taken, but nobody works on it: it goes back in line", run_id)
                await self.ledger.write(put_back(run_id, mine))
                self.wake()
        self._orphans = orphans
        for run_id in await self.ledger.read(_late):
            await self.ledger.write(expire(run_id))
        await self.ledger.write(_forget_old_news)

    # Executions

    def _begin(self, claim: Claim, queue: str | None, loaded: Loaded | None) -> None:
        earlier = self._executions.get(claim.run_id)
        if earlier is not None:
            earlier[0].session.halt("fenced")
        session = Session(claim, self, loaded)
        execution = Execution(session, lambda run: self._code(run.workflow, run.version), self._most_attempts)
        self._executions[claim.run_id] = execution, queue
        self._tasks.start_soon(self._work, execution, queue)

    async def _work(self, execution: Execution, queue: str | None) -> None:
        run_id = execution.session.claim.run_id
        try:
            await execution.run()
        except Fenced as error:
            _log.warning("stopped working on %s: %s", run_id, error)
        except Exception as error:
            await self._give_up(execution, error)
        finally:
            if self._executions.get(run_id, (None,))[0] is execution:
                del self._executions[run_id]
            if execution.ended and run_id in self._watches:
                self._watches[run_id].ended.set()
            if queue is not None:
                self.wake()

    async def _give_up(self, execution: Execution, error: Exception) -> None:
        """End a run that cannot be worked on, so that it does not come back for ever."""
        run_id = execution.session.claim.run_id
        try:
            await execution.give_up(failure_of(error, f"Working on {run_id}"))
        except Exception as another:
            failure_of(another, f"Giving {run_id} up")


def _take_news(run_ids: Sequence[str]) -> Work[list[tuple[str, Wish]]]:
    def work(transaction: Transaction) -> list[tuple[str, Wish]]:
        told: list[tuple[str, Wish]] = []
        for run_id in run_ids:
            transaction.run("DELETE FROM our.workflow_news WHERE run_id = ?", run_id)
            row = transaction.one("SELECT wish FROM our.workflow_runs WHERE run_id = ?", run_id)
            told.append((run_id, row[0] if row else None))
        return told

    return work


def _late(transaction: Transaction) -> list[str]:
    rows = transaction.all(
        "SELECT r.run_id FROM our.workflow_runs r JOIN dbos.workflow_status s ON s.workflow_uuid = r.run_id "
        "WHERE s.status IN ('ENQUEUED', 'DELAYED') AND r.state = 'active' AND r.deadline_ms < ?",
        now_ms(),
    )
    return [run_id for (run_id,) in rows]


def _forget_old_news(transaction: Transaction) -> None:
    transaction.run(
        "DELETE FROM our.workflow_news WHERE run_id NOT IN "
        "(SELECT workflow_uuid FROM dbos.workflow_status WHERE status IN ('PENDING', 'ENQUEUED'))"
    )
