"""Times, durations and steps as people write them."""

import math
import re
from datetime import UTC, datetime

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.answers import LAST_SECOND, duration_of
from quantum_suite.services.metrics.interface import Window

DEFAULT_LAST = "1h"
_WANTED_POINTS = 240
"""Enough for a picture and a trend, few enough to be cheap."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_RELATIVE = re.compile(r"(?:now)?\s*-\s*(\w+)(?:\s+ago)?")


def read_duration(text: str, argument: str) -> float:
    """Return the seconds of `90`, `15m`, `1h30m`, `7d`; raises CallerError."""
    try:
        seconds = float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text) else duration_of(text.strip())
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise CallerError(f"'{text[:40]}' is no duration.", "Write e.g. 30s, 15m, 1h30m or 7d.", argument=argument)
    return seconds


def read_time(text: str, now: float, argument: str) -> float:
    """Return the Unix seconds of a time: RFC 3339, Unix seconds, `now`, `-1h` or `now-1h`; raises CallerError."""
    given = text.strip()
    if given == "now":
        return now
    if relative := _RELATIVE.fullmatch(given):
        return now - read_duration(relative[1], argument)
    try:
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", given):
            return min(float(given), LAST_SECOND)
        moment = datetime.fromisoformat(given)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise CallerError(
            f"'{text[:40]}' is no time.",
            "Write e.g. 2026-01-31T12:00:00Z (UTC where no zone is given), Unix seconds, now or -1h.",
            argument=argument,
        ) from None


def read_window(start: str | None, end: str | None, last: str | None, step: str | None, now: float) -> Window:
    """Return the window of a question: the last hour, where nothing is said; raises CallerError.

    Without a step one is chosen that gives about 240 points.
    """
    if start is not None and last is not None:
        raise CallerError("start and last say the same thing twice.", "Leave one of them out.", argument="last")
    until = read_time(end, now, "end") if end is not None else now
    if start is not None:
        since = read_time(start, now, "start")
    else:
        since = until - read_duration(last or DEFAULT_LAST, "last")
    if since < 0:
        argument = "start" if start is not None else "last"
        raise CallerError("The window begins before 1970.", "Ask for a shorter time.", argument=argument)
    if since >= until:
        raise CallerError("The window ends before it begins.", "Exchange start and end.", argument="end")
    chosen = read_duration(step, "step") if step is not None else fitting_step(until - since)
    return Window(since, until, chosen)


def fitting_step(seconds: float) -> float:
    """Return a round step that gives a stretch of time about 240 points."""
    wanted = seconds / _WANTED_POINTS
    return float(next((step for step in _STEPS if step >= wanted), math.ceil(wanted / 86400) * 86400))


def shown_time(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def shown_duration(seconds: float) -> str:
    """Return a duration in at most two units."""
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            whole, rest = divmod(round(seconds), size)
            return f"{whole}{unit}{rest // part}{smaller}" if rest // part else f"{whole}{unit}"
    return f"{seconds:g}s"
