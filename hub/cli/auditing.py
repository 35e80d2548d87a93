"""`quantum audit`: verifying, exporting and showing the audit log of the hub on this machine."""

import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.table import Table
from rich.text import Text

from quantum_suite.core.errors import CallerError, ConfigurationError, Unavailable
from quantum_suite.hub.cli.console import out, printable, say, write_json, write_line
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.keeping import parse_duration
from quantum_suite.hub.data_plane.stores import Stores, open_stores
from quantum_suite.hub.settings import HubSettings, read_settings
from quantum_suite.services.audit.chain.checkpoints import CheckpointFile, PublicKeys
from quantum_suite.services.audit.chain.checkpoints import public_keys as keys_of
from quantum_suite.services.audit.export import Format, export
from quantum_suite.services.audit.findings import Report
from quantum_suite.services.audit.interface import AuditRecord
from quantum_suite.services.audit.jsonl import JsonlAuditLog
from quantum_suite.services.audit.verify import verify


async def verify_audit(
    chain_only: bool, keys_file: Path | None, checkpoints: Path | None, data_dir: Path | None, as_json: bool
) -> ExitCode:
    """Verify the chain and say what is wrong first."""
    async with opened(data_dir) as stores:
        keys = _read_public_keys(keys_file) if keys_file is not None else await keys_of(stores.keys)
        file = _copy(checkpoints) if checkpoints is not None else stores.checkpoint_file
        report = await verify(
            stores.chain, keys, events=None if chain_only else stores.events, checkpoint_file=file
        )
    if as_json:
        first = asdict(report.first) if report.first else None
        write_json({"intact": report.intact, "first": first, **asdict(report)})
    else:
        _print_report(report, chain_only)
    return ExitCode.OK if report.intact else ExitCode.TAMPERED


async def export_audit(
    form: Format, since: str | None, until: str | None, output: Path | None, data_dir: Path | None
) -> ExitCode:
    """Write the events, a line each, to a file or stdout."""
    first, last = parse_time(since, "since"), parse_time(until, "until")
    async with opened(data_dir) as stores:
        if output is None:
            try:
                await _write(stores, form, first, last, sys.stdout.buffer)
            except BrokenPipeError:
                # The reader (`head`) has enough. What is still buffered must not be written when Python ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.OK
        try:
            with output.open("wb") as file:
                count = await _write(stores, form, first, last, file)
        except OSError as error:
            raise CallerError(f"{output} cannot be written: {error.strerror}.", argument="output") from error
    say(f"Wrote {count:,} events to {output}.")
    return ExitCode.OK


async def show_last_calls(count: int, data_dir: Path | None, as_json: bool) -> ExitCode:
    """Print the last records of the journal."""
    directory = read_settings({"data_dir": data_dir}).data_dir / "audit"
    records: list[AuditRecord] = []
    if await anyio.Path(directory).is_dir():
        with JsonlAuditLog(directory) as log:
            records = log.tail(count)
    if as_json:
        write_json({"calls": [{**asdict(record), "time": record.time.isoformat()} for record in records]})
        return ExitCode.OK
    if not records:
        say("No call was recorded yet.")
        return ExitCode.OK
    table = Table("Time", "Who", "Method", "Target", "Outcome", "ms", box=None, pad_edge=False)
    for record in records:
        table.add_row(
            record.time.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            Text(printable(record.principal or "nobody")),
            Text(printable(record.method)),
            Text(printable(record.target or "")),
            Text(record.outcome + (f" ({record.reason})" if record.reason else "")),
            "" if record.duration_ms is None else f"{record.duration_ms:,.1f}",
        )
    out().print(table)
    return ExitCode.OK


async def show_public_keys(data_dir: Path | None, as_json: bool) -> ExitCode:
    """Print the public keys, oldest first."""
    async with opened(data_dir) as stores:
        keys = await keys_of(stores.keys)
    listed = [
        {"id": key_id, "ed25519": base64.b64encode(key.public_bytes_raw()).decode()}
        for key_id, key in keys.items()
    ]
    if as_json:
        write_json({"keys": listed})
        return ExitCode.OK
    for key in listed:
        write_line(f"{key['id']} ed25519 {key['ed25519']}")
    if not listed:
        say("There are no keys yet: the hub makes the first one.")
    return ExitCode.OK


@asynccontextmanager
async def opened(data_dir: Path | None) -> AsyncIterator[Stores]:
    """Open the stores of the hub on this machine; raises ConfigurationError where there is none."""
    settings: HubSettings = read_settings({"data_dir": data_dir})
    if not await anyio.Path(settings.data_dir).is_dir():
        raise ConfigurationError(
            f"There is no data directory {settings.data_dir}.",
            "Name the hub's with --data-dir or QUANTUM_DATA_DIR.",
        )
    async with open_stores(settings) as stores:
        yield stores


def parse_time(text: str | None, argument: str) -> datetime | None:
    """Read a date, a time (UTC where it names no zone) or an age such as `7d`; raises CallerError otherwise."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - timedelta(seconds=parse_duration(text) or 0)
        except CallerError as error:
            raise CallerError(
                f"'{text}' is no time.", "Write e.g. 2026-01-31, 2026-01-31T12:00Z or 7d.", argument=argument
            ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _print_report(report: Report, chain_only: bool) -> None:
    compared = "" if chain_only else f", {report.events:,} events"
    checked = f"{report.records:,} records{compared} and {report.checkpoints:,} checkpoints"
    if report.intact:
        write_line(f"The audit log verifies: {checked}.")
    for finding in report.findings:
        write_line(printable(str(finding)))
    if not report.intact:
        say(f"The audit log does NOT verify. Followed until there: {checked}.")
    signed = f"record {report.signed_number:,} ({report.signed_at})" if report.signed_at else "no record yet"
    say(f"Signed up to {signed}. {report.pending_events:,} events have no record yet.")
    for note in report.notes:
        say(f"Note: {note}")


async def _write(
    stores: Stores, form: Format, since: datetime | None, until: datetime | None, file: BinaryIO
) -> int:
    count = 0
    async with aclosing(export(stores.events, form, since=since, until=until)) as lines:
        async for line in lines:
            file.write(line)
            count += 1
    file.flush()
    return count


def _copy(path: Path) -> CheckpointFile:
    if not path.is_file():
        raise CallerError(f"There is no file {path}.", argument="checkpoints")
    return CheckpointFile(path)


def _read_public_keys(path: Path) -> PublicKeys:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(key["id"]): Ed25519PublicKey.from_public_bytes(base64.b64decode(key["ed25519"], validate=True))
            for key in value["keys"]
        }
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CallerError(
            f"{path} holds no public keys.",
            "`quantum audit public-keys --json` writes them.",
            argument="public-keys",
        ) from error
