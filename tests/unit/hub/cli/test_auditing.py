"""`quantum audit` verifies, exports and shows; `quantum data` keeps keys and erases people."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from commandline.running import Quantum

from quantum_suite.core.errors import CallerError
from quantum_suite.core.events import Fence, NewEvent
from quantum_suite.hub.cli.auditing import parse_time
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.data_plane.stores import open_stores
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.audit.call_events import CallEnded, call_event
from quantum_suite.services.audit.chain.writer import ChainWriter
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.journal_relay import JournalRelay
from quantum_suite.services.audit.jsonl import JsonlAuditLog

RECORD = AuditRecord(
    time=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
    call_id="call_1",
    principal="key:ann",
    transport="http",
    method="tools/call",
    target="qsecure_scan\x1b[31m",
    upstream="qsecure",
    arguments_sha256="0" * 64,
    outcome="refused",
    reason="hidden",
    duration_ms=1.5,
    era="modern",
    protocol_version="2026-07-28",
)


@pytest.fixture
def data(home: Path) -> Path:
    """The data directory of a hub that recorded three calls and something about Ann."""
    directory = home / "data"
    (directory / "audit").mkdir(parents=True, mode=0o700)
    directory.chmod(0o700)
    with JsonlAuditLog(directory / "audit") as log:
        for _ in range(3):
            log.write(RECORD)
    anyio.run(fill, directory)
    return directory


async def fill(directory: Path) -> None:
    async with open_stores(HubSettings(data_dir=directory)) as stores:
        await JournalRelay(directory / "audit", stores.events).relay_once()
        told = call_event(RECORD, "evt_1").data
        assert isinstance(told, CallEnded)
        said = NewEvent(told, personal={"key:ann": {"email": "ann@example.org"}}, time=RECORD.time.replace(day=24))
        await stores.events.append("hub.calls/more", 0, [said])
        writer = ChainWriter(stores.events, stores.chain, stores.keys, stores.checkpoint_file)
        await writer.catch_up(Fence("audit-chain", 1))
        await writer.sign(Fence("audit-chain", 1))


def test_an_untouched_log_verifies(quantum: Quantum, data: Path) -> None:
    ran = quantum("audit", "verify", "--data-dir", str(data))
    assert (ran.code, ran.out) == (0, "The audit log verifies: 4 records, 4 events and 1 checkpoints.\n")
    told = json.loads(quantum("audit", "verify", "--data-dir", str(data), "--json").out)
    assert (told["intact"], told["first"], told["signed_number"]) == (True, None, 4)


def test_a_log_that_was_tampered_with_has_an_exit_code_of_its_own(quantum: Quantum, data: Path) -> None:
    with closing(sqlite3.connect(data / "events.db")) as connection, connection:
        connection.execute("UPDATE events SET time = '2001-01-01T00:00:00.000000Z' WHERE sequence = 2")
    ran = quantum("audit", "verify", "--data-dir", str(data))
    assert ran.code == ExitCode.TAMPERED == 5
    assert ran.out.startswith("event 2 at position 2 (event evt_")
    assert "altered" in ran.out
    told = quantum("audit", "verify", "--data-dir", str(data), "--json")
    assert told.code == 5
    first = json.loads(told.out)["first"]
    assert (first["kind"], first["subject"], first["number"]) == ("altered", "event", 2)
    assert quantum("audit", "verify", "--data-dir", str(data), "--chain-only").code == 0


def test_keys_and_checkpoints_kept_elsewhere_verify_the_log(quantum: Quantum, data: Path, home: Path) -> None:
    kept, copy = home / "keys.json", home / "checkpoints.jsonl"
    kept.write_text(quantum("audit", "public-keys", "--data-dir", str(data), "--json").out)
    copy.write_bytes((data / "audit" / "checkpoints.jsonl").read_bytes())
    arguments = [
        "audit",
        "verify",
        "--data-dir",
        str(data),
        "--public-keys",
        str(kept),
        "--checkpoints",
        str(copy),
    ]
    assert quantum(*arguments).code == 0
    kept.write_text('{"keys": []}')
    ran = quantum(*arguments)
    assert ran.code == 5
    assert "none of this installation's" in ran.out
    kept.write_text("nonsense")
    assert quantum(*arguments).code == ExitCode.USAGE


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_an_export_holds_every_event_and_nothing_said_of_people(quantum: Quantum, data: Path, form: str) -> None:
    ran = quantum("audit", "export", "--format", form, "--data-dir", str(data))
    assert ran.code == 0
    assert len([json.loads(line) for line in ran.out.splitlines()]) == 4
    assert "ann@example.org" not in ran.out
    target = data / "export"
    ran = quantum("audit", "export", "-o", str(target), "--since", "2026-11-24", "--data-dir", str(data))
    assert (ran.code, ran.err) == (0, f"Wrote 1 events to {target}.\n")
    assert len(target.read_bytes().splitlines()) == 1


def test_an_export_whose_reader_has_enough_ends_quietly(data: Path) -> None:
    command = f"{sys.executable} -m quantum_suite.hub.cli audit export --data-dir {data} | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_the_last_calls_are_shown_without_what_would_steer_the_terminal(quantum: Quantum, data: Path) -> None:
    ran = quantum("audit", "tail", "-n", "2", "--data-dir", str(data))
    assert ran.code == 0
    assert ran.out.count("key:ann") == 2
    assert "refused (hidden)" in ran.out
    assert "\x1b" not in ran.out
    assert len(json.loads(quantum("audit", "tail", "--json", "--data-dir", str(data)).out)["calls"]) == 3


def test_erasing_a_person_keeps_the_log_verifiable(quantum: Quantum, data: Path) -> None:
    assert quantum("data", "erase", "key:ann", "--data-dir", str(data), "--json").code == ExitCode.USAGE
    ran = quantum("data", "erase", "key:ann", "--yes", "--data-dir", str(data))
    assert (ran.code, "destroyed" in ran.err) == (0, True)
    assert "nothing is kept" in quantum("data", "erase", "key:ann", "--yes", "--data-dir", str(data)).err
    assert quantum("audit", "verify", "--data-dir", str(data)).code == 0
    assert json.loads(quantum("data", "keys", "--data-dir", str(data), "--json").out)["subjects"] == 0


def test_a_rotation_leaves_everything_readable(quantum: Quantum, data: Path) -> None:
    before = quantum("audit", "export", "--data-dir", str(data)).out
    made = json.loads(quantum("data", "rotate-keys", "--data-dir", str(data), "--json").out)
    assert made["rewrapped"] == 1
    told = json.loads(quantum("data", "keys", "--data-dir", str(data), "--json").out)
    assert (told["current"], len(told["keys"])) == (made["key"], 2)
    assert quantum("audit", "export", "--data-dir", str(data)).out == before
    assert quantum("audit", "verify", "--data-dir", str(data)).code == 0


def test_a_key_file_others_may_read_stops_every_command_and_names_the_remedy(quantum: Quantum, data: Path) -> None:
    (data / "encryption-keys.json").chmod(0o644)
    for command in (["audit", "export"], ["audit", "verify"], ["data", "keys"]):
        ran = quantum(*command, "--data-dir", str(data))
        assert ran.code == ExitCode.USAGE
        assert "chmod 600" in ran.err


def test_where_there_is_no_hub_nothing_is_made(quantum: Quantum, home: Path) -> None:
    nowhere = home / "nowhere"
    for command in (["audit", "verify"], ["data", "keys"], ["audit", "export"]):
        assert quantum(*command, "--data-dir", str(nowhere)).code == ExitCode.USAGE
    assert quantum("audit", "tail", "--data-dir", str(nowhere)).code == 0
    assert not nowhere.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, expected: datetime) -> None:
    assert parse_time(text, "since") == expected


def test_other_times_are_refused() -> None:
    with pytest.raises(CallerError, match="no time"):
        parse_time("yesterday", "since")
