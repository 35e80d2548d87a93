"""Cursors over findings: the sort key of the last one shown, so that pages stay right while parts are added."""

import base64
import binascii
import json

from quantum_suite.core.errors import CallerError
from quantum_suite.core.findings import Finding

SortKey = tuple[int, int, str, int, str]


def cursor_after(finding: Finding) -> str:
    """Return the cursor of the page that starts after `finding`."""
    return base64.urlsafe_b64encode(json.dumps(finding.sort_key).encode()).decode()


def read_cursor(cursor: str) -> SortKey:
    """Return the sort key in a cursor; raises CallerError for anything else."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        severity, confidence, path, line, fingerprint = key
    except (ValueError, TypeError, binascii.Error):
        severity = None
    if severity is None or [type(part) for part in key] != [int, int, str, int, str]:
        raise CallerError(
            "The cursor is not one that list_findings gave.",
            "Pass next_cursor of the previous page unchanged, or leave it out for the first page.",
            argument="cursor",
        )
    return (severity, confidence, path, line, fingerprint)
