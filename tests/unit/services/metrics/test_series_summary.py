"""Series in a few numbers and words."""

import math
import random

import pytest

from quantum_suite.services.metrics.interface import Series, Window
from quantum_suite.services.metrics.series_summary import Trend, summarise, trend_of

WINDOW = Window(0, 990, 10)
TIMES = [10.0 * index for index in range(100)]


def noisy(level: float, slope: float, noise: float) -> list[float]:
    rng = random.Random(7)
    return [level + slope * index + rng.uniform(-noise, noise) for index in range(100)]


@pytest.mark.parametrize(
    ("values", "trend"),
    [
        (noisy(10, 1, 0), "rising"),
        (noisy(100, -0.9, 1), "falling"),
        (noisy(100, 0, 1), "steady"),
        ([0.0] * 100, "steady"),
        (noisy(0, 0.001, 10), "unclear"),
        ([1.0] * 99 + [500.0], "steady"),
        ([1.0, 2, 3], "unclear"),
        ([], "unclear"),
    ],
)
def test_the_trend_is_where_it_goes_and_not_how_it_jumps(values: list[float], trend: Trend) -> None:
    assert trend_of(values)[0] == trend


def test_a_series_is_summed_up() -> None:
    found = summarise(Series({"a": "b"}, TIMES, [float(index) for index in range(100)]), WINDOW, counter=True)
    assert (found.minimum, found.mean, found.maximum, found.first, found.last) == (0, 49.5, 99, 0, 99)
    assert (found.points, found.gaps, found.resets, found.trend, found.change) == (100, 0, 0, "rising", 75)
    assert (found.begins_late_seconds, found.ends_early_seconds) == (0, 0)


def test_what_is_missing_is_told() -> None:
    kept = [index for index in range(5, 90) if not 30 <= index < 40]
    found = summarise(Series({}, [TIMES[index] for index in kept], [1.0] * len(kept)), WINDOW, counter=False)
    assert (found.gaps, found.longest_gap_seconds) == (1, 110)
    assert (found.begins_late_seconds, found.ends_early_seconds) == (50, 100)


def test_a_fall_is_a_restart_of_a_counter_alone() -> None:
    values = [float(index % 30) for index in range(100)]
    assert summarise(Series({}, TIMES, values), WINDOW, counter=True).resets == 3
    assert summarise(Series({}, TIMES, values), WINDOW, counter=False).resets == 0


def test_what_is_no_number_is_counted_and_not_reckoned_with() -> None:
    found = summarise(Series({}, TIMES[:4], [math.nan, 1.0, math.inf, 3.0]), WINDOW, counter=False)
    assert (found.not_numbers, found.minimum, found.mean, found.maximum) == (2, 1, 2, 3)
    nothing = summarise(Series({}, TIMES[:2], [math.nan, math.nan]), WINDOW, counter=False)
    assert (nothing.mean, nothing.last, nothing.trend) == (None, None, "unclear")
