"""Every call leaves an event, with digests in place of texts."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.events import EventData, NewEvent
from quantum_suite.core.ids import new_id
from quantum_suite.core.llm_events import ModelCallCompleted, ModelCallFailed, call_stream
from quantum_suite.services.events.interface import Appender
from quantum_suite.services.llm.call import Call
from quantum_suite.services.llm.interface import Finished

logger = logging.getLogger(__name__)

_APPEND_SECONDS = 10.0


@dataclass(slots=True)
class Audited:
    """A call that is being watched; tell it of the answer."""

    call: Call
    finished: Finished | None = None
    answer_digest: str = ""

    def answered(self, finished: Finished, digest: str) -> None:
        """Note how it ended."""
        self.finished = finished
        self.answer_digest = digest


@asynccontextmanager
async def audited(call: Call, events: Appender | None) -> AsyncIterator[Audited]:
    """Append an event for the call when it ends, however it ends.

    A log that is away takes no answer from anybody: the ledger has had the call's digest since before it was made.
    """
    watched = Audited(call)
    code = "abandoned"
    try:
        yield watched
    except SuiteError as error:
        code = error.code
        raise
    except anyio.get_cancelled_exc_class():
        code = "cancelled"
        raise
    finally:
        if events is not None:
            with anyio.move_on_after(_APPEND_SECONDS, shield=True):
                await _append(events, call, _completed(watched) or _failed(call, code))


async def _append(events: Appender, call: Call, data: EventData) -> None:
    event = NewEvent(data, principal=call.principal, correlation_id=call.request.correlation_id or None)
    try:
        await events.append(call_stream(new_id("call")), 0, [event])
    except SuiteError as error:
        logger.error("The end of model call %s is not in the event log: %s", call.id, error)


def _completed(watched: Audited) -> ModelCallCompleted | None:
    call, finished = watched.call, watched.finished
    if finished is None:
        return None
    return ModelCallCompleted(
        call=call.id,
        purpose=call.request.purpose,
        asked_for=call.request.model,
        provider=finished.provider,
        model=finished.model,
        request_digest=call.digest,
        answer_digest=watched.answer_digest,
        finish_reason=finished.reason,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        estimated=call.estimated,
        cost_usd=call.cost_usd,
        attempts=call.attempts,
        masked=call.masking.counts,
        seconds=round(call.seconds, 3),
    )


def _failed(call: Call, code: str) -> ModelCallFailed:
    return ModelCallFailed(
        call=call.id,
        purpose=call.request.purpose,
        asked_for=call.request.model,
        request_digest=call.digest,
        code=code,
        providers=tuple(dict.fromkeys(call.asked)),
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cost_usd=call.cost_usd,
        attempts=call.attempts,
        seconds=round(call.seconds, 3),
    )
