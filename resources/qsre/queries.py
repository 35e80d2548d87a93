"""Results of queries: what was asked, and where the pages of data are."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from quantum_suite.core.uris import ResourceUri
from quantum_suite.services.metrics.result_store import ResultRecord, View

MEDIA_TYPES: dict[View, str] = {"json": "application/json", "csv": "text/csv"}


def query_uri(result: str) -> str:
    """Return the URI of what was asked."""
    return str(ResourceUri("qsre", "queries", result))


def data_uri(result: str, view: View, page: int = 1) -> str:
    """Return the URI of a page of data."""
    return str(ResourceUri("qsre", "queries", result, view if page == 1 else f"{view}-{page}"))


def query_json(record: ResultRecord) -> str:
    """Return what was asked, with links to the data."""
    return json.dumps(_row(record), indent=2, ensure_ascii=False)


def queries_json(records: Iterable[ResultRecord]) -> str:
    """Return a list of what was asked, newest first."""
    return json.dumps({"queries": [_row(record) for record in records]}, indent=2, ensure_ascii=False)


def _row(record: ResultRecord) -> dict[str, Any]:
    told = {name: value for name, value in asdict(record).items() if name != "owner"}
    return {**told, "data": {view: data_uri(record.id, view) for view in MEDIA_TYPES}}
