"""A scan in JSON, and the list of scans."""

import json
from collections.abc import Iterable
from typing import Any

from quantum_suite.core.scans import ScanRecord
from quantum_suite.core.uris import ResourceUri


def scan_uri(scan_id: str, view: str | None = None) -> str:
    """Return the URI of a scan, or of one view of it."""
    return str(ResourceUri("qsecure", "scans", scan_id, view))


def finding_uri(finding_id: str) -> str:
    """Return the URI of a finding, named `<scan>.<fingerprint>`."""
    return str(ResourceUri("qsecure", "findings", finding_id))


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


LATEST = scan_uri("latest")
"""The reader's own newest scans."""


def scan_json(record: ScanRecord) -> str:
    """Return everything known about a scan but its findings, with links to those."""
    data: dict[str, Any] = record.model_dump(mode="json", exclude={"owner"})
    data["links"] = {
        "sarif": scan_uri(record.id, "sarif"),
        "markdown": scan_uri(record.id, "markdown"),
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def scans_json(records: Iterable[ScanRecord]) -> str:
    """Return a short list of scans, newest first."""
    rows = [
        {
            "id": record.id,
            "uri": scan_uri(record.id),
            "root": record.request.root,
            "state": record.state,
            "started_at": record.started_at.isoformat(),
            "counts": record.counts.model_dump(),
        }
        for record in records
    ]
    return json.dumps({"scans": rows}, indent=2, ensure_ascii=False)
