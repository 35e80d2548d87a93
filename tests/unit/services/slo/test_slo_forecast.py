"""Forecasts of error budgets on burns whose future is known."""

import math
import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from quantum_suite.services.slo.calendar import period_at
from quantum_suite.services.slo.forecast import burned_share, forecast
from quantum_suite.services.slo.history import BurnHistory, Slice, slice_seconds_of
from quantum_suite.services.slo.interface import CalendarWindow, Indicator, Slo
from quantum_suite.services.slo.windows import windows_of

HOUR, DAY = 3600.0, 86400.0
NOW = 1_800_000_000.0


def slo(objective: float = 99.0, days: float = 7) -> Slo:
    period = days * DAY
    return Slo("shop", "a", objective, Indicator(), windows_of(period), "test", period_seconds=period)


def history(bad: list[float], events: float = 100, *, period_end: float | None = None) -> BurnHistory:
    start = NOW - len(bad) * HOUR
    slices = tuple(Slice(start + (index + 1) * HOUR, each, events) for index, each in enumerate(bad))
    return BurnHistory(HOUR, start, NOW, slices, True, period_end)


def test_a_steady_burn_below_the_budget_never_ends_it() -> None:
    found = forecast(slo(), history([0.5] * 168))
    assert (found.outlook, found.probability) == ("not within the window", 0)
    assert (found.earliest, found.middle, found.latest) == (None, None, None)
    assert all(low == middle == high == pytest.approx(0.5) for _, low, middle, high in found.paths)


def test_a_burn_that_began_lately_ends_the_budget_when_arithmetic_says() -> None:
    # Nothing for five days, then three bad events of 100 an hour for two: 144 of the 168 that a week allows.
    # The 24 that are left are gone in 8 hours.
    found = forecast(slo(), history([0.0] * 120 + [3.0] * 48))
    assert found.outlook == "within the window"
    left = 168 - 3 * 48
    expected = NOW + left / 3 * HOUR
    assert found.middle == pytest.approx(expected, abs=2 * HOUR)
    assert found.earliest is not None
    assert found.latest is not None
    assert found.earliest <= found.middle <= found.latest


def test_old_failures_that_fall_out_give_budget_back() -> None:
    found = forecast(slo(), history([20.0] * 7 + [0.0] * 161))
    assert found.outlook == "not within the window"
    assert burned_share(slo(), history([20.0] * 7 + [0.0] * 161)) == pytest.approx(140 / 168)
    times = [at for at, *_ in found.paths]
    assert found.paths[times.index(NOW + 8 * HOUR)][2] == 1


def test_a_spent_budget_is_exhausted_and_too_little_data_is_no_forecast() -> None:
    assert forecast(slo(), history([2.0] * 168)).outlook == "exhausted"
    few = forecast(slo(), history([0.5] * 23))
    assert (few.outlook, few.probability, few.paths) == ("not enough data", None, ())
    assert forecast(slo(), history([0.0] * 168, events=0)).outlook == "not enough data"
    assert forecast(slo(), history([])).outlook == "not enough data"
    assert forecast(slo(100), history([0.0] * 168)).outlook == "not enough data"
    assert burned_share(slo(100), history([1.0])) == math.inf
    assert burned_share(slo(100), history([0.0])) == 0


def test_the_more_the_burn_changes_the_wider_the_interval() -> None:
    chance = random.Random(1)
    calm = [0.0] * 120 + [2.0 + chance.random() for _ in range(48)]
    wild = [0.0] * 120 + [chance.choice([0.0, 0.0, 0.0, 8.0]) for _ in range(48)]
    widths = []
    for bad in (calm, wild):
        found = forecast(slo(), history(bad))
        assert found.earliest is not None
        widths.append((found.latest or found.horizon or 0) - found.earliest)
    assert widths[1] > 3 * widths[0]


def test_the_same_history_gives_the_same_forecast() -> None:
    bad = [random.Random(2).random() * 2 for _ in range(168)]
    assert forecast(slo(), history(bad)) == forecast(slo(), history(bad))


def test_a_calendar_counts_the_budget_of_the_whole_period() -> None:
    # 84 of 168 hours have passed at 1.5 times the burn that fits: 75 % of the week's budget, gone after 112 hours.
    half = history([1.5] * 84, period_end=NOW + 84 * HOUR)
    assert burned_share(slo(), half) == pytest.approx(0.75)
    found = forecast(slo(), half)
    assert found.middle == pytest.approx(NOW + 28 * HOUR, abs=HOUR)
    assert found.horizon == NOW + 84 * HOUR
    assert forecast(slo(), history([0.9] * 84, period_end=NOW + 84 * HOUR)).outlook == "not within the window"


def test_intervals_hold_what_comes_about_as_often_as_they_say() -> None:
    chance = random.Random(3)
    inside = judged = 0
    for _ in range(30):
        past = [chance.choice([0.0, 0.0, 0.0, 6.0]) for _ in range(84)]
        future = [chance.choice([0.0, 0.0, 0.0, 6.0]) for _ in range(168)]
        found = forecast(slo(), history([0.0] * 84 + past))
        if found.outlook not in ("within the window", "not within the window"):
            continue
        judged += 1
        bad, events, gone = sum(past), 16800.0, math.inf
        for step, one in enumerate(future, 1):
            bad += one - (past[step - 85] if step > 84 else 0.0)
            if bad >= events * 0.01:
                gone = NOW + step * HOUR
                break
        inside += (found.earliest or math.inf) <= gone <= (found.latest or math.inf)
    assert judged > 20
    assert 0.65 <= inside / judged <= 0.97


@pytest.mark.parametrize(("seconds", "length"), [(HOUR, 300), (DAY, 600), (7 * DAY, HOUR), (30 * DAY, 6 * HOUR)])
def test_slices_are_round_and_not_too_many(seconds: float, length: float) -> None:
    assert slice_seconds_of(seconds) == length
    assert seconds / slice_seconds_of(seconds) <= 180
    assert slice_seconds_of(365 * DAY) % DAY == 0


BERLIN = ZoneInfo("Europe/Berlin")


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=BERLIN).timestamp()  # type: ignore[arg-type]  # year, month, day and so on


@pytest.mark.parametrize(
    ("unit", "count", "moment", "begin", "end"),
    [
        ("M", 1, at(2026, 2, 10), at(2026, 1, 31, 12), at(2026, 2, 28, 12)),
        ("M", 1, at(2028, 2, 29, 13), at(2028, 2, 29, 12), at(2028, 3, 31, 12)),
        ("Q", 1, at(2026, 5, 1), at(2026, 4, 30, 12), at(2026, 7, 31, 12)),
        ("Y", 1, at(2026, 5, 1), at(2026, 1, 31, 12), at(2027, 1, 31, 12)),
        ("d", 1, at(2026, 3, 29, 18), at(2026, 3, 29, 12), at(2026, 3, 30, 12)),
        ("w", 2, at(2026, 1, 31, 12), at(2026, 1, 31, 12), at(2026, 2, 14, 12)),
        ("M", 1, at(2025, 12, 1), at(2025, 11, 30, 12), at(2025, 12, 31, 12)),
    ],
)
def test_periods_of_a_calendar_begin_on_its_wall_clock(
    unit: str, count: int, moment: float, begin: float, end: float
) -> None:
    calendar = CalendarWindow(datetime(2026, 1, 31, 12, tzinfo=BERLIN), count, unit)  # type: ignore[arg-type]  # one of the units
    assert period_at(calendar, moment) == (begin, end)
