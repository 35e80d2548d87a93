"""The journal's files and lines: how they are named, and how a line is read."""

import logging
import re
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from quantum_suite.services.audit.interface import AuditRecord

logger = logging.getLogger(__name__)

_FILE = re.compile(r"audit-(\d{4}-\d{2}-\d{2})\.(\d{4,})\.jsonl")
_FIELDS = frozenset(field.name for field in fields(AuditRecord))


@dataclass(frozen=True, slots=True, order=True)
class JournalFile:
    """One file of the journal."""

    day: date
    number: int
    path: Path


def journal_files(directory: Path) -> list[JournalFile]:
    """Return the journal's files in the order they were begun in."""
    matches = [(_FILE.fullmatch(path.name), path) for path in directory.iterdir()]
    return sorted(
        JournalFile(date.fromisoformat(match[1]), int(match[2]), path)
        for match, path in matches
        if match is not None
    )


def decode_record(line: bytes, path: Path, number: int) -> AuditRecord | None:
    """Read a line; None for an empty one, and, with a warning, for one that is no whole record."""
    if line == b"\n":
        return None
    try:
        values: dict[str, Any] = orjson.loads(line)
        values["time"] = datetime.fromisoformat(values["time"])
        if not values.keys() <= _FIELDS:  # a newer release says more
            values = {name: value for name, value in values.items() if name in _FIELDS}
        return AuditRecord(**values)
    except (ValueError, TypeError, KeyError):
        logger.warning("%s, line %d is not a whole audit record; passed over.", path, number)
        return None
