"""Plots of series, drawn in a process of their own."""

import math
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import anyio.to_thread
import orjson

from quantum_suite.core.errors import EngineError, EngineMissing, SuiteError
from quantum_suite.services.metrics.interface import Series, Window
from quantum_suite.services.metrics.promql import INSTALL_COMMAND
from quantum_suite.services.process import run

MOST_LINES = 10
_MOST_POINTS = 800
"""Of a line: as many as there are dots across the picture."""
_MOST_LABEL = 60
_SECONDS = 60.0
_MOST_BYTES = 8 * 1024 * 1024
_WORKER = Path(__file__).with_name("plot_worker.py")


async def draw_plot(title: str, series: Sequence[Series], window: Window, cache_dir: Path) -> bytes:
    """Return a PNG of the first `MOST_LINES` series. Raises EngineMissing and EngineError.

    Matplotlib keeps what it found of fonts in `cache_dir`. Long series are thinned so that their extremes stay; a
    gap in the data is a gap in the line.
    """
    if find_spec("matplotlib") is None:
        raise EngineMissing(
            "matplotlib is not installed, so nothing was drawn.",
            f"Install it: {INSTALL_COMMAND}",
            engine="matplotlib",
        )
    chosen = list(series[:MOST_LINES])
    shared = shared_labels([one.labels for one in chosen])
    request = {
        "title": title[:140],
        "start": window.start,
        "end": max(window.end, window.start + 1),
        "lines": [_line(one, shared, window.step) for one in chosen],
    }
    await anyio.to_thread.run_sync(lambda: cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700))
    try:
        done = await run(
            # Not as a module: a parent package would be imported with everything in it.
            [sys.executable, "-I", str(_WORKER)],
            env={"MPLCONFIGDIR": str(cache_dir), "MPLBACKEND": "agg"},
            stdin=orjson.dumps(request),
            timeout_seconds=_SECONDS,
            max_output_bytes=_MOST_BYTES,
        )
    except SuiteError as error:
        raise EngineError(f"Nothing was drawn: {error.message}", error.hint, engine="matplotlib") from error
    if done.returncode != 0:
        last = (done.stderr_tail.strip().splitlines() or [""])[-1][:300]
        raise EngineError("Nothing was drawn.", last or None, engine="matplotlib", printed=done.stderr_tail)
    return done.stdout


def shared_labels(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the labels that all series have alike; empty for a single one."""
    if len(labels) < 2:
        return {}
    return {name: value for name, value in labels[0].items() if all(one.get(name) == value for one in labels)}


def told_labels(labels: Mapping[str, str], leave_out: Mapping[str, str]) -> str:
    """Return a series' name and labels as PromQL writes them, without those that need no saying."""
    name = "" if "__name__" in leave_out else labels.get("__name__", "")
    told = ", ".join(
        f'{label}="{value}"' for label, value in labels.items() if label != "__name__" and label not in leave_out
    )
    return f"{name}{{{told}}}" if told else name or "{}"


def thinned(times: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return few enough points for a picture: of each stretch its lowest and its highest, in order."""
    if len(times) <= _MOST_POINTS:
        return list(times), list(values)
    size = math.ceil(len(times) / (_MOST_POINTS // 2))
    kept: list[int] = []
    for begin in range(0, len(times), size):
        stretch = range(begin, min(begin + size, len(times)))
        finite = [index for index in stretch if math.isfinite(values[index])] or [begin]
        kept += sorted({min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)})
    return [times[index] for index in kept], [values[index] for index in kept]


def _line(series: Series, shared: Mapping[str, str], step: float) -> dict[str, object]:
    times, values = thinned(series.times, series.values)
    # Thinned, points stand as far apart as the stretches they were taken from.
    apart = step if len(times) == len(series.times) else 2 * step * len(series.times) / len(times)
    widest = 1.5 * max(step, apart)
    shown_times: list[float] = []
    shown_values: list[float | None] = []
    for index, (at, value) in enumerate(zip(times, values, strict=True)):
        if index and at - times[index - 1] > widest:
            shown_times.append(at)
            shown_values.append(None)
        shown_times.append(at)
        shown_values.append(value if math.isfinite(value) else None)
    label = told_labels(series.labels, shared)
    return {
        "label": label if len(label) <= _MOST_LABEL else f"{label[: _MOST_LABEL - 3]}...",
        "times": shown_times,
        "values": shown_values,
    }
