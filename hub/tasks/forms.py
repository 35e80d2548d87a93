"""A run as clients see it: the task of the extension, and that of 2025-11-25."""

from datetime import UTC, datetime, timedelta

from quantum_suite.hub.call import CONNECTION_CLOSED, INTERNAL_ERROR, REQUEST_TIMEOUT, Json, RpcError
from quantum_suite.hub.tasks.extension import RELATED_TASK
from quantum_suite.hub.translation.results import to_handshake
from quantum_suite.services.workflows.interface import FINAL, PROGRESS_STATUS, Run

ERROR_STATUS = "error"
"""Where a run's status keeps the JSON-RPC error that its task failed with."""
INPUT_STATUS = "input"
"""Where a run's status keeps the requests that wait for the client, by key; None when none does."""

_MAX_MESSAGE = 1_000
_POLLS = ((10, 500), (60, 1_000), (600, 3_000))
_LONGEST_POLL_MS = 10_000


def outstanding(run: Run) -> Json:
    """Return the requests that wait for the client, by key."""
    requests = run.status.get(INPUT_STATUS)
    return requests if isinstance(requests, dict) and run.state not in FINAL else {}


def expired(run: Run, now: datetime) -> bool:
    """Whether the task can no longer be asked for."""
    return now >= run.created_at + timedelta(milliseconds=run.arguments["ttl_ms"])


def create_result(run: Run) -> Json:
    """Return the `CreateTaskResult` of the extension."""
    return {"resultType": "task", **_task(run, _status(run))}


def detailed(run: Run) -> Json:
    """Return the `DetailedTask` of the extension: a result, an error or requests, as the status has it."""
    status = _status(run)
    task = _task(run, status)
    if status == "input_required":
        task["inputRequests"] = outstanding(run)
    elif status == "completed":
        task["result"] = run.result["result"]
    elif status == "failed":
        task["error"] = error_of(run).as_json()
    return task


def handshake_task(run: Run) -> Json:
    """Return the `Task` of 2025-11-25, in which a tool's own error is a failed task."""
    status = _status(run)
    if status == "completed" and run.result["result"].get("isError") is True:
        status = "failed"
    task = _task(run, status)
    task["ttl"], task["pollInterval"] = task.pop("ttlMs"), task.pop("pollIntervalMs")
    return task


def handshake_result(run: Run) -> Json:
    """Return what the call would have returned, in the words of 2025-11-25; raises `RpcError` where it failed."""
    if run.state != "completed":
        raise error_of(run)
    result = to_handshake(run.result["result"])
    meta = result.get("_meta")
    return {**result, "_meta": {**(meta if isinstance(meta, dict) else {}), **related(run.id)}}


def related(task_id: str) -> Json:
    """Return the `_meta` that ties a message of 2025-11-25 to its task."""
    return {RELATED_TASK: {"taskId": task_id}}


def error_of(run: Run) -> RpcError:
    """Return the error that a task ended with."""
    if run.state == "cancelled" and run.failure is None:
        return RpcError(CONNECTION_CLOSED, "The task was cancelled.")
    said = run.status.get(ERROR_STATUS)
    if isinstance(said, dict):
        return RpcError(said["code"], said["message"], said.get("data"))
    failure = run.failure
    if failure is None:
        return RpcError(INTERNAL_ERROR, "The task failed.")
    code = REQUEST_TIMEOUT if failure.code in ("deadline_exceeded", "unavailable") else INTERNAL_ERROR
    data = {"code": failure.code, **({"hint": failure.hint} if failure.hint else {})}
    return RpcError(code, failure.message, data)


def _status(run: Run) -> str:
    if run.state == "cancelled" and run.failure is not None:
        return "failed"  # nobody asked for it: its time was up
    if run.state in FINAL:
        return run.state
    return "input_required" if outstanding(run) else "working"


def _task(run: Run, status: str) -> Json:
    task: Json = {
        "taskId": run.id,
        "status": status,
        "createdAt": _time(run.created_at),
        "lastUpdatedAt": _time(run.updated_at),
        "ttlMs": run.arguments["ttl_ms"],
        "pollIntervalMs": _poll_ms((run.updated_at - run.created_at).total_seconds()),
    }
    if message := _message(run, status):
        task["statusMessage"] = message[:_MAX_MESSAGE]
    return task


def _message(run: Run, status: str) -> str | None:
    match status:
        case "cancelled":
            return "The task was cancelled."
        case "failed":
            return "The tool reported an error." if run.state == "completed" else error_of(run).message
        case "input_required":
            return "The task waits for input."
        case "working" if run.state == "paused":
            return "The task is paused."
        case "working":
            return _progress(run)
    return None


def _progress(run: Run) -> str | None:
    said = run.status.get(PROGRESS_STATUS)
    if not isinstance(said, dict):
        return None
    done, total = said.get("progress"), said.get("total")
    amount = "" if done is None else f"{done:g}" + (f" of {total:g}" if total is not None else "")
    return " - ".join(part for part in (amount, said.get("message")) if part) or None


def _poll_ms(seconds: float) -> int:
    """The longer a task has been at work, the less often it is worth asking."""
    return next((pause for age, pause in _POLLS if seconds < age), _LONGEST_POLL_MS)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
