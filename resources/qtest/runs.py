"""A run in JSON, and the list of runs."""

import json
from collections.abc import Iterable
from typing import Any

from quantum_suite.core.uris import ResourceUri
from quantum_suite.services.testing.report_store import RunRecord

MEDIA_TYPES = {
    "junit": "application/xml",
    "cobertura": "application/xml",
    "lcov": "text/plain",
    "html": "text/html",
    "mutation": "application/json",
}


def run_uri(run: str, view: str | None = None) -> str:
    """Return the URI of a run, or of one of its reports."""
    return str(ResourceUri("qtest", "runs", run, view))


def _row(record: RunRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "root": record.root,
        "stored_at": record.stored_at,
        "summary": record.summary,
        "reports": {view: run_uri(record.id, view) for view in record.views},
    }


def run_json(record: RunRecord) -> str:
    """Return what is known of a run, with links to its reports."""
    return json.dumps(_row(record), indent=2, ensure_ascii=False)


def runs_json(records: Iterable[RunRecord]) -> str:
    """Return a list of runs, newest first."""
    return json.dumps({"runs": [_row(record) for record in records]}, indent=2, ensure_ascii=False)
