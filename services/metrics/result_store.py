"""Where the data of answers is kept: one folder a query, in pages, readable by its owner and administrators."""

import csv
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
import orjson

from quantum_suite.core.errors import NotFound
from quantum_suite.core.ids import new_id
from quantum_suite.core.masking import mask_text
from quantum_suite.core.principals import Principal, Role
from quantum_suite.services.metrics.interface import Series

KEEP_RESULTS = 100
"""Kept for each owner; the oldest go first."""
PAGE_POINTS = 4_000
"""Points in a page: about 120 kB of JSON."""
View = Literal["json", "csv"]

_ID = re.compile(r"query_[0-9a-z]{26}")


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
        self._directory = directory

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
        return await anyio.to_thread.run_sync(self._write, owner.id, source, query, times, series)

    async def get(self, result: str, reader: Principal) -> ResultRecord:
        """Return a record; raises NotFound for one that is not there, or not the reader's to see."""
        record = await anyio.to_thread.run_sync(self._read, result) if _ID.fullmatch(result) else None
        if record is None or not _may_see(reader, record):
            raise NotFound(
                f"There is no result '{result[:60]}'.",
                "Take an id from the answer of query_metrics; old results are dropped.",
                argument="uri",
            )
        return record

    async def page(self, result: str, view: View, page: str, reader: Principal) -> bytes:
        """Return a page of the data, counted from 1; raises NotFound."""
        record = await self.get(result, reader)
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 0
        if not 1 <= number <= record.pages:
            raise NotFound(
                f"Result '{result}' has no page '{page[:20]}'.", f"It has {record.pages}, from 1.", argument="uri"
            )
        return await anyio.to_thread.run_sync((self._directory / result / f"{number}.{view}").read_bytes)

    async def latest(self, reader: Principal, limit: int = 20) -> list[ResultRecord]:
        """Return the newest results the reader may see, newest first."""

        def read() -> list[ResultRecord]:
            found = (self._read(name) for name in sorted(self._names(), reverse=True))
            return [record for record in found if record is not None and _may_see(reader, record)][:limit]

        return await anyio.to_thread.run_sync(read)

    def _names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return [path.name for path in self._directory.iterdir() if _ID.fullmatch(path.name)]

    def _write(
        self, owner: str, source: str, query: str, times: tuple[float, float, float], series: Sequence[Series]
    ) -> ResultRecord:
        start, end, step = times
        pages = list(_pages(series))
        points = sum(len(one.times) for one in series)
        now = datetime.now(UTC).isoformat()
        record = ResultRecord(
            new_id("query"), owner, source, query, start, end, step, now, len(series), points, len(pages)
        )
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
        try:
            for number, page in enumerate(pages, 1):
                _write_durably(staged / f"{number}.json", _json(record, number, page))
                _write_durably(staged / f"{number}.csv", _csv(page))
            _write_durably(staged / "record.json", json.dumps(asdict(record)).encode())
            staged.rename(self._directory / record.id)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        mine = [one for name in sorted(self._names()) if (one := self._read(name)) and one.owner == owner]
        for old in mine[:-KEEP_RESULTS]:
            shutil.rmtree(self._directory / old.id, ignore_errors=True)
        return record

    def _read(self, result: str) -> ResultRecord | None:
        try:
            return ResultRecord(**json.loads((self._directory / result / "record.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


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


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _may_see(reader: Principal, record: ResultRecord) -> bool:
    return record.owner == reader.id or Role.ADMIN in reader.roles
