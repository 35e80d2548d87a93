"""What every audit log guarantees, on every adapter."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.audit.interface import AuditLog, AuditRecord
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.audit.memory import MemoryAuditLog

RECORD = AuditRecord(
    time=datetime(2026, 11, 23, 12, 0, 0, 123456, UTC),
    call_id="call_1",
    principal="key:ci",
    transport="http",
    method="tools/call",
    target="ops_größe",
    upstream="ops",
    arguments_sha256="0" * 64,
    outcome="refused",
    reason="hidden",
    duration_ms=1.5,
    era="modern",
    protocol_version="2026-07-28",
    client_name="a\nclient",
    client_version="1.0",
    trace_id="0af7651916cd43dd8448eb211c80319c",
)


def record(number: int, **changes: object) -> AuditRecord:
    changed: dict[str, object] = {"call_id": f"call_{number}", **changes}
    return replace(RECORD, **changed)  # type: ignore[arg-type]  # the changes are fields by name


@pytest.fixture(params=["memory", "jsonl"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AuditLog]:
    made: AuditLog = MemoryAuditLog() if request.param == "memory" else JsonlAuditLog(tmp_path / "audit")
    yield made
    made.close()


def test_a_record_is_read_back_as_it_was_written(log: AuditLog) -> None:
    sparse = record(2, principal=None, target=None, upstream=None, reason=None, duration_ms=None, trace_id=None)
    log.write(RECORD)
    log.write(sparse)
    assert list(log.read()) == [RECORD, sparse]


def test_records_keep_their_order(log: AuditLog) -> None:
    for number in range(50):
        log.write(record(number))
    assert [r.call_id for r in log.read()] == [f"call_{n}" for n in range(50)]


def test_tail_returns_the_last_records_oldest_first(log: AuditLog) -> None:
    for number in range(10):
        log.write(record(number))
    assert [r.call_id for r in log.tail(3)] == ["call_7", "call_8", "call_9"]
    assert len(log.tail(100)) == 10
    assert log.tail(0) == []


def test_read_since_leaves_out_what_is_older(log: AuditLog) -> None:
    for days in range(4):
        log.write(record(days, time=RECORD.time + timedelta(days=days)))
    since = RECORD.time + timedelta(days=2)
    assert [r.call_id for r in log.read(since)] == ["call_2", "call_3"]


def test_threads_may_write_at_once_and_nothing_is_lost_or_torn(log: AuditLog) -> None:
    def write(worker: int) -> None:
        for number in range(100):
            log.write(record(worker * 1000 + number))

    workers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seen = [int(r.call_id.removeprefix("call_")) for r in log.read()]
    assert sorted(seen) == sorted(w * 1000 + n for w in range(4) for n in range(100))
    for worker_number in range(4):
        own = [n for n in seen if n // 1000 == worker_number]
        assert own == sorted(own)


def test_a_closed_log_refuses_writes_and_may_be_closed_again(log: AuditLog) -> None:
    log.write(RECORD)
    log.check()
    log.close()
    log.close()
    with pytest.raises(Unavailable, match="closed"):
        log.write(RECORD)
    with pytest.raises(Unavailable, match="closed"):
        log.check()
