"""The parts of a detector: memories, peaks, onsets, seasons and counters."""

import math
import random

import numpy as np
import pytest

from quantum_suite.services.anomalies.accuracy import published_accuracy
from quantum_suite.services.anomalies.calibration import RARITY, THRESHOLDS, score_of
from quantum_suite.services.anomalies.counters import is_counter, rate
from quantum_suite.services.anomalies.detectors.nearest import NearestValue
from quantum_suite.services.anomalies.detectors.subspace import SubspaceDetector
from quantum_suite.services.anomalies.features import ShortPast
from quantum_suite.services.anomalies.memory import Memory
from quantum_suite.services.anomalies.onsets import QUIET_POINTS, Onsets
from quantum_suite.services.anomalies.peaks import PeakMemory
from quantum_suite.services.anomalies.periods import find_period


def test_a_memory_keeps_the_newest_in_order_and_stays_as_large() -> None:
    memory = Memory(5)
    for value in range(23):
        memory.add(float(value))
    assert memory.values.tolist() == [18, 19, 20, 21, 22]
    assert Memory.restored(memory.state()).values.tolist() == memory.values.tolist()


def test_the_nearest_value_is_found_among_the_remembered_alone() -> None:
    nearest = NearestValue(Memory(3))
    assert [nearest.distance(value) for value in (1.0, 5.0, 5.5, 9.0)] == [0.0, 4.0, 0.5, 3.5]
    # 1.0 is forgotten: the nearest to 2.0 is 5.0.
    assert nearest.distance(2.0) == 3.0


def test_distances_agree_with_a_search_through_all_of_them() -> None:
    rng = random.Random(1)
    values = [rng.gauss(0, 1) for _ in range(300)]
    nearest = NearestValue(Memory(50))
    for place, value in enumerate(values):
        found = nearest.distance(value)
        earlier = values[max(0, place - 50) : place]
        assert found == (min(abs(value - one) for one in earlier) if earlier else 0.0)


def test_a_stretch_is_compared_with_all_that_end_before_it() -> None:
    rng = random.Random(2)
    values = [rng.gauss(0, 1) for _ in range(60)]
    past, detector = ShortPast(), SubspaceDetector()
    found = [detector.measure(past.add(float(at), value))[0].distance for at, value in enumerate(values)]
    for last in range(8, 60):
        mine = values[last - 3 : last + 1]
        others = [values[end - 3 : end + 1] for end in range(3, last - 3)]
        assert found[last] == pytest.approx(min(math.dist(mine, other) for other in others))


def test_a_distance_beyond_past_peaks_weighs_more_than_one_among_them() -> None:
    peaks = PeakMemory()
    for place in range(280):
        peaks.weigh(1.0 + place % 7, 1e-9)
    assert max(peaks.weigh(1.0 + place % 7, 1e-9) for place in range(21)) < 0.1
    assert peaks.weigh(50.0, 1e-9) == pytest.approx(math.log(50 / 7), abs=0.2)
    again = PeakMemory(**peaks.state())
    assert again.weigh(20.0, 1e-9) == peaks.weigh(20.0, 1e-9)


def test_of_a_constant_nothing_is_strange() -> None:
    peaks = PeakMemory()
    assert {peaks.weigh(0.0, 1e-9) for _ in range(600)} == {-2.0}
    assert peaks.weigh(1.0, 1e-9) == 4.0


def test_peaks_fade() -> None:
    peaks = PeakMemory()
    for _ in range(40):
        peaks.weigh(100.0, 1e-9)
    for _ in range(40_000):
        peaks.weigh(0.1, 1e-9)
    assert peaks.weigh(100.0, 1e-9) > math.log(2)


def test_an_anomaly_has_one_onset_and_a_like_one_later_counts_less() -> None:
    onsets = Onsets()
    found = [onsets.take(strength, learning=False) for strength in [1.0] * 10 + [5.0, 4.0, 5.0, 6.0]]
    assert found == [1.0, *[0.0] * 9, 5.0, 0.0, 0.0, pytest.approx(6.0 / (1 + 0.4 * math.log1p(1)))]
    assert [onsets.take(1.0, learning=False) for _ in range(QUIET_POINTS)] == [0.0] * QUIET_POINTS
    later = onsets.take(5.5, learning=False)
    assert 0 < later < 5.5


def test_seasons_are_found_and_noise_has_none() -> None:
    rng = np.random.default_rng(1)
    places = np.arange(1000)
    assert find_period(np.sin(2 * np.pi * places / 48) + rng.normal(0, 0.3, 1000)) == 48
    assert find_period(rng.normal(0, 1, 1000)) is None
    assert find_period(np.full(500, 3.0)) is None
    assert find_period(np.arange(10.0)) is None
    week = (places % 168 // 24 < 5) * 5.0 + np.sin(2 * np.pi * places / 24) + rng.normal(0, 0.1, 1000)
    assert find_period(week) == 168


def test_counters_are_told_from_what_merely_grows_and_falls() -> None:
    assert is_counter([float(value) for value in range(100)])
    assert is_counter([*range(50, 100), *range(50)])
    assert not is_counter([5.0, 6.0, 5.5, 7.0])
    assert not is_counter([1.0] * 100)
    assert not is_counter([-1.0, 0.0, 1.0])
    assert not is_counter([1.0])
    assert rate((0.0, 10.0), (5.0, 30.0)) == 4.0
    assert rate((0.0, 100.0), (5.0, 30.0)) == 6.0


def test_scores_grow_with_strength_and_stay_within_bounds() -> None:
    strengths = [0.0, *(10 ** (place / 20 - 3) for place in range(200))]
    scores = [score_of(strength) for strength in strengths]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0.0, 1.0)
    assert list(RARITY) == sorted(RARITY)
    assert THRESHOLDS["low"] >= THRESHOLDS["normal"] >= THRESHOLDS["high"] > 0


def test_the_published_accuracy_names_what_measured_it() -> None:
    accuracy = published_accuracy()
    assert "bench/anomalies.py" in accuracy.command
    assert 0 < accuracy.standard < 100
    assert "not tuned on" in accuracy.told()
