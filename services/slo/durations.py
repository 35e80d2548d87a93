"""Lengths of time as Prometheus and OpenSLO write them."""

import re

_UNITS = (
    (365 * 86_400_000, "y", True),
    (7 * 86_400_000, "w", True),
    (86_400_000, "d", False),
    (3_600_000, "h", False),
)
_SMALL = ((60_000, "m", False), (1_000, "s", False), (1, "ms", False))
_PROMETHEUS = re.compile(r"(?:\d{1,9}(?:ms|[smhdwy]))+")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_SHORTHAND = re.compile(r"([1-9]\d{0,5})([mhdwMQY])")
_SHORTHAND_DAYS = {"M": 30, "Q": 90, "Y": 365}
_MOST_SECONDS = 10 * 365 * 86400


def prometheus_duration(seconds: float) -> str:
    """Return a duration as Prometheus prints it: `1w` and `1y` where they fit exactly, else days and less."""
    left = round(seconds * 1000)
    if left == 0:
        return "0s"
    parts: list[str] = []
    for size, unit, exactly in (*_UNITS, *_SMALL):
        if exactly and left % size:
            continue
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def read_prometheus_duration(text: str) -> float | None:
    """Return the seconds of `5m`, `1h30m`, `30d`; None for anything else."""
    if not _PROMETHEUS.fullmatch(text):
        return None
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    return seconds if 0 < seconds <= _MOST_SECONDS else None


def read_shorthand(text: str) -> tuple[int, str, float] | None:
    """Return count, unit and nominal seconds of an OpenSLO duration; None for anything else.

    A month counts as 30 days, a quarter as 90, a year as 365.
    """
    match = _SHORTHAND.fullmatch(text)
    if match is None:
        return None
    count, unit = int(match[1]), match[2]
    seconds = count * (_SHORTHAND_DAYS[unit] * 86400.0 if unit in _SHORTHAND_DAYS else float(_SECONDS[unit]))
    return (count, unit, seconds) if seconds <= _MOST_SECONDS else None
