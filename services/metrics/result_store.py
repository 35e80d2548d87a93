"""Where the data of answers is kept: one folder a query, in pages, readable by its owner and administrators."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
import orjson

from quantum_suite.core.errors import NotFound
from quantum_suite.core.masking import mask_text
from quantum_suite.core.principals import Principal
from quantum_suite.services.metrics.interface import Series
from quantum_suite.services.records.folder_records import FolderRecords, RecordKind

KEEP_RESULTS = 100
"""Kept for each owner; the oldest go first."""
PAGE_POINTS = 4_000
"""Points in a page: about 120 kB of JSON."""
View = Literal["json", "csv"]


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """What is kept of an answer beside its data."""

    id: str
    owner: str
    source: str
    query: str
    start: float
    end: float
    step: float
    """0 for a moment."""
    stored_at: str
    series: int
    points: int
    pages: int


class ResultStore:
    """Keeps answers in files. An answer is stored whole or not at all."""

    def __init__(self, directory: Path) -> None:
        kind = RecordKind(
            "query",
            noun="result",
            named_in="the answer of query_metrics",
            record_file="record.json",
            keep=KEEP_RESULTS,
            load=lambda told: ResultRecord(**told),
        )
        self._records = FolderRecords(directory, kind)

    async def save(
        self,
        owner: Principal,
        source: str,
        query: str,
        times: tuple[float, float, float],
        series: Sequence[Series],
    ) -> ResultRecord:
        """Store an answer, durably once this returns, and drop the owner's oldest beyond `KEEP_RESULTS`.

        `times` are start, end and step.
        """
        pages = await anyio.to_thread.run_sync(lambda: list(_pages(series)))
        start, end, step = times
        record = ResultRecord(
            id=self._records.new_id(),
            owner=owner.id,
            source=source,
            query=query,
            start=start,
            end=end,
            step=step,
            stored_at=datetime.now(UTC).isoformat(),
            series=len(series),
            points=sum(len(one.times) for one in series),
            pages=len(pages),
        )
        await self._records.save(record, _files(record, pages))
        return record

    async def get(self, result: str, reader: Principal) -> ResultRecord:
        """Return a record; raises NotFound for one that is not there, or not the reader's to see."""
        return await self._records.get(result, reader)

    async def page(self, result: str, view: View, page: str, reader: Principal) -> bytes:
        """Return a page of the data, counted from 1; raises NotFound."""
        record = await self.get(result, reader)
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 0
        if not 1 <= number <= record.pages:
            raise NotFound(
                f"Result '{result}' has no page '{page[:20]}'.", f"It has {record.pages}, from 1.", argument="uri"
            )
        return await self._records.file(record, f"{number}.{view}")

    async def latest(self, reader: Principal, limit: int = 20) -> list[ResultRecord]:
        """Return the newest results the reader may see, newest first."""
        return await self._records.latest(reader, limit)


def _files(record: ResultRecord, pages: Sequence[Sequence[Series]]) -> Iterator[tuple[str, bytes]]:
    for number, page in enumerate(pages, 1):
        yield f"{number}.json", _json(record, number, page)
        yield f"{number}.csv", _csv(page)


def _pages(series: Sequence[Series]) -> Iterator[list[Series]]:
    """Yield series in pages; a long one is continued on the next."""
    page: list[Series] = []
    room = PAGE_POINTS
    for one in series:
        begin = 0
        while begin < len(one.times):
            part = min(room, len(one.times) - begin)
            end = begin + part
            page.append(Series(one.labels, one.times[begin:end], one.values[begin:end]))
            begin, room = end, room - part
            if room == 0:
                yield page
                page, room = [], PAGE_POINTS
    if page or not series:
        yield page


def _json(record: ResultRecord, number: int, page: Sequence[Series]) -> bytes:
    """Return a page in the form of Prometheus's own range answers, numbers that JSON lacks as strings."""
    told: dict[str, Any] = {
        "query": record.query,
        "source": record.source,
        "page": number,
        "pages": record.pages,
        "series": [
            {
                "labels": {name: mask_text(value) for name, value in one.labels.items()},
                "points": [[at, _number(value)] for at, value in zip(one.times, one.values, strict=True)],
            }
            for one in page
        ],
    }
    return orjson.dumps(told)


def _csv(page: Sequence[Series]) -> bytes:
    """Return a page with one row a point: the time in UTC, the value, and a column for each label."""
    names = sorted({name for one in page for name in one.labels})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time", "value", *names])
    for one in page:
        labels = [_cell(one.labels.get(name, "")) for name in names]
        for at, value in zip(one.times, one.values, strict=True):
            moment = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
            writer.writerow([moment, repr(value), *labels])
    return text.getvalue().encode()


def _cell(text: str) -> str:
    """Return a label's value, credentials masked, as spreadsheets show and do not run it."""
    text = mask_text(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
