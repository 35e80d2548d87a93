"""Series out of CSV: the column of times is found, and what cannot be read is told by row and column."""

import csv
import io
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from quantum_suite.core.errors import CallerError

MAX_BYTES = 32 * 1024 * 1024
MAX_POINTS = 200_000
MAX_COLUMNS = 200
_MOST_SHOWN = 40
_TIME_NAMES = ("timestamp", "time", "date", "datetime", "ds", "ts", "@timestamp", "_time")
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
_SECONDS, _MILLISECONDS, _MICROSECONDS, _NANOSECONDS = 1e11, 1e14, 1e17, 1e20
"""Numbers below each are Unix times in that unit."""


@dataclass(frozen=True, slots=True)
class CsvSeries:
    """One column of numbers over the column of times."""

    times: list[float]
    """Unix seconds, ascending."""
    values: list[float]
    """NaN where there is none."""
    time_column: str
    value_column: str
    skipped: int
    """Rows without a time: trailing remarks and blank lines."""


def read_csv(content: bytes, *, time_column: str | None = None, value_column: str | None = None) -> CsvSeries:
    """Read a series; rows in any order are put in order, times without a zone are UTC.

    Raises CallerError naming row and column of what is neither a number nor missing, where there is no column of
    times or of numbers, or several of numbers and none was named.
    """
    rows = _rows(content)
    header, body = rows[0], rows[1:]
    where = _time_index(header, body, time_column)
    which = _value_index(header, body, where, value_column)
    points, skipped = [], 0
    for number, row in enumerate(body, start=2):
        if len(row) <= max(where, which):
            if any(cell.strip() for cell in row) and len(row) > where and row[where].strip():
                raise _wrong(
                    number, header[which], "", "the row ends before it", "Complete the row, or leave it out."
                )
            skipped += 1
            continue
        if not row[where].strip():
            skipped += 1
            continue
        time = _time(row[where])
        if time is None:
            raise _wrong(number, header[where], row[where], "is no time", "Give RFC 3339 or Unix seconds.")
        points.append((time, _number(row[which], number, header[which])))
    if any(later[0] < earlier[0] for earlier, later in pairwise(points)):
        points.sort(key=lambda point: point[0])
    return CsvSeries([p[0] for p in points], [p[1] for p in points], header[where], header[which], skipped)


def _rows(content: bytes) -> list[list[str]]:
    if len(content) > MAX_BYTES:
        raise CallerError(
            f"The file holds {len(content)} bytes; {MAX_BYTES} are read at most.",
            "Cut it into shorter stretches of time.",
            argument="file",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CallerError(
            f"Byte {error.start} of the file is no UTF-8.", "Save it as CSV in UTF-8.", argument="file"
        ) from error
    if "\0" in text:
        raise CallerError("The file holds NUL characters.", "Give a CSV file of text.", argument="file")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(rows) > MAX_POINTS:
                raise CallerError(
                    f"The file has more than {MAX_POINTS} rows.",
                    "Give a shorter stretch of time.",
                    argument="file",
                )
            if len(row) > MAX_COLUMNS:
                raise CallerError(
                    f"Row {len(rows) + 1} has {len(row)} columns; {MAX_COLUMNS} are read at most.",
                    "Leave out columns that are not needed.",
                    argument="file",
                )
            rows.append(row)
    except csv.Error as error:
        raise CallerError(
            f"Row {len(rows) + 1} is no CSV: {error}.", "Mend the quotes of that row.", argument="file"
        ) from error
    rows = _without_blank_ends(rows)
    if not rows:
        raise CallerError("The file is empty.", "Give a CSV file with a header.", argument="file")
    if len(rows[0]) < 2:
        raise CallerError(
            "Row 1 has one column.", "Give a column of times and a column of numbers.", argument="file"
        )
    if all(_is_number(cell) or _time(cell) is not None for cell in rows[0]):
        # A file without a header: its columns are named by their places.
        rows.insert(0, [f"column {place}" for place in range(1, len(rows[0]) + 1)])
    return rows


def _without_blank_ends(rows: list[list[str]]) -> list[list[str]]:
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    while rows and not any(cell.strip() for cell in rows[0]):
        rows.pop(0)
    return rows


def _time_index(header: list[str], body: list[list[str]], named: str | None) -> int:
    if named is not None:
        return _named(header, named, "time_column")
    names = [cell.strip().lower() for cell in header]
    for name in _TIME_NAMES:
        if name in names:
            return names.index(name)
    first = next((row for row in body if any(cell.strip() for cell in row)), [])
    for place, cell in enumerate(first[: len(header)]):
        if _time(cell) is not None:
            return place
    raise CallerError(
        f"No column holds times; there are {_listed(header)}.",
        "Name it as time_column; times are RFC 3339, or Unix seconds, milli-, micro- or nanoseconds.",
        argument="time_column",
    )


def _value_index(header: list[str], body: list[list[str]], time: int, named: str | None) -> int:
    if named is not None:
        return _named(header, named, "value_column")
    if len(header) == 2:
        # Nothing to choose from: a cell that is no number is then told by its row.
        return 1 - time
    first = [row for row in body if any(cell.strip() for cell in row)][:50]
    numeric = [
        place
        for place in range(len(header))
        if place != time and any(len(row) > place and _is_number(row[place]) for row in first)
    ]
    if len(numeric) == 1:
        return numeric[0]
    if not numeric:
        raise CallerError(
            f"No column beside '{header[time]}' holds numbers.",
            "Name it as value_column.",
            argument="value_column",
        )
    found = _listed([header[place] for place in numeric])
    raise CallerError(f"Several columns hold numbers: {found}.", "Name one.", argument="value_column")


def _named(header: list[str], name: str, argument: str) -> int:
    names = [cell.strip() for cell in header]
    if name.strip() in names:
        return names.index(name.strip())
    raise CallerError(
        f"There is no column '{name[:_MOST_SHOWN]}'; there are {_listed(names)}.", "Name one.", argument=argument
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name.strip()[:_MOST_SHOWN]}'" for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _number(cell: str, row: int, column: str) -> float:
    text = cell.strip()
    if text.lower() in _MISSING:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise _wrong(row, column, text, "is no number", "Write it with a point, without a unit.") from None
    return value if math.isfinite(value) else math.nan


def _time(cell: str) -> float | None:
    text = cell.strip()
    try:
        number = float(text)
    except ValueError:
        return _date(text)
    if not math.isfinite(number) or number < 0:
        return None
    for limit, divisor in ((_SECONDS, 1.0), (_MILLISECONDS, 1e3), (_MICROSECONDS, 1e6), (_NANOSECONDS, 1e9)):
        if number < limit:
            return number / divisor
    return None


def _date(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None


def _wrong(row: int, column: str, cell: str, problem: str, right: str) -> CallerError:
    shown = f"'{cell.strip()[:_MOST_SHOWN]}' " if cell.strip() else ""
    return CallerError(
        f"Row {row}, column '{column.strip()[:_MOST_SHOWN]}': {shown}{problem}.", right, argument="file"
    )
