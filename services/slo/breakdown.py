"""Queries that show where bad events are."""

from collections.abc import Mapping, Sequence

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.metrics.interface import MetricSource, Window
from quantum_suite.services.metrics.promql import parse_query
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.fields import put_window
from quantum_suite.services.slo.interface import Slo

_MOST_SERIES = 300
_MOST_VALUES = 50
_MOST_LABELS = 4
_HOUR = 3600.0


async def breakdown_queries(source: MetricSource, slo: Slo, at: float, seconds: float) -> list[str]:
    """Return PromQL that splits the bad events by each label that has several values, most telling first.

    Where the indicator has one query for a ratio, the series it reads first are split instead. Empty where its
    query reads no series, or the source cannot be asked.
    """
    template = slo.indicator.error or slo.indicator.error_ratio
    if template is None:
        return []
    parsed = parse_query(put_window(template, prometheus_duration(seconds)))
    if parsed is None:
        return []
    first = next(parsed.selectors(), None)
    if first is None:
        return []
    chosen = str(first[0].prettify())
    counted = any(type(node).__name__ == "MatrixSelector" for node in first[1])
    try:
        series = await source.series([chosen], Window(at - max(seconds, _HOUR), at, _HOUR), _MOST_SERIES)
    except SuiteError:
        return []
    labels = _telling_labels(series)
    length = prometheus_duration(seconds)
    if counted:
        return [f"topk(10, sum by ({label}) (rate({chosen}[{length}])))" for label in labels]
    return [f"topk(10, avg by ({label}) ({chosen}))" for label in labels]


def _telling_labels(series: Sequence[Mapping[str, str]]) -> list[str]:
    """Return labels with more than one value and not too many, those with few values first."""
    values: dict[str, set[str]] = {}
    for labels in series:
        for name, value in labels.items():
            if name not in ("__name__", "le"):
                values.setdefault(name, set()).add(value)
    telling = [name for name, found in values.items() if 1 < len(found) <= _MOST_VALUES]
    return sorted(telling, key=lambda name: (len(values[name]), name))[:_MOST_LABELS]
