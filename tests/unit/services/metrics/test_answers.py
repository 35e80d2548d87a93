"""JSON of a source, whatever it holds."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.services.metrics.answers import (
    WRONG_SHAPE,
    alert_of,
    duration_of,
    exemplars_of,
    instant_of,
    metadata_of,
    rule_group_of,
    seconds_of,
    series_of,
    target_of,
)

WORDS = st.sampled_from(
    ["resultType", "result", "metric", "value", "values", "labels", "vector", "matrix", "scalar"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_whatever_comes_is_read_or_of_a_wrong_shape(data: object) -> None:
    for read in (series_of, metadata_of, alert_of, rule_group_of, exemplars_of, target_of):
        # Anything else would be told as a bug of ours.
        with suppress(*WRONG_SHAPE):
            read(data, None) if read is series_of else read(data)  # type: ignore[operator,arg-type]  # that is the point


@pytest.mark.parametrize(
    "points",
    [[[2, "1"], [1, "1"]], [[1, "1"], [1, "2"]], [[1e300, "1"]], [[-1, "1"]], [["NaN", "1"]], [[10**400, "1"]]],
)
def test_times_that_no_series_has_are_a_wrong_shape(points: list[list[object]]) -> None:
    with pytest.raises(WRONG_SHAPE):
        series_of({"resultType": "matrix", "result": [{"metric": {}, "values": points}]}, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-27T21:31:01.951441779Z", 1_795_815_061.951441),
        ("2026-11-27T21:31:01Z", 1_795_815_061),
        ("2026-11-27T22:31:01.5+01:00", 1_795_815_061.5),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_timestamps_are_read_whatever_the_length_of_their_fraction(text: str | None, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds, abs=1e-6)


def test_a_timestamp_keeps_its_zone() -> None:
    assert instant_of("2026-11-27T21:31:01.95Z").utcoffset() is not None


@pytest.mark.parametrize("text", ["", "1", "x", "1.5s", "5m3", "-1s", "s"])
def test_what_is_no_duration_is_a_wrong_shape(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        duration_of(text)
