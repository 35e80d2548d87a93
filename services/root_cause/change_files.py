"""Changes of a system as people keep them: a YAML list, or a CSV file with a header."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from quantum_suite.core.errors import CallerError
from quantum_suite.core.masking import mask_text
from quantum_suite.services.root_cause.interface import Change

MOST_CHANGES = 20_000
_MOST_TEXT = 300


def read_changes(told: Any, name: str) -> Sequence[Change]:
    """Return the changes of a list of mappings with `at`, `what` and maybe `service`; raises CallerError."""
    if not isinstance(told, list) or not all(isinstance(one, dict) for one in told):
        raise _wrong(f"{name}: the changes are no list of mappings.", "Write {at: ..., what: ..., service: ...}.")
    return _read(told, name, "changes[{}]", 0)


def read_changes_csv(text: str, name: str) -> Sequence[Change]:
    """Return the changes of a table with the columns at, what and service; raises CallerError with the line."""
    try:
        rows = csv.DictReader(io.StringIO(text), strict=True)
        if not {"at", "what"} <= set(rows.fieldnames or ()):
            raise _wrong(f"{name} has no columns at and what.", "Begin with the line: at,what,service")
        return _read([*rows], name, "line {}", 2)
    except csv.Error as error:
        raise _wrong(f"{name} is no CSV: {error}.") from error


def _read(rows: Sequence[Mapping[str, Any]], name: str, place: str, first: int) -> Sequence[Change]:
    if len(rows) > MOST_CHANGES:
        raise _wrong(f"{name} has {len(rows)} changes.", f"{MOST_CHANGES} is the most.")
    return [_change(row, name, place.format(index)) for index, row in enumerate(rows, first)]


def _change(row: Mapping[str, Any], name: str, place: str) -> Change:
    what, service = row.get("what"), row.get("service") or None
    if not isinstance(what, str) or not what.strip() or not isinstance(service, str | None):
        raise _wrong(f"{name}, {place}: what and service are texts, and what is needed.")
    node = service[:200] if service else None
    return Change(_time(row.get("at"), f"{name}, {place}"), mask_text(what.strip())[:_MOST_TEXT], node, name)


def _time(told: Any, place: str) -> float:
    try:
        if isinstance(told, int | float) and not isinstance(told, bool):
            return datetime.fromtimestamp(told, UTC).timestamp()
        moment = datetime.fromisoformat(str(told).strip())
    except (ValueError, OverflowError, OSError):
        raise _wrong(
            f"{place}: '{str(told)[:40]}' is no time.", "Write RFC 3339 or Unix seconds (in YAML)."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _wrong(message: str, hint: str | None = None) -> CallerError:
    return CallerError(message, hint, argument="system")
