"""Every call leaves a record, and no record says more than it may."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import (
    UPSTREAM_UNAVAILABLE,
    Call,
    Credentials,
    Handler,
    Json,
    NoPeer,
    RpcError,
    Session,
)
from quantum_suite.hub.pipeline.accept import AcceptStage
from quantum_suite.hub.pipeline.audit import AuditStage
from quantum_suite.hub.pipeline.chain import fold
from quantum_suite.hub.pipeline.errors import RefusedCall, translate_errors
from quantum_suite.hub.target import Target
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.audit.memory import MemoryAuditLog

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DROP = Target("tool", "ops_drop", "ops", "drop", destructive=True)
SHOW = Target("tool", "ops_show", "ops", "show", read_only=True)
GITHUB_TOKEN = "ghp_" + "a" * 36


def answering(result: Json) -> Handler:
    async def handler(call: Call) -> Json:
        return result

    return handler


def raising(error: BaseException) -> Handler:
    async def handler(call: Call) -> Json:
        raise error

    return handler


class BrokenLog(MemoryAuditLog):
    """A log on a disk that is full when `broken`."""

    broken = False

    def check(self) -> None:
        if self.broken:
            raise Unavailable("The audit log cannot be written: the disk is full.")

    def write(self, record: AuditRecord) -> None:
        self.check()
        super().write(record)


async def record_of(call: Call, handler: Handler = answering({})) -> AuditRecord:  # noqa: B008 - a pure closure
    log = MemoryAuditLog()
    await AuditStage(log, now=lambda: NOW)(call, handler)
    (record,) = log.read()
    return record


async def test_a_record_says_who_called_what_and_how_it_went(make_call: MakeCall) -> None:
    ticks: Iterator[float] = iter([1.0, 1.25])
    log = MemoryAuditLog()
    params = {"name": "ops_drop", "arguments": {"b": 1, "a": "ü"}, "_meta": {"progressToken": 7}}
    call = make_call(params=params, target=DROP, client_info={"name": "claude", "version": "1.2"})
    await AuditStage(log, now=lambda: NOW, monotonic=lambda: next(ticks))(call, answering({"content": []}))
    canonical = orjson.dumps({"arguments": {"a": "ü", "b": 1}, "name": "ops_drop"})
    assert list(log.read()) == [
        AuditRecord(
            time=NOW,
            call_id="call_1",
            principal="key:ops",
            transport="http",
            method="tools/call",
            target="ops_drop",
            upstream="ops",
            arguments_sha256=hashlib.sha256(canonical).hexdigest(),
            outcome="ok",
            reason=None,
            duration_ms=250.0,
            era="modern",
            protocol_version="2026-07-28",
            client_name="claude",
            client_version="1.2",
            trace_id=None,
        )
    ]


@pytest.mark.parametrize(
    ("method", "result", "outcome"),
    [
        ("tools/call", {"isError": True}, "tool_error"),
        ("tools/call", {"isError": False}, "ok"),
        ("resources/read", {"isError": True}, "ok"),
        ("tools/call", {"resultType": "input_required"}, "input_required"),
        ("tools/call", {"resultType": "complete"}, "ok"),
    ],
)
async def test_the_outcome_is_read_off_the_result(
    make_call: MakeCall, method: str, result: Json, outcome: str
) -> None:
    assert (await record_of(make_call(method=method), answering(result))).outcome == outcome


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (RpcError(-32602, "Unknown tool: x"), "error:-32602", None),
        (RpcError(-32012, "an upstream's own refusal"), "error:-32012", None),
        (RefusedCall(-32602, "Unknown tool: x", reason="hidden"), "refused", "hidden"),
        (ZeroDivisionError(), "error:internal", None),
    ],
)
async def test_the_outcome_tells_the_hubs_refusals_from_other_errors(
    make_call: MakeCall, error: Exception, outcome: str, reason: str | None
) -> None:
    log = MemoryAuditLog()
    with pytest.raises(type(error)) as caught:
        await AuditStage(log)(make_call(), raising(error))
    assert caught.value is error
    (record,) = log.read()
    assert (record.outcome, record.reason) == (outcome, reason)


async def test_a_cancelled_call_is_recorded_and_stays_cancelled_even_when_the_log_fails(
    make_call: MakeCall,
) -> None:
    log = BrokenLog()

    async def hang(call: Call) -> Json:
        log.broken = call.id == "second"
        await anyio.sleep_forever()
        raise AssertionError

    for call_id in ("first", "second"):
        with anyio.CancelScope() as scope:
            scope.deadline = anyio.current_time() + 0.01
            await AuditStage(log)(make_call(id=call_id), hang)
        assert scope.cancelled_caught
    assert [(r.call_id, r.outcome) for r in log.read()] == [("first", "cancelled")]


async def test_an_unauthenticated_caller_and_an_unknown_name_are_on_record(make_call: MakeCall) -> None:
    record = await record_of(make_call(principal=None, params={"name": "nothing_there"}))
    assert (record.principal, record.target, record.upstream) == (None, "nothing_there", None)
    record = await record_of(make_call(method="resources/read", params={"uri": "db://x"}))
    assert record.target == "db://x"


async def test_the_principal_is_the_one_found_below(make_call: MakeCall) -> None:
    principal = make_call().principal

    async def authenticate(call: Call) -> Json:
        call.principal = principal
        return {}

    assert (await record_of(make_call(principal=None), authenticate)).principal == "key:ops"


async def test_every_round_of_a_call_has_the_same_digest_and_other_arguments_another(make_call: MakeCall) -> None:
    first = {"name": "x", "arguments": {"a": 1, "b": [1, 2]}}
    again = {"arguments": {"b": [1, 2], "a": 1}, "name": "x", "requestState": "s", "inputResponses": {}}
    other = {"name": "x", "arguments": {"a": 1, "b": [2, 1]}}
    digests = [(await record_of(make_call(params=p))).arguments_sha256 for p in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]


async def test_arguments_that_fast_json_cannot_write_are_digested_all_the_same(make_call: MakeCall) -> None:
    digests = {
        (await record_of(make_call(params={"arguments": {"n": value}}))).arguments_sha256
        for value in (2**64, 2**64 + 1, "\ud800")
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (f"read_{GITHUB_TOKEN}", "read_***"),
        ("https://me:hunter2@example.com/x", "https://***@example.com/x"),
        ("https://example.com/x?page=2&api_key=hunter2#top", "https://example.com/x?page=2&api_key=***#top"),
        ("x" * 500 + GITHUB_TOKEN, "(540 characters, not kept)"),
        (12, None),
    ],
)
async def test_secrets_in_names_are_masked_and_long_names_left_out(
    make_call: MakeCall, name: Any, kept: str | None
) -> None:
    call = make_call(params={"name": name}, client_info={"name": name, "version": name})
    record = await record_of(call)
    assert (record.target, record.client_name, record.client_version) == (kept, kept, kept)


async def test_argument_values_and_tokens_appear_nowhere(make_call: MakeCall, tmp_path: Path) -> None:
    call = make_call(
        params={"name": "x", "arguments": {"password": "hunter2", "note": "plain-value"}},
        credentials=Credentials("http", True, "bearer-value"),
    )
    with JsonlAuditLog(tmp_path) as log:
        await AuditStage(log)(call, answering({}))
    (file,) = tmp_path.iterdir()
    text = file.read_text()
    assert "call_1" in text
    assert not [value for value in ("hunter2", "plain-value", "bearer-value") if value in text]


async def test_a_name_that_is_no_valid_unicode_can_be_written(make_call: MakeCall, tmp_path: Path) -> None:
    with JsonlAuditLog(tmp_path) as log:
        await AuditStage(log)(make_call(method="x\ud800", params={"name": "\udfff"}), answering({}))
        (record,) = log.read()
    assert (record.method, record.target) == ("x\\ud800", "\\udfff")


async def test_a_handshake_client_is_named_from_its_session(make_call: MakeCall) -> None:
    principal = make_call().principal
    assert principal is not None
    session = Session("s", "2025-11-25", {}, {"name": "old", "version": "0.1"}, principal, NoPeer())
    record = await record_of(make_call(era="handshake", session=session))
    assert (record.era, record.client_name, record.client_version) == ("handshake", "old", "0.1")


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-later", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("nonsense", None),
        (7, None),
        (None, None),
    ],
)
async def test_the_trace_id_is_kept_where_it_is_well_formed(
    make_call: MakeCall, traceparent: Any, trace_id: str | None
) -> None:
    assert (await record_of(make_call(params={"_meta": {"traceparent": traceparent}}))).trace_id == trace_id


async def test_a_meta_that_is_no_object_is_no_error(make_call: MakeCall) -> None:
    assert (await record_of(make_call(params={"_meta": "x"}))).outcome == "ok"


async def test_a_call_that_may_change_something_is_on_record_before_it_runs(make_call: MakeCall) -> None:
    log = MemoryAuditLog()
    seen: list[list[str]] = []

    async def look(call: Call) -> Json:
        seen.append([r.outcome for r in log.read()])
        return {}

    handler = fold([AuditStage(log), AcceptStage(log)], look)
    await handler(make_call(target=DROP))
    assert seen == [["accepted"]]
    assert [(r.call_id, r.outcome, r.duration_ms is None) for r in log.read()] == [
        ("call_1", "accepted", True),
        ("call_1", "ok", False),
    ]


@pytest.mark.parametrize(
    ("method", "target"), [("tools/call", SHOW), ("tools/call", None), ("ping", None), ("resources/read", DROP)]
)
async def test_what_changes_nothing_leaves_one_record(
    make_call: MakeCall, method: str, target: Target | None
) -> None:
    log = MemoryAuditLog()
    await fold([AuditStage(log), AcceptStage(log)], answering({}))(make_call(method=method, target=target))
    assert [r.outcome for r in log.read()] == ["ok"]


async def test_while_the_log_cannot_be_written_calls_are_refused_before_they_start(make_call: MakeCall) -> None:
    log = BrokenLog()
    ran: list[str] = []

    async def run(call: Call) -> Json:
        ran.append(call.id)
        return {}

    handler = fold([AuditStage(log), translate_errors, AcceptStage(log)], run)
    log.broken = True
    with pytest.raises(RpcError, match="audit log cannot be written: the disk is full") as caught:
        await handler(make_call())
    assert caught.value.code == UPSTREAM_UNAVAILABLE
    assert caught.value.data == {"code": "unavailable", "retryable": True}
    log.broken = False
    await handler(make_call(id="after"))
    assert ran == ["after"]


async def test_an_answer_that_cannot_be_recorded_is_withheld(make_call: MakeCall) -> None:
    log = BrokenLog()

    async def fill_the_disk(call: Call) -> Json:
        log.broken = True
        return {"content": []}

    with pytest.raises(RpcError) as caught:
        await AuditStage(log)(make_call(), fill_the_disk)
    assert caught.value.code == UPSTREAM_UNAVAILABLE


async def test_a_change_that_cannot_be_recorded_does_not_run(make_call: MakeCall) -> None:
    log = BrokenLog()
    log.broken = True
    with pytest.raises(Unavailable):
        await AcceptStage(log)(make_call(target=DROP), raising(AssertionError("it ran")))
