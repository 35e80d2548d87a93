"""Pictures of series."""

import math
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.metrics import plotting
from quantum_suite.services.metrics.interface import Series, Window
from quantum_suite.services.metrics.plotting import draw_plot, shared_labels, thinned, told_labels

WINDOW = Window(1_700_000_000, 1_700_003_600, 60)
TIMES = [1_700_000_000.0 + 60 * index for index in range(61)]


@pytest.mark.anyio
async def test_whatever_labels_and_values_hold_a_picture_comes_out(tmp_path: Path) -> None:
    series = [
        Series({"__name__": "_hidden", "job": "$x_{$"}, TIMES, [math.sin(index) for index in range(61)]),
        Series({"a": "\\frac{", "b": "é\n<b>" * 40}, TIMES[:30] + TIMES[50:], [1.0] * 41),
        Series({"c": "one point"}, TIMES[:1], [2.0]),
        Series({"c": "nothing"}, TIMES[:2], [math.nan, math.inf]),
    ]
    picture = await draw_plot("$\\invalid{ _title" * 20, series, WINDOW, tmp_path / "cache")
    assert picture.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">II", picture[16:24]) == (800, 400)


@pytest.mark.anyio
async def test_without_matplotlib_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda _: None)
    with pytest.raises(EngineMissing, match="pip install"):
        await draw_plot("x", [Series({}, TIMES, [1.0] * 61)], WINDOW, tmp_path)


@pytest.mark.anyio
async def test_a_drawing_that_fails_is_told_and_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no ink')")
    monkeypatch.setattr(plotting, "_WORKER", broken)
    with pytest.raises(EngineError, match=r"Nothing was drawn\. no ink"):
        await draw_plot("x", [Series({}, TIMES, [1.0] * 61)], WINDOW, tmp_path)
    broken.write_text("import time; time.sleep(600)")
    monkeypatch.setattr(plotting, "_SECONDS", 0.3)
    with pytest.raises(EngineError, match="did not finish"):
        await draw_plot("x", [Series({}, TIMES, [1.0] * 61)], WINDOW, tmp_path)


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=3000))
def test_thinning_keeps_the_extremes_and_the_order(values: list[float]) -> None:
    times = [float(index) for index in range(len(values))]
    kept_times, kept = thinned(times, values)
    assert len(kept) == len(kept_times) <= 810
    assert kept_times == sorted(set(kept_times))
    finite = [value for value in values if math.isfinite(value)]
    shown = [value for value in kept if math.isfinite(value)]
    assert (min(finite, default=None), max(finite, default=None)) == (
        min(shown, default=None),
        max(shown, default=None),
    )


def test_labels_that_all_share_are_said_once() -> None:
    labels = [{"__name__": "up", "job": "a", "code": "1"}, {"__name__": "up", "job": "a", "code": "2"}]
    shared = shared_labels(labels)
    assert shared == {"__name__": "up", "job": "a"}
    assert told_labels(labels[0], shared) == '{code="1"}'
    assert shared_labels(labels[:1]) == {}
    assert told_labels(labels[0], {}) == 'up{job="a", code="1"}'
    assert told_labels({}, {}) == "{}"
