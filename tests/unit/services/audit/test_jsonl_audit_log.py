"""What the JSON Lines log adds to the contract: files, crashes, full disks."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from quantum_suite.core.errors import ConfigurationError, Unavailable
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.jsonl import JsonlAuditLog

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RECORD = AuditRecord(
    NOON, "call_0", "local", "stdio", "ping", None, None, "0" * 64, "ok", None, 0.1, "modern", "2026-07-28"
)

WRITER = """
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.jsonl import JsonlAuditLog

directory, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
record = AuditRecord(
    datetime(2026, 11, 23, 12, tzinfo=UTC), "", "local", "stdio", "ping", None, None, "0" * 64, "ok", None, 0.1,
    "modern", "2026-07-28", "x" * 200,
)
log = JsonlAuditLog(directory, max_bytes=64 * 1024)
for number in range(count):
    log.write(replace(record, call_id=f"{name}_{number}"))
    print(number, flush=True)
"""


def writer(directory: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(directory), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_every_acknowledged_record_survives_kill_9(tmp_path: Path) -> None:
    with writer(tmp_path, "w", 1_000_000) as child:
        assert child.stdout is not None
        acknowledged = -1
        while acknowledged < 500:
            acknowledged = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        for line in child.stdout.read().splitlines():
            acknowledged = int(line)
        assert child.wait() == -signal.SIGKILL
    with JsonlAuditLog(tmp_path) as log:
        written = [record.call_id for record in log.read()]
    assert written[: acknowledged + 1] == [f"w_{n}" for n in range(acknowledged + 1)]


def test_processes_share_a_log_and_its_rotation_without_losing_or_tearing_a_line(tmp_path: Path) -> None:
    children = [writer(tmp_path, name, 400) for name in "ab"]
    for child in children:
        with child:
            child.communicate()
            assert child.returncode == 0
    assert len(names(tmp_path)) > 1
    with JsonlAuditLog(tmp_path) as log:
        written = [record.call_id for record in log.read()]
    for name in "ab":
        assert [c for c in written if c.startswith(name)] == [f"{name}_{n}" for n in range(400)]


def test_files_are_for_the_owner_alone_and_one_a_day(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    with JsonlAuditLog(directory) as log:
        log.write(RECORD)
        log.write(replace(RECORD, time=NOON + timedelta(days=1)))
        log.write(RECORD)  # the clock was set back
    assert names(directory) == ["audit-2026-11-23.0000.jsonl", "audit-2026-11-24.0000.jsonl"]
    assert [path.stat().st_mode & 0o777 for path in directory.iterdir()] == [0o600, 0o600]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len((directory / "audit-2026-11-24.0000.jsonl").read_bytes().splitlines()) == 2


def test_a_large_file_is_left_for_the_next_and_tail_reads_across_them(tmp_path: Path) -> None:
    with JsonlAuditLog(tmp_path, max_bytes=1000) as log:
        for number in range(20):
            log.write(replace(RECORD, call_id=f"call_{number}"))
        assert [r.call_id for r in log.tail(12)] == [f"call_{n}" for n in range(8, 20)]
    assert len(names(tmp_path)) > 3
    with JsonlAuditLog(tmp_path, max_bytes=1000) as log:
        log.write(replace(RECORD, call_id="call_20"))
        assert [r.call_id for r in log.read()] == [f"call_{n}" for n in range(21)]


def test_a_line_torn_by_a_crash_is_passed_over_and_named_and_spoils_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "audit-2026-11-23.0000.jsonl"
    whole = orjson.dumps(RECORD)
    file.write_bytes(whole + b"\n" + whole[:40])
    with JsonlAuditLog(tmp_path) as log:
        log.write(replace(RECORD, call_id="after"))
        with caplog.at_level(logging.WARNING):
            assert [r.call_id for r in log.read()] == ["call_0", "after"]
        assert [r.call_id for r in log.tail(2)] == ["call_0", "after"]
    assert "line 2" in caplog.text


def test_a_field_of_a_later_release_is_passed_over(tmp_path: Path) -> None:
    line = orjson.loads(orjson.dumps(RECORD)) | {"from_the_future": 1}
    (tmp_path / "audit-2026-11-23.0000.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    with JsonlAuditLog(tmp_path) as log:
        assert list(log.read()) == [RECORD]


def test_a_full_disk_refuses_until_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = os.write
    room = 60

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        taken = min(room, len(data))
        room -= taken
        return real_write(descriptor, data[:taken])

    with JsonlAuditLog(tmp_path) as log:
        log.write(RECORD)
        with monkeypatch.context() as patched:
            patched.setattr("quantum_suite.services.audit.jsonl.os.write", write)
            for _ in range(2):  # first in part, then not at all
                with pytest.raises(Unavailable, match=r"cannot be written"):
                    log.write(replace(RECORD, call_id="lost"))
            with pytest.raises(Unavailable, match="No space left"):
                log.check()
        log.check()
        log.write(replace(RECORD, call_id="after"))
        assert [r.call_id for r in log.read()] == ["call_0", "after"]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/audit cannot be made"):
        JsonlAuditLog(tmp_path / "file" / "audit")


def test_a_file_removed_while_in_use_is_noticed_and_a_new_one_begun(tmp_path: Path) -> None:
    with JsonlAuditLog(tmp_path, sync_seconds=3600) as log:
        log.write(RECORD)
        (tmp_path / "audit-2026-11-23.0000.jsonl").unlink()
        log._sync()
        log.write(replace(RECORD, call_id="after"))
        assert [r.call_id for r in log.read()] == ["after"]


def test_a_failed_sync_makes_the_next_write_prove_the_disk_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with JsonlAuditLog(tmp_path, sync_seconds=3600) as log:
        log.write(RECORD)
        with monkeypatch.context() as patched:
            patched.setattr("quantum_suite.services.audit.jsonl.os.fsync", fail)
            log._sync()
            with pytest.raises(Unavailable, match="Input/output error"):
                log.write(RECORD)
        log.check()
        log.write(replace(RECORD, call_id="after"))
        assert [r.call_id for r in log.tail(1)] == ["after"]


def test_closing_brings_records_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real_fsync = os.fsync
    log = JsonlAuditLog(tmp_path, sync_seconds=3600)
    log.write(RECORD)

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real_fsync(descriptor)

    monkeypatch.setattr("quantum_suite.services.audit.jsonl.os.fsync", fsync)
    log.close()
    assert synced == [(tmp_path / "audit-2026-11-23.0000.jsonl").stat().st_size]
