"""What anybody writes who starts or steers runs, from any process.

Each function returns the work of a transaction; doing it twice changes nothing more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quantum_suite.core.errors import CallerError, Conflict, NotFound
from quantum_suite.core.events import EventData
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.dbos.engine import APPLICATION, DIRECT, Engine, NewRow
from quantum_suite.services.workflows.dbos.ledger import Transaction, Work
from quantum_suite.services.workflows.dbos.rows import (
    append_event,
    inputs_text,
    now_ms,
    owner_text,
    read_run,
    read_steps,
)
from quantum_suite.services.workflows.dbos.transitions import (
    end_run,
    set_aside,
)
from quantum_suite.services.workflows.events import (
    RunCancelled,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
)
from quantum_suite.services.workflows.interface import FINAL, Json, Owner

Known = Callable[[str, str], bool]
"""Whether the code of a workflow's version is there."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is asked for. With an executor it is taken at once, under `token`."""

    run_id: str
    workflow: str
    version: str
    owner: Owner
    arguments: Json
    token: str
    executor: str | None = None
    queue: str | None = None
    priority: int = 0
    delay_until_ms: int | None = None
    deadline_ms: int | None = None
    parent: str | None = None
    forked_from: str | None = None

    @property
    def row(self) -> NewRow:
        """What DBOS keeps of it."""
        return NewRow(
            run_id=self.run_id,
            inputs=inputs_text(self.arguments),
            principal=self.owner.principal,
            queue=self.queue or DIRECT,
            token=self.token,
            executor=self.executor,
            priority=self.priority,
            delay_until_ms=self.delay_until_ms,
            parent=self.parent,
        )


def start_run(engine: Engine, new: NewRun) -> Work[bool]:
    """Store a run, unless it is there; returns whether it is the executor's to work on now."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> bool:
        if _insert(engine, transaction, new):
            started = RunStarted(workflow=new.workflow, version=new.version, queue=new.queue, parent=new.parent)
            _event(transaction, new.run_id, event_id, started, new.owner.principal)
        if new.executor is None:
            return False
        row = transaction.one("SELECT owner_xid FROM dbos.workflow_status WHERE workflow_uuid = ?", new.run_id)
        return row is not None and row[0] == new.token

    return work


def fork_run(engine: Engine, run_id: str, from_step: int, new_id_: str, owner: Owner) -> Work[None]:
    """Start a run on the results that another one's steps before `from_step` had and still have."""
    event_ids = new_id("evt"), new_id("evt")

    def work(transaction: Transaction) -> None:
        source = read_run(transaction, run_id)
        new = NewRun(
            run_id=new_id_,
            workflow=source.workflow,
            version=source.version,
            owner=owner,
            arguments=source.arguments,
            token=new_id("own"),
            queue=source.queue,
            forked_from=run_id,
        )
        if not _insert(engine, transaction, new):
            return
        kept = read_steps(transaction, run_id)
        places = {step.place for step in kept}
        for step in kept:
            undone = step.place.startswith("undo ") or f"undo {step.place}" in places
            if step.number < from_step and step.failure is None and not undone:
                transaction.run(_COPY_STEP, new_id_, run_id, step.number)
        started = RunStarted(workflow=new.workflow, version=new.version, queue=new.queue)
        forked = RunForked(workflow=new.workflow, version=new.version, forked_from=run_id, from_step=from_step)
        for event_id, data in zip(event_ids, (started, forked), strict=True):
            _event(transaction, new_id_, event_id, data, owner.principal)

    return work


def cancel_run(run_id: str) -> Work[list[str]]:
    """Have a run end; returns the runs it started, which are to end too."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> list[str]:
        state, wish, in_dbos = hold_run(transaction, run_id)
        if state in FINAL:
            return []
        began = transaction.one("SELECT 1 FROM dbos.operation_outputs WHERE workflow_uuid = ? LIMIT 1", run_id)
        if in_dbos != "PENDING" and began is None:
            end_run(transaction, run_id, "cancelled")
            principal = read_run(transaction, run_id).owner.principal
            _event(transaction, run_id, event_id, RunCancelled(), principal)
        elif wish != "cancel":
            transaction.run(
                "UPDATE our.workflow_runs SET wish = 'cancel', state = 'active', updated_ms = ? WHERE run_id = ?",
                now_ms(),
                run_id,
            )
            if state == "paused":
                _put_in_line(transaction, run_id)
            tell(transaction, run_id)
        rows = transaction.all("SELECT run_id FROM our.workflow_runs WHERE parent = ?", run_id)
        return [child for (child,) in rows]

    return work


def pause_run(run_id: str) -> Work[None]:
    """Have a run begin no further step."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> None:
        state, wish, in_dbos = hold_run(transaction, run_id)
        if state in FINAL or wish == "cancel":
            raise Conflict(f"Run {run_id} has ended, or is ending: there is nothing to pause.", argument="run")
        if state == "paused" or wish == "pause":
            return
        if in_dbos == "PENDING":
            _set_wish(transaction, run_id, "pause")
            tell(transaction, run_id)
        else:
            set_aside(transaction, run_id)
            transaction.run(
                "UPDATE our.workflow_runs SET state = 'paused', updated_ms = ? WHERE run_id = ?", now_ms(), run_id
            )
        _event(transaction, run_id, event_id, RunPaused(), None)

    return work


def resume_run(run_id: str, known: Known) -> Work[None]:
    """Have a run go on. Raises Conflict when it cannot: it is completed, has undone what it did, or its code is
    gone."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> None:
        state, wish, _ = hold_run(transaction, run_id)
        if state == "completed":
            raise Conflict(f"Run {run_id} is completed.", "Start it anew, or fork it from a step.", argument="run")
        if state == "active":
            if wish != "pause":
                return
            _set_wish(transaction, run_id, None)
            tell(transaction, run_id)
        else:
            if state != "paused":
                _revive(transaction, run_id, known)
            transaction.run(
                "UPDATE our.workflow_runs SET state = 'active', updated_ms = ? WHERE run_id = ?", now_ms(), run_id
            )
            _put_in_line(transaction, run_id)
        _event(transaction, run_id, event_id, RunResumed(), None)

    return work


def forgettable(before: datetime, limit: int) -> Work[list[str]]:
    """Return final runs that ended before a time, and whose events are all in the event store."""

    def work(transaction: Transaction) -> list[str]:
        rows = transaction.all(
            "SELECT r.run_id FROM our.workflow_runs r WHERE r.state IN ('completed', 'failed', 'cancelled') "
            "AND r.updated_ms < ? AND NOT EXISTS (SELECT 1 FROM our.workflow_outbox o WHERE o.run_id = r.run_id) "
            "LIMIT ?",
            int(before.timestamp() * 1000),
            limit,
        )
        return [run_id for (run_id,) in rows]

    return work


def forget(run_ids: list[str]) -> Work[None]:
    """Drop what the suite keeps of runs."""

    def work(transaction: Transaction) -> None:
        for run_id in run_ids:
            transaction.run("DELETE FROM our.workflow_runs WHERE run_id = ?", run_id)
            transaction.run("DELETE FROM our.workflow_news WHERE run_id = ?", run_id)

    return work


_COPY_STEP = """
INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, error, child_workflow_id,
    started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name)
SELECT ?, function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms,
    completed_at_epoch_ms, serialization, application_name
FROM dbos.operation_outputs WHERE workflow_uuid = ? AND function_id = ?
"""


def _insert(engine: Engine, transaction: Transaction, new: NewRun) -> bool:
    now = now_ms()
    inserted = transaction.run(
        "INSERT INTO our.workflow_runs (run_id, workflow, version, principal, owner, queue, parent, forked_from, "
        "deadline_ms, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (run_id) DO NOTHING",
        new.run_id,
        new.workflow,
        new.version,
        new.owner.principal,
        owner_text(new.owner),
        new.queue,
        new.parent,
        new.forked_from,
        new.deadline_ms,
        now,
        now,
    )
    if inserted:
        engine.insert(transaction.connection, new.row)
        if new.executor is None and engine.dialect == "sqlite":
            # DBOS's default counts whole seconds there: too coarse for first come, first served
            transaction.run(
                "UPDATE dbos.workflow_status SET created_at = ? WHERE workflow_uuid = ?", now, new.run_id
            )
    return inserted == 1


def hold_run(transaction: Transaction, run_id: str) -> tuple[str, str | None, str]:
    """Return a run's state, what is wished of it and its status in DBOS, which stay until the transaction ends."""
    row = transaction.one("SELECT status FROM dbos.workflow_status WHERE workflow_uuid = ? LOCKED", run_id)
    ours = transaction.one("SELECT state, wish FROM our.workflow_runs WHERE run_id = ?", run_id)
    if row is None or ours is None:
        raise NotFound(f"There is no run {run_id}.", "List the runs.", argument="run")
    return ours[0], ours[1], row[0]


def _set_wish(transaction: Transaction, run_id: str, wish: str | None) -> None:
    transaction.run(
        "UPDATE our.workflow_runs SET wish = ?, updated_ms = ? WHERE run_id = ?", wish, now_ms(), run_id
    )


def tell(transaction: Transaction, run_id: str) -> None:
    """Have the worker of a run look at it."""
    transaction.run(
        # an update, so that who takes the news just now waits for this transaction
        "INSERT INTO our.workflow_news (run_id) VALUES (?) "
        "ON CONFLICT (run_id) DO UPDATE SET run_id = excluded.run_id",
        run_id,
    )


def _put_in_line(transaction: Transaction, run_id: str) -> None:
    now = now_ms()
    transaction.run(
        "UPDATE dbos.workflow_status SET status = CASE WHEN delay_until_epoch_ms > ? THEN 'DELAYED' "
        "ELSE 'ENQUEUED' END, owner_xid = NULL, executor_id = NULL, recovery_attempts = 0, "
        "queue_name = coalesce((SELECT queue FROM our.workflow_runs WHERE run_id = ?), ?), "
        "started_at_epoch_ms = NULL, completed_at = NULL, application_name = ?, updated_at = ? "
        "WHERE workflow_uuid = ?",
        now,
        run_id,
        DIRECT,
        APPLICATION,
        now,
        run_id,
    )


def _revive(transaction: Transaction, run_id: str, known: Known) -> None:
    """Forget the failure that ended a run, so that it is done again from there."""
    row = transaction.one(
        "SELECT workflow, version, ending, failed_at FROM our.workflow_runs WHERE run_id = ?", run_id
    )
    workflow, version, ending, failed_at = row or ("", "", None, None)
    if ending is not None:
        raise Conflict(
            f"Run {run_id} has undone what it did.", "Fork it from a step, or start it anew.", argument="run"
        )
    if not known(workflow, version):
        raise Conflict(
            f"Run {run_id} began with version {version} of {workflow}, whose code is not here.",
            "Update the suite, or start it anew.",
            argument="run",
        )
    first = min((kept.number for kept in read_steps(transaction, run_id) if kept.place == failed_at), default=0)
    transaction.run(
        "DELETE FROM dbos.operation_outputs WHERE workflow_uuid = ? AND error IS NOT NULL AND function_id >= ?",
        run_id,
        first,
    )
    transaction.run("DELETE FROM dbos.workflow_output WHERE workflow_uuid = ?", run_id)
    transaction.run(
        "UPDATE our.workflow_runs SET failure = NULL, failed_at = NULL, deadline_ms = NULL, resumed_ms = ? "
        "WHERE run_id = ?",
        now_ms(),
        run_id,
    )


def _event(transaction: Transaction, run_id: str, event_id: str, data: EventData, principal: str | None) -> None:
    append_event(transaction, run_id, event_id, data, principal=principal)


def check_step_number(from_step: int) -> None:
    """Raise CallerError for what is no step's number."""
    if from_step < 1:
        raise CallerError("Steps count from 1.", argument="from_step")
