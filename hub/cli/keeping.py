"""`quantum keys`: making, listing and ending API keys, in the data directory of the hub on this machine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Role
from quantum_suite.hub.access.keys import KeyRecord
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore
from quantum_suite.hub.cli.console import out, say, write_json, write_line
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.settings import read_settings

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


async def create_key(
    name: str, role: Role, workspaces: tuple[Path, ...], expires: str | None, data_dir: Path | None, as_json: bool
) -> ExitCode:
    """Make a key; it is shown once and kept nowhere."""
    with _store(data_dir) as store:
        record, token = store.create(
            name, (role,), workspaces=workspaces or None, expires_in_seconds=parse_duration(expires)
        )
    if as_json:
        write_json({**_plain(record), "key": token})
        return ExitCode.OK
    say(f"Key {record.name} ({role}), {_lifetime(record)}. It is shown this once:")
    write_line(token)
    return ExitCode.OK


async def show_keys(data_dir: Path | None, as_json: bool) -> ExitCode:
    """List every key there was."""
    with _store(data_dir) as store:
        records = store.list()
    if as_json:
        write_json({"keys": [_plain(record) for record in records]})
        return ExitCode.OK
    if not records:
        say("There are no keys; `quantum keys create NAME` makes one.")
        return ExitCode.OK
    table = Table("Name", "Id", "Role", "State", "Made", "Last used", "Workspaces", box=None, pad_edge=False)
    for record in records:
        table.add_row(
            Text(record.name, style="bold"),
            record.id,
            ", ".join(sorted(record.roles)),
            Text(_state(record)),
            _date(record.created_at),
            _date(record.last_used_at) or "never",
            Text(", ".join(record.workspaces or ()) or "the hub's"),
        )
    out().print(table)
    return ExitCode.OK


async def revoke_key(name: str, data_dir: Path | None, as_json: bool) -> ExitCode:
    """End a key."""
    with _store(data_dir) as store:
        record = store.revoke(name)
    if as_json:
        write_json(_plain(record))
    else:
        say(f"Key {record.name} ({record.id}) is revoked.")
    return ExitCode.OK


def parse_duration(text: str | None) -> float | None:
    """Read `90m`, `12h`, `30d`, `2w` as seconds; raises CallerError otherwise."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", text.strip().lower())
    if match is None:
        raise CallerError(f"'{text}' is no life time.", "Write e.g. 90m, 12h, 30d or 2w.", argument="expires")
    return float(int(match[1]) * _UNITS[match[2]])


@contextmanager
def _store(data_dir: Path | None) -> Iterator[SqliteKeyStore]:
    with SqliteKeyStore(read_settings({"data_dir": data_dir}).keys_file) as store:
        yield store


def _plain(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "roles": sorted(record.roles),
        "state": _state(record),
        "workspaces": list(record.workspaces) if record.workspaces is not None else None,
        "created_at": record.created_at.isoformat(),
        "expires_at": record.expires_at.isoformat() if record.expires_at else None,
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
        "last_used_at": record.last_used_at.isoformat() if record.last_used_at else None,
    }


def _state(record: KeyRecord) -> str:
    if record.revoked_at:
        return "revoked"
    return "expired" if record.expired(datetime.now(UTC)) else "active"


def _lifetime(record: KeyRecord) -> str:
    return f"until {_date(record.expires_at)}" if record.expires_at else "until revoked"


def _date(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else ""
