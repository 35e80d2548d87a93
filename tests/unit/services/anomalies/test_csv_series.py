"""Series out of CSV: what is found by itself, and how hostile files are refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.core.errors import CallerError
from quantum_suite.services.anomalies import csv_series
from quantum_suite.services.anomalies.csv_series import read_csv


def test_columns_are_found_and_rows_are_put_in_order() -> None:
    found = read_csv(b"timestamp,value\n2026-01-01 00:05:00,2\n2026-01-01T00:00:00Z,1\n2026-01-01 00:10:00,\n")
    assert (found.time_column, found.value_column) == ("timestamp", "value")
    assert found.times == [1767225600.0, 1767225900.0, 1767226200.0]
    assert found.values[:2] == [1.0, 2.0]
    assert math.isnan(found.values[2])


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
def test_unix_times_are_read_in_any_unit(unit: int) -> None:
    found = read_csv(f"cpu;at\n0.5;{1_700_000_000 * unit}\n".encode(), time_column="at")
    assert found.times == [1_700_000_000.0]
    assert found.value_column == "cpu"


def test_a_file_without_a_header_is_read() -> None:
    found = read_csv(b"2026-01-01,1\n2026-01-02,2\n")
    assert found.values == [1.0, 2.0]
    assert found.value_column == "column 2"


def test_remarks_and_blank_lines_are_left_out_and_counted() -> None:
    found = read_csv(b"\xef\xbb\xbftime,v\n1,1\n\n,\n2,nan\n\n")
    assert (len(found.times), found.skipped) == (2, 2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"time\n1\n", "one column"),
        (b"time,v\n1,abc\n", "Row 2, column 'v': 'abc' is no number"),
        (b"time,v\nyesterday,1\n", "Row 2, column 'time': 'yesterday' is no time"),
        (b"time,v\n1\n", "Row 2, column 'v': the row ends"),
        (b"time,a,b\n1,2,3\n", "Several columns hold numbers: 'a', 'b'"),
        (b"time,a,b\n1,x,y\n", "No column beside 'time' holds numbers"),
        (b"name,v\nx,y\n", "No column holds times"),
        (b"time,v\n\xff\xfe,1\n", "no UTF-8"),
        (b"time,v\n1,\0\n", "NUL"),
        (b'time,v\n1,"' + b"x" * 200_000 + b'"\n', "is no CSV"),
        (b"," * 300 + b"\n", "301 columns"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(content: bytes, told: str) -> None:
    with pytest.raises(CallerError) as error:
        read_csv(content)
    assert told in str(error.value)
    assert error.value.hint
    assert len(str(error.value)) < 600


def test_a_column_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(CallerError) as error:
        read_csv(b"time,a,b\n1,2,3\n", value_column="c")
    assert (error.value.argument, "'a'" in str(error.value)) == ("value_column", True)


def test_too_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_series, "MAX_POINTS", 3)
    with pytest.raises(CallerError, match="more than 3 rows"):
        read_csv(b"time,v\n" + b"1,1\n" * 10)
    monkeypatch.setattr(csv_series, "MAX_BYTES", 10)
    with pytest.raises(CallerError, match="bytes"):
        read_csv(b"time,v\n1,1\n2,2\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        found = read_csv(content)
    except CallerError:
        return
    assert len(found.times) == len(found.values)
    assert found.times == sorted(found.times)
