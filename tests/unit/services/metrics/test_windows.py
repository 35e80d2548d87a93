"""Times, durations and steps as people write them."""

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.interface import Window
from quantum_suite.services.metrics.windows import (
    fitting_step,
    read_duration,
    read_time,
    read_window,
    shown_duration,
    shown_time,
)

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("250ms", 0.25), ("1w", 604_800)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert read_duration(text, "last") == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "5x", "m5", "5m ago", "1e9", "9" * 40, "5 m", "h", "0s"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(CallerError, match="is no duration") as caught:
        read_duration(text, "step")
    assert caught.value.argument == "step"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", NOW),
        ("-1h", NOW - 3600),
        ("now-15m", NOW - 900),
        ("now - 1d", NOW - 86_400),
        ("1700000000", 1_700_000_000),
        ("1700000000.5", 1_700_000_000.5),
        ("2026-01-31T12:00:00Z", 1_769_860_800),
        ("2026-01-31T12:00:00+02:00", 1_769_853_600),
        ("2026-01-31 12:00", 1_769_860_800),
        ("2026-01-31", 1_769_817_600),
    ],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert read_time(text, NOW, "start") == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12:00", "-", "now-", "+1h", "é"])
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        read_time(text, NOW, "end")
    assert caught.value.argument == "end"


def test_nothing_said_means_the_last_hour() -> None:
    assert read_window(None, None, None, None, NOW) == Window(NOW - 3600, NOW, 15)


def test_a_window_ends_where_it_is_told_to() -> None:
    assert read_window(None, "-1h", "30m", "10", NOW) == Window(NOW - 5400, NOW - 3600, 10)
    assert read_window("-2h", "now", None, "1m", NOW) == Window(NOW - 7200, NOW, 60)


@pytest.mark.parametrize(
    ("start", "end", "last", "argument"),
    [
        ("-1h", None, "1h", "last"),
        ("now", "-1h", None, "end"),
        ("now", "now", None, "end"),
        (None, None, "999999999999y", "last"),
        ("-900y", None, None, "start"),
        ("1900-01-01", None, None, "start"),
    ],
)
def test_a_window_that_is_none_is_refused(
    start: str | None, end: str | None, last: str | None, argument: str
) -> None:
    with pytest.raises(CallerError) as caught:
        read_window(start, end, last, None, NOW)
    assert caught.value.argument == argument


@pytest.mark.parametrize("seconds", [1, 60, 3600, 86_400, 30 * 86_400, 3650 * 86_400])
def test_the_step_that_is_chosen_gives_some_hundred_points(seconds: float) -> None:
    assert seconds / fitting_step(seconds) <= 240


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5s"), (59, "59s"), (60, "1m"), (90, "1m30s"), (3600, "1h"), (5460, "1h31m"), (90_000, "1d1h")],
)
def test_a_duration_is_shown_in_two_units_at_most(seconds: float, text: str) -> None:
    assert shown_duration(seconds) == text


def test_a_time_is_shown_in_utc() -> None:
    assert shown_time(1_769_860_800) == "2026-01-31T12:00:00Z"
