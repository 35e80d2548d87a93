"""Draws one plot: reads what to draw as JSON from standard input, writes a PNG to standard output.

A program of its own, because Matplotlib takes long to import and is not made for threads.
"""

import importlib
import io
import json
import math
import sys
from typing import Any

_INCHES = (8.0, 4.0)
_DOTS_PER_INCH = 100
_DAY = 86400
"""Seconds in what Matplotlib counts in, from 1970 on."""


def draw(request: dict[str, Any]) -> bytes:
    """Return a PNG of lines over time: `title`, `start`, `end` and `lines` (`label`, `times`, `values`)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Half of this module has no types.
    dates: Any = importlib.import_module("matplotlib.dates")
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line in request["lines"]:
        days = [at / _DAY for at in line["times"]]
        values = [math.nan if value is None else value for value in line["values"]]
        # Points of their own where a line would not show: one alone has no length.
        marker = "." if len(values) < 2 else ""
        axes.plot(days, values, linewidth=1.2, marker=marker, label=_plain(line["label"]))
    axes.set_xlim(request["start"] / _DAY, request["end"] / _DAY)
    locator = dates.AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axes.set_title(_plain(request["title"]), fontsize=9, loc="left")
    axes.set_xlabel("time, UTC", fontsize=8)
    axes.grid(visible=True, alpha=0.3)
    axes.tick_params(labelsize=8)
    if len(request["lines"]) > 1:
        axes.legend(fontsize=7, loc="upper left")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _plain(text: str) -> str:
    """Return text that Matplotlib shows as it is: dollars begin formulas, and a leading _ hides a line."""
    escaped = text.replace("\\", "\\\\").replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


if __name__ == "__main__":
    sys.stdout.buffer.write(draw(json.loads(sys.stdin.buffer.read())))
