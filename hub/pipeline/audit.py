"""Records every call when it ends."""

import logging
import time
from collections.abc import Callable
from datetime import datetime

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import Call, Handler, Json, RpcError
from quantum_suite.hub.pipeline.audit_record import CallRecorder
from quantum_suite.hub.pipeline.errors import RefusedCall, as_rpc_error
from quantum_suite.services.audit.interface import AuditLog

logger = logging.getLogger(__name__)


class AuditStage:
    """One record a call: who asked what of whom, how it ended, how long it took.

    The record has reached the operating system before the answer leaves. While the log cannot be written, calls
    are refused before they start; a call that was under way when it failed has its answer withheld. This stage is
    the outermost: it raises `RpcError` alone.
    """

    def __init__(
        self,
        log: AuditLog,
        *,
        now: Callable[[], datetime] | None = None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._log = log
        self._recorder = CallRecorder(now)
        self._monotonic = monotonic

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Call on, and record how it ended."""
        try:
            self._log.check()
        except Unavailable as error:
            raise as_rpc_error(error) from error
        started = self._monotonic()
        try:
            result = await handler(call)
        except RefusedCall as error:
            self._record(call, started, "refused", error.reason)
            raise
        except RpcError as error:
            self._record(call, started, f"error:{error.code}")
            raise
        except Exception:
            self._record(call, started, "error:internal")
            raise
        except BaseException:
            self._record_cancelled(call, started)
            raise
        self._record(call, started, _outcome(call, result), _task_id(call, result))
        return result

    def _record(self, call: Call, started: float, outcome: str, reason: str | None = None) -> None:
        milliseconds = round((self._monotonic() - started) * 1000, 3)
        try:
            self._log.write(self._recorder.record(call, outcome, reason=reason, duration_ms=milliseconds))
        except Unavailable as error:
            logger.error("Call %s (%s) ended unrecorded: %s", call.id, outcome, error)
            raise as_rpc_error(error) from error

    def _record_cancelled(self, call: Call, started: float) -> None:
        try:
            self._record(call, started, "cancelled")
        except RpcError:
            return  # nobody is left to tell, and cancellation must not turn into an answer


def _outcome(call: Call, result: Json) -> str:
    if result.get("resultType") == "input_required":
        return "input_required"
    if _task_id(call, result) is not None:
        return "task"
    if call.method == "tools/call" and result.get("isError") is True:
        return "tool_error"
    return "ok"


def _task_id(call: Call, result: Json) -> str | None:
    """Return the id of the task that a tool call was answered with, in the form of either era."""
    if call.method != "tools/call":
        return None
    if result.get("resultType") == "task":
        task_id = result.get("taskId")
    else:
        task = result.get("task") if "content" not in result else None
        task_id = task.get("taskId") if isinstance(task, dict) else None
    return task_id if isinstance(task_id, str) else None
