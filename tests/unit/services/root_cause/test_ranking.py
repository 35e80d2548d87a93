"""The ranking, on made-up systems whose cause is known."""

import math
import random
from collections.abc import Mapping, Sequence

import pytest

from quantum_suite.services.root_cause.interface import Change, Complaint, Diagnosis, Kind, Signal
from quantum_suite.services.root_cause.ranking import diagnose
from quantum_suite.services.root_cause.shifts import measure, surprise
from quantum_suite.services.root_cause.topology import Topology

STEP = 60.0
ONSET = 1_795_000_000.0
BEFORE, SINCE = 120, 10
SHOP = Topology(
    [("front", "cart"), ("front", "search"), ("cart", "store"), ("search", "store"), ("batch", "store")]
)
LEVELS = {"front": 0.2, "cart": 0.08, "search": 0.05, "store": 0.01, "batch": 1.0}


def signal(
    node: str, kind: Kind, level: float, extra: float = 0.0, *, late: int = 0, noise: float = 0.05, seed: int = 1
) -> Signal:
    chance = random.Random(f"{seed} {node} {kind}")
    times = [ONSET + STEP * number for number in range(-BEFORE, SINCE)]
    values = [
        level * chance.uniform(1 - noise, 1 + noise) + (extra if number >= late else 0.0)
        for number in range(-BEFORE, SINCE)
    ]
    return Signal(node, kind, f"{kind} of {node}", times, values)


def latencies(extra: Mapping[str, float]) -> list[Signal]:
    return [signal(node, "latency", level, extra.get(node, 0.0)) for node, level in LEVELS.items()]


def ask(
    signals: Sequence[Signal], kind: Kind = "latency", changes: Sequence[Change] = (), topology: Topology = SHOP
) -> Diagnosis:
    return diagnose(Complaint("front", kind, ONSET, STEP), signals, topology, changes)


@pytest.mark.parametrize(
    ("cause", "hit"),
    [
        ("store", ("store", "cart", "search", "front", "batch")),
        ("cart", ("cart", "front")),
        ("search", ("search", "front")),
        ("front", ("front",)),
    ],
)
def test_the_deepest_node_whose_dependencies_are_well_is_the_cause(cause: str, hit: tuple[str, ...]) -> None:
    found = ask(latencies(dict.fromkeys(hit, 0.1)))
    assert (found.verdict, found.suspects[0].node) == ("suspects", cause)
    assert found.suspects[0].confidence >= 0.5
    assert any("nothing it depends on explains that" in one.words for one in found.suspects[0].evidence)


def test_errors_of_a_dependency_explain_those_of_its_callers() -> None:
    signals = [
        signal("front", "errors", 0.001, 0.08),
        signal("cart", "errors", 0.001, 0.1),
        signal("store", "errors", 0.0, 0.0),
        *(signal(node, "traffic", 100) for node in LEVELS),
    ]
    found = ask(signals, "errors")
    assert found.suspects[0].node == "cart"


def test_nothing_is_called_likely_where_nothing_happened() -> None:
    sure = 0
    for seed in range(40):
        signals = [signal(node, "latency", level, seed=seed, noise=0.3) for node, level in LEVELS.items()]
        sure += ask(signals).verdict == "suspects"
    assert sure == 0


def test_a_complaint_that_is_not_to_be_seen_is_not_enough_data_whatever_else_is_off() -> None:
    found = ask(latencies({"store": 0.2}))
    assert found.verdict == "not enough data"
    assert "Nothing unusual" in found.reason
    assert found.suspects[0].confidence < 0.1


def test_too_few_points_are_not_enough_data() -> None:
    few = [
        Signal(one.node, one.kind, one.name, one.times[-14:], one.values[-14:]) for one in latencies({"front": 1})
    ]
    found = ask(few)
    assert (found.verdict, found.suspects) == ("not enough data", ())
    assert "too little" in found.reason
    assert "could be compared" in found.notes[0]


def test_a_level_that_had_moved_before_the_onset_is_no_news() -> None:
    """What was off for an hour when the trouble began did not begin it."""
    times = [ONSET + STEP * number for number in range(-BEFORE, SINCE)]
    moved = [0.05 if number < -60 else 0.5 for number in range(-BEFORE, SINCE)]
    signals = [one for one in latencies({"front": 0.1, "cart": 0.1}) if one.node != "search"]
    found = ask([*signals, Signal("search", "latency", "search", times, moved)])
    assert found.suspects[0].node == "cart"
    assert "search" not in [one.node for one in found.suspects]


def test_a_change_right_before_decides_between_equals_and_an_old_one_does_not() -> None:
    topology = Topology([("front", "left"), ("front", "right")])
    signals = [
        signal("front", "latency", 0.2, 0.1),
        signal("left", "latency", 0.1, 0.1, seed=3),
        signal("right", "latency", 0.1, 0.1, seed=3),
    ]
    release = Change(ONSET - 120, "release 41", "right", "changes.csv")
    old = Change(ONSET - 7 * 3600, "release 40", "left", "changes.csv")
    found = ask(signals, changes=[release, old], topology=topology)
    assert found.suspects[0].node == "right"
    assert found.changes == (release,)
    assert any("2 min before the onset: release 41" in one.words for one in found.suspects[0].evidence)


def test_a_dependency_that_fell_silent_is_suspected() -> None:
    store = signal("store", "latency", 0.01)
    silent = [
        value if time <= ONSET - STEP else math.nan for time, value in zip(store.times, store.values, strict=True)
    ]
    signals = [one for one in latencies({"front": 0.1, "cart": 0.02}) if one.node != "store"]
    found = ask([*signals, Signal("store", "latency", "store", store.times, silent)])
    (suspect,) = [one for one in found.suspects if one.node == "store"]
    assert "not since" in suspect.evidence[0].words


def test_what_does_not_lead_to_the_complaint_counts_less() -> None:
    found = ask(latencies({"front": 0.1, "cart": 0.1, "batch": 5.0}))
    assert found.suspects[0].node == "cart"


def test_a_circle_of_calls_comes_to_an_end() -> None:
    circle = Topology([("front", "cart"), ("cart", "store"), ("store", "front"), ("cart", "cart")])
    found = ask(latencies({"front": 0.1, "cart": 0.1, "store": 0.1}), topology=circle)
    assert found.verdict in ("suspects", "unclear")
    assert circle.path("front", "store") == ("front", "cart", "store")
    assert circle.path("store", "nowhere") == ()


def test_without_a_topology_nobody_is_called_likely() -> None:
    found = ask(latencies({"front": 0.1, "cart": 0.1}), topology=Topology(()))
    assert found.verdict == "unclear"
    assert found.suspects[0].confidence <= 0.3


def test_the_order_in_which_signals_are_given_changes_nothing() -> None:
    signals = latencies({"front": 0.1, "cart": 0.1})
    assert ask(signals) == ask(signals[::-1])


def test_a_season_is_compared_with_its_own_time_of_day() -> None:
    day = 86_400.0
    times = [ONSET + 600.0 * number for number in range(-144 * 5, 6)]
    values = [1.0 + (5.0 if abs((time - ONSET) % day - day / 2) > day / 2 - 7200 else 0.0) for time in times]
    shift = measure(Signal("a", "saturation", "a", times, values), ONSET, 600.0)
    assert shift is not None
    assert abs(shift.strength) < 1


def test_chance_is_judged_by_how_often_it_happened_before() -> None:
    times = [ONSET + STEP * number for number in range(-200, 20)]
    spiky = [10.0 if number % 10 == 0 else 1.0 for number in range(-200, 20)]
    steady = [10.0 if number >= 0 else 1.0 for number in range(-200, 20)]
    chances = []
    for values in (spiky, steady):
        one = Signal("a", "latency", "a", times, values)
        shift = measure(one, ONSET, STEP)
        assert shift is not None
        chances.append(surprise(one, shift, ONSET, STEP))
    assert chances[0] > 0.2
    assert chances[1] < 1e-6
