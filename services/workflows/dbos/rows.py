"""How runs and steps lie in the tables, and what is read of them."""

import base64
import binascii
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from quantum_suite.core.errors import CallerError, Damaged, NotFound
from quantum_suite.core.events import EventData
from quantum_suite.services.workflows.dbos.ledger import Row, Transaction
from quantum_suite.services.workflows.interface import (
    Failure,
    Json,
    Owner,
    Run,
    RunQuery,
    RunState,
    StepRecord,
)

_COLUMNS = """
SELECT r.run_id, r.workflow, r.version, r.owner, r.state, r.wish, r.queue, r.parent, r.forked_from, r.status,
       r.waiting, r.failure, r.created_ms, r.updated_ms, s.status, i.inputs, o.output
FROM our.workflow_runs r JOIN dbos.workflow_status s ON s.workflow_uuid = r.run_id
LEFT JOIN dbos.workflow_input i ON i.workflow_uuid = r.run_id
LEFT JOIN dbos.workflow_output o ON o.workflow_uuid = r.run_id
"""
_IN_LINE = ("ENQUEUED", "DELAYED")
_STATES: dict[str, str] = {
    "queued": "r.state = 'active' AND r.wish IS NULL AND s.status IN ('ENQUEUED', 'DELAYED')",
    "running": "r.state = 'active' AND (r.wish IS NULL OR r.wish = 'cancel') AND s.status = 'PENDING' "
    "AND r.waiting = '{}'",
    "waiting": "r.state = 'active' AND (r.wish IS NULL OR r.wish = 'cancel') AND s.status = 'PENDING' "
    "AND r.waiting <> '{}'",
    "paused": "(r.state = 'paused' OR (r.state = 'active' AND r.wish = 'pause'))",
    "completed": "r.state = 'completed'",
    "failed": "r.state = 'failed'",
    "cancelled": "r.state = 'cancelled'",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A step that has ended, as its run finds it again."""

    number: int
    place: str
    """Where in the code it is: `2`, in branches `2.1.3`, for what takes it back `undo 2`."""
    name: str
    result: Json
    failure: Failure | None
    child: str | None
    started_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """All a worker needs to go on with a run."""

    run: Run
    wish: Literal["pause", "cancel"] | None
    waiting: dict[str, dict[str, Json]]
    steps: dict[str, Kept]
    ending: dict[str, Json] | None
    deadline_ms: int | None
    resumed_ms: int
    attempts: int = 0
    status: dict[str, Json] = field(default_factory=dict)


def now_ms() -> int:
    """Return the time, as the tables keep it."""
    return time.time_ns() // 1_000_000


def dump(value: Json) -> str:
    """Return a JSON value as text; raises CallerError for what is no JSON."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise CallerError(f"Only JSON can be kept: {error}.", "Return dicts, lists, text, numbers.") from error


def load(text: str | None, where: str) -> Any:
    """Return the JSON value of a text that was stored; raises Damaged."""
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise Damaged(f"What is stored of {where} is no JSON.", "Restore it from a backup.") from error


def owner_text(owner: Owner) -> str:
    """Return an owner as it is stored."""
    return dump(asdict(owner))


def _owner(text: str, run_id: str) -> Owner:
    stored = load(text, f"the owner of {run_id}")
    workspaces = stored["workspaces"]
    return Owner(stored["principal"], tuple(stored["roles"]), None if workspaces is None else tuple(workspaces))


def failure_text(failure: Failure | None) -> str | None:
    """Return a failure as it is stored."""
    return None if failure is None else dump(asdict(failure))


def _failure(text: str | None, where: str) -> Failure | None:
    stored = load(text, where)
    return None if stored is None else Failure(stored["code"], stored["message"], stored.get("hint"))


def inputs_text(arguments: Json) -> str:
    """Return a run's arguments in DBOS's portable form."""
    return dump({"positionalArgs": [arguments], "namedArgs": {}})


def _run(row: Row) -> Run:
    run_id, state, wish, in_dbos = row[0], row[4], row[5], row[14]
    shown: RunState = state
    if state == "active":
        if wish == "pause":
            shown = "paused"
        elif in_dbos in _IN_LINE:
            shown = "queued"
        else:
            shown = "running" if row[10] == "{}" else "waiting"
    inputs = load(row[15], f"the arguments of {run_id}")
    try:
        arguments = inputs["positionalArgs"][0]
    except (TypeError, KeyError, IndexError) as error:
        raise Damaged(f"The arguments of {run_id} are not as they were stored.") from error
    return Run(
        id=run_id,
        workflow=row[1],
        version=row[2],
        state=shown,
        owner=_owner(row[3], run_id),
        arguments=arguments,
        created_at=moment(row[12]),
        updated_at=moment(row[13]),
        queue=row[6],
        result=load(row[16], f"the result of {run_id}") if state == "completed" else None,
        failure=_failure(row[11], f"the failure of {run_id}"),
        status=load(row[9], f"the status of {run_id}"),
        parent=row[7],
        forked_from=row[8],
    )


def moment(milliseconds: int) -> datetime:
    """Return a stored time."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def read_run(transaction: Transaction, run_id: str) -> Run:
    """Return a run; raises NotFound."""
    row = transaction.one(_COLUMNS + "WHERE r.run_id = ?", run_id)
    if row is None:
        raise NotFound(f"There is no run {run_id}.", "List the runs.", argument="run")
    return _run(row)


def read_loaded(transaction: Transaction, run_id: str) -> Loaded:
    """Return a run with all that was remembered of it; raises NotFound, Damaged."""
    run = read_run(transaction, run_id)
    row = transaction.one(
        "SELECT r.wish, r.waiting, r.ending, r.deadline_ms, r.resumed_ms, s.recovery_attempts "
        "FROM our.workflow_runs r JOIN dbos.workflow_status s ON s.workflow_uuid = r.run_id WHERE r.run_id = ?",
        run_id,
    )
    if row is None:
        raise NotFound(f"There is no run {run_id}.", argument="run")
    return Loaded(
        run=run,
        wish=row[0],
        waiting=load(row[1], f"what {run_id} waits for"),
        steps={kept.place: kept for kept in read_steps(transaction, run_id)},
        ending=load(row[2], f"the end of {run_id}"),
        deadline_ms=row[3],
        resumed_ms=row[4],
        attempts=row[5] or 0,
        status=dict(run.status),
    )


def read_steps(transaction: Transaction, run_id: str) -> list[Kept]:
    """Return the steps of a run that have ended, in the order they began."""
    rows = transaction.all(
        "SELECT function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms, "
        "completed_at_epoch_ms FROM dbos.operation_outputs WHERE workflow_uuid = ? ORDER BY function_id",
        run_id,
    )
    kept = []
    for number, label, output, error, child, started, ended in rows:
        where = f"step {number} of {run_id}"
        place, _, name = label.partition(": ")
        failed = load(error, where)
        failure = None if failed is None else Failure(failed["code"], failed["message"], failed["data"])
        kept.append(
            Kept(number, place, name, load(output, where), failure, child, started or 0, ended or started or 0)
        )
    return kept


def error_text(failure: Failure) -> str:
    """Return a step's failure in DBOS's portable form."""
    return dump({"name": "StepFailed", "message": failure.message, "code": failure.code, "data": failure.hint})


def step_records(kept: list[Kept], waiting: dict[str, dict[str, Json]]) -> list[StepRecord]:
    """Return what people see of a run's steps: those that ended, and those that wait."""
    shown = [
        StepRecord(
            number=step.number,
            name=step.name,
            state="failed" if step.failure else "completed",
            result=step.result,
            failure=step.failure,
            child=step.child,
            started_at=moment(step.started_ms),
            ended_at=moment(step.ended_ms),
        )
        for step in kept
    ]
    shown += [
        StepRecord(spec["number"], spec["name"], "running", started_at=moment(spec["since_ms"]))
        for spec in waiting.values()
    ]
    return sorted(shown, key=lambda step: step.number)


def read_page(transaction: Transaction, query: RunQuery) -> tuple[list[Run], str | None]:
    """Return a page of runs, newest first, and the cursor of the next one."""
    conditions, parameters = ["1 = 1"], list[Any]()
    for column, value in (("r.principal", query.owner), ("r.workflow", query.workflow)):
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    if query.state is not None:
        conditions.append(_STATES[query.state])
    if query.cursor is not None:
        conditions.append("(r.created_ms, r.run_id) < (?, ?)")
        parameters += _read_cursor(query.cursor)
    rows = transaction.all(
        f"{_COLUMNS} WHERE {' AND '.join(conditions)} ORDER BY r.created_ms DESC, r.run_id DESC LIMIT ?",
        *parameters,
        query.limit + 1,
    )
    page = rows[: query.limit]
    more = len(rows) > len(page) and bool(page)
    return [_run(row) for row in page], _cursor(page[-1]) if more else None


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(f"{row[12]} {row[0]}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        created, _, run_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return int(created), run_id
    except (ValueError, binascii.Error) as error:
        raise CallerError("The cursor is none of ours.", "Begin again without one.", argument="cursor") from error


def append_event(
    transaction: Transaction,
    run_id: str,
    event_id: str,
    data: EventData,
    *,
    principal: str | None,
) -> None:
    """Put an event into the outbox, in the transaction of the transition that it tells of; once for an id."""
    transaction.run(
        "INSERT INTO our.workflow_outbox (id, run_id, type, data, principal, at_ms) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        event_id,
        run_id,
        data.event_type,
        data.model_dump_json(),
        principal,
        now_ms(),
    )
