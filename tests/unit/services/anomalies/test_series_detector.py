"""One series judged point by point: what raises an alarm, what does not, and that a saved detector goes on."""

import json
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from quantum_suite.core.errors import Damaged
from quantum_suite.services.anomalies.detector import SeriesDetector
from quantum_suite.services.anomalies.interface import LEARNING_POINTS, Verdict
from quantum_suite.services.anomalies.judging import judge

MINUTE = 60.0
DAY_POINTS = 144


def at(points: int, step: float = 600.0) -> list[float]:
    return [1.7e9 + step * place for place in range(points)]


def daily(points: int, noise: float = 0.3, seed: int = 3) -> list[float]:
    rng = random.Random(seed)
    return [20 + 8 * math.sin(2 * math.pi * place / DAY_POINTS) + rng.gauss(0, noise) for place in range(points)]


def verdict_of(values: Sequence[float], times: Sequence[float] | None = None) -> Verdict:
    return judge(times or at(len(values)), values)[0]


def alarm_places(values: Sequence[float]) -> list[int]:
    times = at(len(values))
    return [times.index(alarm.time) for alarm in verdict_of(values).alarms]


def test_ordinary_days_raise_no_alarm_and_their_season_is_found() -> None:
    verdict = verdict_of(daily(1500))
    assert verdict.period_seconds == pytest.approx(86_400, rel=0.02)
    assert len(verdict.alarms) <= 1
    assert verdict.kind == "gauge"


def test_a_leap_beyond_all_values_raises_one_alarm_with_what_was_expected() -> None:
    values = daily(1200)
    values[1000:1005] = [60.0] * 5
    verdict = verdict_of(values)
    (alarm,) = [one for one in verdict.alarms if one.time >= at(1200)[1000]]
    assert alarm.time == alarm.since == at(1200)[1000]
    assert alarm.value == 60
    assert alarm.expected[0] < daily(1200)[1000] < alarm.expected[1] + 1
    assert alarm.reasons[0].beyond > 1
    assert {"density", "season"} <= {reason.detector for reason in alarm.reasons}
    assert 0.7 < alarm.score <= 1


def test_a_value_that_belongs_to_another_time_of_day_is_found() -> None:
    values = daily(1500, noise=0.1)
    night = 10 * DAY_POINTS - DAY_POINTS // 4
    values[night : night + 6] = [27.5] * 6
    assert any(night <= place < night + 6 for place in alarm_places(values))


def test_a_level_shift_is_told_once_and_becomes_the_usual() -> None:
    rng = random.Random(1)
    values = [5 + rng.gauss(0, 0.2) for _ in range(700)] + [9 + rng.gauss(0, 0.2) for _ in range(900)]
    places = [place for place in alarm_places(values) if place >= 700]
    assert places
    assert places[0] < 705
    assert len(places) == 1


def test_a_quiet_series_that_grows_noisy_is_found() -> None:
    rng = random.Random(4)
    values = [10 + rng.gauss(0, 0.2) for _ in range(900)] + [10 + rng.gauss(0, 3) for _ in range(60)]
    assert any(900 <= place < 905 for place in alarm_places(values))


def test_a_constant_series_is_calm_until_it_moves() -> None:
    values = [7.0] * 600
    assert not alarm_places(values)
    values[500] = 7.5
    assert alarm_places(values)[0] == 500


def test_too_few_points_are_not_enough_data() -> None:
    verdict = verdict_of(daily(LEARNING_POINTS))
    assert not verdict.enough
    assert not verdict.alarms
    assert verdict_of(daily(LEARNING_POINTS + 1)).enough
    assert not verdict_of([]).enough


def test_missing_values_and_late_points_are_counted_and_left_out() -> None:
    values, times = daily(500), at(500)
    for place in (200, 201, 300):
        values[place] = math.nan
    times[400] = times[398]
    verdict = verdict_of(values, times)
    assert (verdict.missing, verdict.late) == (3, 1)
    assert [place for place in range(LEARNING_POINTS, 500) if verdict.scores[place] is None] == [
        200,
        201,
        300,
        400,
    ]


def test_a_long_gap_begins_a_new_course_without_an_alarm() -> None:
    values = daily(1200, noise=0.1)
    times = at(1200)
    shifted = times[:700] + [time + 86_400.0 for time in times[700:]]
    assert not [alarm for alarm in verdict_of(values, shifted).alarms if 700 <= shifted.index(alarm.time) < 760]


def test_of_a_counter_the_rate_is_judged_over_its_restarts() -> None:
    rng = random.Random(2)
    total, values = 0.0, []
    for place in range(900):
        total = (
            rng.uniform(90, 110)
            if place == 500
            else total + rng.uniform(90, 110) * (6 if 800 <= place < 806 else 1)
        )
        values.append(total)
    verdict = verdict_of(values)
    assert verdict.kind == "counter"
    places = [at(900).index(alarm.time) for alarm in verdict.alarms]
    assert 800 in places
    assert not [place for place in places if 495 <= place < 510]


def test_what_only_looked_like_a_counter_is_learned_anew_as_a_gauge() -> None:
    values = [float(place) for place in range(300)] + [250.0 - place % 7 for place in range(300)]
    verdict = verdict_of(values)
    assert verdict.kind == "gauge"
    assert verdict.enough


def test_a_sensitive_detector_raises_at_least_as_many_alarms() -> None:
    values = daily(2500, noise=2.5, seed=9)
    counts = [len(judge(at(2500), values, sensitivity=each)[0].alarms) for each in ("low", "normal", "high")]
    assert counts == sorted(counts)


def test_bursts_that_keep_coming_back_lose_weight() -> None:
    rng = random.Random(5)
    values = [rng.gauss(10, 1) for _ in range(6000)]
    for place in range(400, 6000, 200):
        values[place] = 60 + rng.gauss(0, 3)
    places = alarm_places(values)
    assert 400 in places
    assert len([place for place in places if place > 3000]) <= 3


numbers = st.one_of(
    st.floats(-1e12, 1e12), st.sampled_from([0.0, 1.0, 5.0, math.nan, math.inf, -math.inf, 1e300, -1e300])
)


@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.lists(numbers, min_size=1, max_size=30), st.integers(0, 400), st.randoms(use_true_random=False))
def test_scores_stay_within_bounds_and_a_restored_detector_goes_on_alike(
    odd: list[float], cut: int, rng: random.Random
) -> None:
    values = [rng.gauss(3, 1) for _ in range(170)] + [
        odd[place % len(odd)] if rng.random() < 0.3 else rng.gauss(3, 1) for place in range(180)
    ]
    times = at(len(values))
    whole, _ = judge(times, values)
    assert all(score is None or 0 <= score <= 1 for score in whole.scores)
    first, detector = judge(times[:cut], values[:cut])
    state = json.loads(json.dumps(detector.state()))
    second, _ = judge(times[cut:], values[cut:], state=state)
    assert [*first.scores, *second.scores] == list(whole.scores)
    assert [*first.alarms, *second.alarms] == list(whole.alarms)


def test_a_long_run_is_restored_alike_after_memories_have_wrapped() -> None:
    values, times = daily(5200, seed=8), at(5200)
    whole, _ = judge(times, values)
    first, detector = judge(times[:4900], values[:4900])
    state = detector.state()
    second, again = judge(times[4900:], values[4900:], state=json.loads(json.dumps(state)))
    assert [*first.scores, *second.scores] == list(whole.scores)
    assert len(json.dumps(again.state())) < 1.1 * len(json.dumps(state))


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("peaks"),
        lambda state: state.update(state=99),
        lambda state: state["detectors"]["density"]["values"].update(values="not base64!"),
        lambda state: state.update(peaks=[]),
        lambda state: state.update(onsets=None),
    ],
)
def test_a_damaged_state_is_refused(damage) -> None:  # type: ignore[no-untyped-def]  # parametrised lambdas
    state = judge(at(200), daily(200))[1].state()
    damage(state)
    with pytest.raises(Damaged):
        SeriesDetector.restored(state)
