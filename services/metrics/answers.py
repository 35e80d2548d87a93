"""What the JSON of Prometheus's HTTP API says, as the port's own types.

Every function raises one of `WRONG_SHAPE` for JSON of another shape; the callers make one error of it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, cast

from quantum_suite.services.metrics.interface import (
    ActiveAlert,
    AlertState,
    Exemplar,
    MetricMetadata,
    MetricType,
    Notes,
    Rule,
    RuleGroup,
    RuleHealth,
    Series,
    Target,
)

WRONG_SHAPE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading JSON of another shape raises; `RecursionError` for what is nested without an end."""

LAST_SECOND = 253_402_300_799
"""Of the year 9999."""
_TYPES = frozenset(
    {"counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"},
)
_STATES = ("inactive", "pending", "firing")
_PART = re.compile(r"(\d{1,12})(ms|[smhdwy])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def listed(value: Any) -> list[Any]:
    """Return a list as it is; raises TypeError for anything else, an empty object included."""
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def series_of(data: Mapping[str, Any], notes: Notes | None) -> list[Series]:
    """Read the `data` of a query of any result type."""
    kind, result = data["resultType"], data["result"]
    if kind == "string" or not isinstance(result, list):
        raise ValueError("no series")
    if kind == "scalar":
        return [_series({}, [result])]
    if kind == "vector":
        found = [_series(each["metric"], [each["value"]]) for each in result if "value" in each]
    elif kind == "matrix":
        found = [_series(each["metric"], each["values"]) for each in result if "values" in each]
    else:
        raise ValueError("an unknown type of result")
    native = sum(1 for each in result if "histogram" in each or "histograms" in each)
    if native and notes is not None:
        notes.append(
            f"{native} series hold native histograms, which have no single value: use histogram_quantile(), "
            "histogram_count() or histogram_sum() on them."
        )
    return found


def _series(labels: Mapping[str, str], points: Iterable[Sequence[Any]]) -> Series:
    pairs = [(float(at), float(value)) for at, value in points]
    times = tuple(at for at, _ in pairs)
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise ValueError("times that do not ascend")
    if times:
        _check_time(times[0])
        _check_time(times[-1])
    return Series(
        {str(name): str(value) for name, value in labels.items()}, times, tuple(value for _, value in pairs)
    )


def _check_time(seconds: float) -> None:
    """Raise ValueError for a time that no calendar has: what is done with it later would fail."""
    if not 0 <= seconds <= LAST_SECOND:
        raise ValueError("a time before 1970 or after 9999")


def metadata_of(data: Mapping[str, Any]) -> dict[str, MetricMetadata]:
    """Read the `data` of `/metadata`."""
    return {
        name: MetricMetadata(
            cast("MetricType", said[0].get("type") if said[0].get("type") in _TYPES else "unknown"),
            str(said[0].get("help", "")),
            str(said[0].get("unit", "")),
        )
        for name, said in data.items()
        if said
    }


def alert_of(said: Mapping[str, Any]) -> ActiveAlert:
    """Read one alert of `/alerts`, or of a rule."""
    return ActiveAlert(
        dict(said["labels"]),
        dict(said.get("annotations") or {}),
        _state(said.get("state")),
        seconds_of(said.get("activeAt")),
        float(said.get("value") or "nan"),
    )


def rule_group_of(said: Mapping[str, Any]) -> RuleGroup:
    """Read one group of `/rules`."""
    return RuleGroup(
        str(said["name"]),
        str(said.get("file", "")),
        float(said.get("interval") or 0),
        [_rule(each) for each in said["rules"]],
    )


def _rule(said: Mapping[str, Any]) -> Rule:
    alerts = [alert_of(each) for each in said.get("alerts") or ()]
    health = said.get("health")
    return Rule(
        str(said["name"]),
        "alerting" if said.get("type") == "alerting" else "recording",
        str(said.get("query", "")),
        dict(said.get("labels") or {}),
        dict(said.get("annotations") or {}),
        float(said.get("duration") or 0),
        cast("RuleHealth", health) if health in ("ok", "err") else "unknown",
        str(said.get("lastError") or ""),
        _state(said.get("state")),
        alerts,
    )


def exemplars_of(data: Iterable[Mapping[str, Any]]) -> list[Exemplar]:
    """Read the `data` of `/query_exemplars`, by time."""
    found = [
        Exemplar(dict(each["seriesLabels"]), dict(one["labels"]), float(one["value"]), float(one["timestamp"]))
        for each in data
        for one in each["exemplars"]
    ]
    for exemplar in found:
        _check_time(exemplar.time)
    return sorted(found, key=lambda exemplar: exemplar.time)


def target_of(said: Mapping[str, Any]) -> Target:
    """Read one active target of `/targets`."""
    labels = {str(name): str(value) for name, value in said["labels"].items()}
    return Target(
        labels.get("job", str(said.get("scrapePool", ""))),
        labels.get("instance", str(said.get("scrapeUrl", ""))),
        said.get("health") == "up",
        str(said.get("lastError") or ""),
        seconds_of(said.get("lastScrape")),
        duration_of(said.get("scrapeInterval") or "0s"),
        {name: value for name, value in labels.items() if name not in ("job", "instance")},
    )


def seconds_of(text: str | None) -> float:
    """Return the Unix seconds of a timestamp of RFC 3339; 0 for none, and for Go's zero time."""
    if not text or text.startswith("0001-"):
        return 0.0
    return instant_of(text).timestamp()


def instant_of(text: str) -> datetime:
    """Return the time of a timestamp of RFC 3339, whatever the length of its fraction."""
    whole, dot, rest = text.partition(".")
    if not dot:
        return datetime.fromisoformat(text)
    digits = len(rest) - len(rest.lstrip("0123456789"))
    return datetime.fromisoformat(f"{whole}.{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}")


def duration_of(text: str) -> float:
    """Return the seconds of a duration as Prometheus writes it (`1m30s`, `0`). Raises ValueError."""
    if text == "0":
        return 0.0
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"'{text}' is no duration")
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _state(said: Any) -> AlertState:
    return cast("AlertState", said) if said in _STATES else "inactive"
