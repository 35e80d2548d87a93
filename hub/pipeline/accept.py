"""Records what may change something before it runs."""

from collections.abc import Callable
from datetime import datetime

from quantum_suite.hub.call import Call, Handler, Json
from quantum_suite.hub.pipeline.audit_record import CallRecorder
from quantum_suite.services.audit.interface import AuditLog


class AcceptStage:
    """Records a tool call that may change something, before it runs, so that a crash leaves a trace.

    Stands below the stages that may still refuse the call or ask about it. Raises Unavailable, and does not call
    on, when the record cannot be written.
    """

    def __init__(self, log: AuditLog, *, now: Callable[[], datetime] | None = None) -> None:
        self._log = log
        self._recorder = CallRecorder(now)

    async def __call__(self, call: Call, handler: Handler) -> Json:
        """Record the call where it may change something, then call on."""
        if call.method == "tools/call" and call.target is not None and not call.target.read_only:
            self._log.write(self._recorder.record(call, "accepted"))
        return await handler(call)
