"""When something began that an alert noticed later."""

import math
import random
from collections.abc import Sequence

from quantum_suite.services.root_cause.interface import Kind, Signal
from quantum_suite.services.root_cause.onsets import find_onset

STEP = 60.0
NOTICED = 1_795_000_000.0


def signal(values: Sequence[float], kind: Kind = "errors") -> Signal:
    """Return a signal whose last value is of the moment at which it was noticed."""
    times = [NOTICED - STEP * (len(values) - 1 - number) for number in range(len(values))]
    return Signal("shop", kind, f"{kind} of shop", times, values)


def noisy(level: float, count: int, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [level * chance.uniform(0.9, 1.1) for _ in range(count)]


def steps_before(signals: Sequence[Signal]) -> float | None:
    found = find_onset(signals, NOTICED)
    return None if found is None else (NOTICED - found.at) / STEP


def test_a_jump_is_found_where_it_was_and_what_came_after_the_notice_is_not_looked_at() -> None:
    values = [*noisy(0.01, 60), *noisy(0.2, 17)]
    assert steps_before([signal(values)]) == 16
    later = [*values, 0.01, 0.01, 0.01]
    times = [NOTICED - STEP * (len(values) - 1 - number) for number in range(len(later))]
    assert steps_before([Signal("shop", "errors", "errors", times, later)]) == 16


def test_the_foot_of_a_climbing_rate_is_the_onset() -> None:
    assert steps_before([signal([0.0] * 30 + [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5])]) in (5, 6, 7)


def test_a_day_that_gets_busier_is_no_onset_and_hides_none() -> None:
    day = [0.1 + 0.05 * math.sin(math.pi * number / 200) for number in range(100)]
    assert steps_before([signal(day, "latency")]) is None
    assert steps_before([signal([*day, *([0.25] * 9)], "latency")]) == 8


def test_nothing_has_begun_where_nothing_moved_or_too_little_is_known() -> None:
    assert steps_before([signal(noisy(0.2, 60), "latency")]) is None
    assert steps_before([signal([0.0, 0.0, 0.5, 0.5])]) is None
    assert steps_before([signal([math.nan] * 60)]) is None
    assert steps_before([]) is None


def test_what_falls_counts_for_traffic_alone() -> None:
    fell = [*noisy(100, 40), *noisy(10, 5)]
    assert steps_before([signal(fell, "traffic")]) == 4
    assert steps_before([signal(fell, "latency")]) is None


def test_of_several_signals_the_one_that_moved_furthest_counts() -> None:
    slight = signal([*noisy(0.1, 40), *([0.14] * 10)], "latency")
    plain = signal([*([0.0] * 45), *([0.4] * 5)])
    found = find_onset([slight, plain], NOTICED)
    assert found is not None
    assert (found.signal.kind, (NOTICED - found.at) / STEP) == ("errors", 4)
