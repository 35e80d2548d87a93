"""What the worker of a run writes. Every write checks, in its own transaction, that the run is still its.

Each function returns the work of a transaction; doing it twice changes nothing more.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from quantum_suite.core.errors import Fenced
from quantum_suite.core.events import EventData
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.dbos.engine import APPLICATION, DIRECT, SERIALIZATION
from quantum_suite.services.workflows.dbos.ledger import Transaction, Work
from quantum_suite.services.workflows.dbos.rows import (
    Kept,
    append_event,
    dump,
    error_text,
    failure_text,
    load,
    now_ms,
)
from quantum_suite.services.workflows.events import (
    LONGEST_TEXT,
    ApprovalAsked,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunRecovered,
    RunWaiting,
    StepCompleted,
    StepFailed,
    StepUndone,
)
from quantum_suite.services.workflows.interface import APPROVAL_STATUS, Failure, Json

Wish = Literal["pause", "cancel"] | None
Ending = Literal["completed", "failed", "cancelled"]

_IN_DBOS: dict[str, str] = {"completed": "SUCCESS", "failed": "ERROR", "cancelled": "CANCELLED"}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a run, until somebody else is given it."""

    run_id: str
    token: str
    principal: str


def hold(transaction: Transaction, claim: Claim, *, lock: bool = True) -> None:
    """Make sure that the run is still the claim's, with `lock` until the transaction ends; raises Fenced."""
    statement = "SELECT owner_xid FROM dbos.workflow_status WHERE workflow_uuid = ?"
    row = transaction.one(f"{statement} LOCKED" if lock else statement, claim.run_id)
    if row is None or row[0] != claim.token:
        raise Fenced(f"Run {claim.run_id} was given to another worker, or taken away.", "Stop working on it.")


def keep_step(claim: Claim, kept: Kept, undone: Kept | None = None) -> Work[Wish]:
    """Remember how a step ended; returns what people wish of the run by now."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> Wish:
        hold(transaction, claim)
        return _keep(transaction, claim, kept, event_id, undone)

    return work


def begin_wait(claim: Claim, place: str, spec: dict[str, Json]) -> Work[dict[str, Json]]:
    """Note what the run waits for, unless it did so before; returns the note that counts."""
    ids = new_id("evt"), new_id("evt")

    def work(transaction: Transaction) -> dict[str, Json]:
        hold(transaction, claim)
        waiting = read_waiting(transaction, claim.run_id)
        noted: dict[str, Json] | None = waiting.get(place)
        if noted is not None:
            return noted
        waiting[place] = spec
        save_waiting(transaction, claim.run_id, waiting)
        kind, number = spec["kind"], spec["number"]
        _event(transaction, claim, ids[0], RunWaiting(step=number, kind=kind, topic=spec.get("topic")))
        if kind == "approval":
            shown = spec["shown"]
            asked = ApprovalAsked(
                step=number, question=shown["question"][:LONGEST_TEXT], approvers=shown["approvers"]
            )
            _event(transaction, claim, ids[1], asked)
        return spec

    return work


def end_wait(claim: Claim, kept: Kept, *, topic: str | None, at_last: bool) -> Work[tuple[Kept | None, Wish]]:
    """End a wait with what came: a signal of `topic`, or a verdict. `at_last`: with nothing, when nothing came.

    Returns None when nothing came and the wait goes on, as it does while the run is to pause; and what is wished.
    """
    event_id = new_id("evt")

    def work(transaction: Transaction) -> tuple[Kept | None, Wish]:
        hold(transaction, claim)
        waiting = read_waiting(transaction, claim.run_id)
        if kept.place not in waiting:  # this very work was done before, and is done again
            row = transaction.one(
                "SELECT output FROM dbos.operation_outputs WHERE workflow_uuid = ? AND function_id = ?",
                claim.run_id,
                kept.number,
            )
            result = load(row[0] if row else None, f"step {kept.number} of {claim.run_id}")
            return replace(kept, result=result), _touch(transaction, claim.run_id)
        wish = _touch(transaction, claim.run_id)
        if wish == "pause":
            return None, wish
        came, result = _arrival(transaction, claim.run_id, waiting[kept.place], kept.number, topic)
        if not came and not at_last:
            return None, wish
        ended = Kept(
            kept.number,
            kept.place,
            kept.name,
            result if came else kept.result,
            None,
            None,
            kept.started_ms,
            now_ms(),
        )
        del waiting[kept.place]
        save_waiting(transaction, claim.run_id, waiting)
        return ended, _keep(transaction, claim, ended, event_id, None)

    return work


def _arrival(
    transaction: Transaction, run_id: str, spec: dict[str, Json], number: int, topic: str | None
) -> tuple[bool, Json]:
    if topic is None:
        return "verdict" in spec, spec.get("verdict")
    row = transaction.one(
        "SELECT message_uuid, message FROM dbos.notifications WHERE destination_uuid = ? AND topic = ? "
        "AND consumed = FALSE ORDER BY created_at_epoch_ms, message_uuid LIMIT 1",
        run_id,
        topic,
    )
    if row is None:
        return False, None
    transaction.run(
        "UPDATE dbos.notifications SET consumed = TRUE, consumed_by_function_id = ? WHERE message_uuid = ?",
        number,
        row[0],
    )
    return True, load(row[1], f"a signal to {run_id}")


def report(claim: Claim, key: str, value: Json) -> Work[Wish]:
    """Have `Run.status` say something."""

    def work(transaction: Transaction) -> Wish:
        hold(transaction, claim)
        set_status(transaction, claim.run_id, key, value)
        return _touch(transaction, claim.run_id)

    return work


def park(claim: Claim) -> Work[bool]:
    """Give a run up that people wish to pause; False when they have changed their mind."""

    def work(transaction: Transaction) -> bool:
        hold(transaction, claim)
        changed = transaction.run(
            "UPDATE our.workflow_runs SET state = 'paused', wish = NULL, updated_ms = ? "
            "WHERE run_id = ? AND wish = 'pause'",
            now_ms(),
            claim.run_id,
        )
        if changed:
            set_aside(transaction, claim.run_id)
        return changed == 1

    return work


def set_aside(transaction: Transaction, run_id: str) -> None:
    """Have DBOS give the run to nobody until it is put in line again."""
    transaction.run(
        "UPDATE dbos.workflow_status SET status = 'CANCELLED', owner_xid = NULL, queue_name = NULL, "
        "started_at_epoch_ms = NULL, updated_at = ? WHERE workflow_uuid = ?",
        now_ms(),
        run_id,
    )


def begin_ending(claim: Claim, state: Ending, failure: Failure | None, failed_at: str | None) -> Work[None]:
    """Note, before anything is undone, how the run will have ended."""

    def work(transaction: Transaction) -> None:
        hold(transaction, claim)
        ending = {"state": state, "failure": failure_text(failure), "failed_at": failed_at}
        transaction.run(
            "UPDATE our.workflow_runs SET ending = ?, updated_ms = ? WHERE run_id = ?",
            dump(ending),
            now_ms(),
            claim.run_id,
        )

    return work


def finish(
    claim: Claim,
    state: Ending,
    *,
    result: Json = None,
    failure: Failure | None = None,
    failed_at: str | None = None,
) -> Work[None]:
    """End the run."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> None:
        hold(transaction, claim)
        end_run(transaction, claim.run_id, state, result=result, failure=failure, failed_at=failed_at)
        _event(transaction, claim, event_id, ending_event(state, failure))

    return work


def end_run(
    transaction: Transaction,
    run_id: str,
    state: Ending,
    *,
    result: Json = None,
    failure: Failure | None = None,
    failed_at: str | None = None,
) -> None:
    """Write a run's end into its rows."""
    now = now_ms()
    transaction.run(
        "UPDATE dbos.workflow_status SET status = ?, owner_xid = NULL, updated_at = ?, completed_at = ? "
        "WHERE workflow_uuid = ?",
        _IN_DBOS[state],
        now,
        now,
        run_id,
    )
    transaction.run(
        "INSERT INTO dbos.workflow_output (workflow_uuid, output, error) VALUES (?, ?, ?) "
        "ON CONFLICT (workflow_uuid) DO UPDATE SET output = excluded.output, error = excluded.error",
        run_id,
        dump(result) if state == "completed" else None,
        None if failure is None else error_text(failure),
    )
    transaction.run(
        "UPDATE our.workflow_runs SET state = ?, wish = NULL, waiting = '{}', failure = ?, failed_at = ?, "
        "updated_ms = ? WHERE run_id = ?",
        state,
        failure_text(failure),
        failed_at,
        now,
        run_id,
    )


def ending_event(state: Ending, failure: Failure | None) -> EventData:
    """Return the event that tells of a run's end."""
    if state == "completed":
        return RunCompleted()
    if state == "cancelled" or failure is None:
        return RunCancelled()
    return RunFailed(code=failure.code, message=failure.message[:LONGEST_TEXT])


_PUT_BACK = """
UPDATE dbos.workflow_status SET status = 'ENQUEUED', owner_xid = NULL, executor_id = NULL,
    started_at_epoch_ms = NULL, updated_at = ?, queue_name = coalesce(queue_name, ?), recovery_attempts = CASE
        WHEN ? = 'left' THEN recovery_attempts - 1
        WHEN (SELECT r.waiting FROM our.workflow_runs r WHERE r.run_id = workflow_status.workflow_uuid) <> '{}'
            THEN recovery_attempts - 1
        WHEN EXISTS (SELECT 1 FROM dbos.operation_outputs o WHERE o.workflow_uuid = workflow_status.workflow_uuid
            AND o.completed_at_epoch_ms >= coalesce(started_at_epoch_ms, 0)) THEN 0
        ELSE recovery_attempts END
WHERE workflow_uuid = ? AND status = 'PENDING' AND executor_id = ?
"""


def put_back(run_id: str, executor: str, how: Literal["lost", "left"] = "lost") -> Work[bool]:
    """Put a run back in line that `executor` holds but does not work on any more.

    Only the first of several who do it changes anything: the run has no executor then. An attempt counts against
    the run when its worker was lost while it was at work and had come no step further; not when the worker left in
    order, or the run waited.
    """
    event_id = new_id("evt")

    def work(transaction: Transaction) -> bool:
        changed = transaction.run(_PUT_BACK, now_ms(), DIRECT, how, run_id, executor)
        if changed:
            append_event(transaction, run_id, event_id, RunRecovered(worker=executor), principal=None)
        return changed == 1

    return work


def expire(run_id: str) -> Work[None]:
    """End a run that stands in line after its deadline, without having begun."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> None:
        row = transaction.one("SELECT status FROM dbos.workflow_status WHERE workflow_uuid = ? LOCKED", run_id)
        began = transaction.one("SELECT 1 FROM dbos.operation_outputs WHERE workflow_uuid = ? LIMIT 1", run_id)
        if row is not None and row[0] in ("ENQUEUED", "DELAYED") and began is None:
            failure = Failure("deadline_exceeded", "The run did not begin before its deadline.")
            end_run(transaction, run_id, "failed", failure=failure)
            append_event(transaction, run_id, event_id, ending_event("failed", failure), principal=None)

    return work


def set_status(transaction: Transaction, run_id: str, key: str, value: Json) -> None:
    """Set one value of `Run.status`; the run's row must be held."""
    row = transaction.one("SELECT status FROM our.workflow_runs WHERE run_id = ?", run_id)
    status = load(row[0] if row else "{}", f"the status of {run_id}")
    status[key] = value
    transaction.run("UPDATE our.workflow_runs SET status = ? WHERE run_id = ?", dump(status), run_id)


def first_question(waiting: dict[str, dict[str, Json]]) -> dict[str, Json] | None:
    """Return the open approval that `approve` answers: of several the one asked first."""
    asked = [spec for spec in waiting.values() if spec["kind"] == "approval" and "verdict" not in spec]
    return min(asked, key=lambda spec: int(spec["number"])) if asked else None


def save_waiting(transaction: Transaction, run_id: str, waiting: dict[str, dict[str, Json]]) -> None:
    """Write what a run waits for, and have its status show the question that is open; the run must be held."""
    transaction.run(
        "UPDATE our.workflow_runs SET waiting = ?, updated_ms = ? WHERE run_id = ?",
        dump(waiting),
        now_ms(),
        run_id,
    )
    question = first_question(waiting)
    row = transaction.one("SELECT status FROM our.workflow_runs WHERE run_id = ?", run_id)
    status = load(row[0] if row else "{}", f"the status of {run_id}")
    shown = question["shown"] if question else None
    if status.get(APPROVAL_STATUS) != shown:
        set_status(transaction, run_id, APPROVAL_STATUS, shown)


def read_waiting(transaction: Transaction, run_id: str) -> dict[str, Any]:
    """Return what a run waits for, by place; the run must be held."""
    row = transaction.one("SELECT waiting FROM our.workflow_runs WHERE run_id = ?", run_id)
    waiting: dict[str, Any] = load(row[0] if row else "{}", f"what {run_id} waits for")
    return waiting


def _touch(transaction: Transaction, run_id: str) -> Wish:
    row = transaction.one(
        "UPDATE our.workflow_runs SET updated_ms = ? WHERE run_id = ? RETURNING wish", now_ms(), run_id
    )
    wish: Wish = row[0] if row else None
    return wish


def _keep(transaction: Transaction, claim: Claim, kept: Kept, event_id: str, undone: Kept | None) -> Wish:
    transaction.run(
        "INSERT INTO dbos.operation_outputs (workflow_uuid, function_id, function_name, output, error, "
        "child_workflow_id, started_at_epoch_ms, completed_at_epoch_ms, serialization, application_name) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (workflow_uuid, function_id) DO NOTHING",
        claim.run_id,
        kept.number,
        f"{kept.place}: {kept.name}",
        None if kept.failure else dump(kept.result),
        error_text(kept.failure) if kept.failure else None,
        kept.child,
        kept.started_ms,
        kept.ended_ms,
        SERIALIZATION,
        APPLICATION,
    )
    _event(transaction, claim, event_id, _step_event(kept, undone))
    return _touch(transaction, claim.run_id)


def _step_event(kept: Kept, undone: Kept | None) -> EventData:
    if kept.failure is not None:
        return StepFailed(
            step=kept.number, name=kept.name, code=kept.failure.code, message=kept.failure.message[:LONGEST_TEXT]
        )
    if undone is not None:
        return StepUndone(step=undone.number, name=undone.name)
    return StepCompleted(step=kept.number, name=kept.name)


def _event(transaction: Transaction, claim: Claim, event_id: str, data: EventData) -> None:
    append_event(transaction, claim.run_id, event_id, data, principal=claim.principal)
