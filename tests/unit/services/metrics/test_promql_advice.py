"""Queries that are right and do not mean what they say are met with advice, and others with none."""

from collections.abc import Mapping

import pytest

from quantum_suite.services.metrics.interface import MetricMetadata
from quantum_suite.services.metrics.promql import parse_query
from quantum_suite.services.metrics.promql_advice import advise, metric_names

KNOWN = {
    "requests_total": MetricMetadata("counter"),
    "orders": MetricMetadata("counter"),
    "queue_depth": MetricMetadata("gauge"),
    "duration_seconds": MetricMetadata("histogram"),
    "size_bytes": MetricMetadata("summary"),
}


def advice(query: str) -> list[str]:
    parsed = parse_query(query)
    assert parsed is not None

    def interval(labels: Mapping[str, str]) -> float | None:
        return {"slow": 60.0, "odd": None}.get(labels.get("job", ""), 15.0)

    return advise(parsed, KNOWN, interval)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("rate(queue_depth[5m])", "queue_depth is a gauge: rate()"),
        ("sum(increase(queue_depth[5m]))", "queue_depth is a gauge: increase()"),
        ("deriv(requests_total[5m])", "requests_total is a counter: deriv()"),
        ("requests_total > 100", "requests_total is a counter: its value is a total"),
        ("sum(orders_total)", "orders_total is a counter"),
        ("nobody_knows_total", "nobody_knows_total is a counter"),
        ("avg_over_time(size_bytes_count[5m])", "size_bytes_count is a counter"),
        ("duration_seconds", "duration_seconds is a histogram"),
        ("rate(requests_total[20s])", "20 s hold fewer than the two points that rate() needs. Use [60s]"),
        ('rate(requests_total{job="slow"}[1m])', "scraped every 60 s"),
        (
            "histogram_quantile(0.9, sum(rate(duration_seconds_bucket[5m])))",
            "needs the label le, which sum takes away",
        ),
        ("histogram_quantile(0.9, sum by (job) (rate(duration_seconds_bucket[5m])))", "needs the label le"),
        ("histogram_quantile(0.9, sum without (le) (rate(duration_seconds_bucket[5m])))", "needs the label le"),
        ("sum(rate(duration_seconds_bucket[5m])) > 3", "each of which counts all smaller ones too"),
        ("rate(sum(requests_total)[5m:])", "rate() of an aggregate"),
        ('{__name__="queue_depth"} + rate({__name__="queue_depth"}[5m])', "queue_depth is a gauge"),
    ],
)
def test_what_is_likely_not_meant_is_told(query: str, told: str) -> None:
    assert any(told in said for said in advice(query)), advice(query)


@pytest.mark.parametrize(
    "query",
    [
        "rate(requests_total[5m])",
        "sum by (code) (increase(orders_total[1h]))",
        "queue_depth > 5",
        "delta(queue_depth[5m])",
        "count(requests_total)",
        "absent(requests_total)",
        "resets(requests_total[1h])",
        "histogram_quantile(0.9, sum by (le, job) (rate(duration_seconds_bucket[5m])))",
        "histogram_quantile(0.9, rate(duration_seconds_bucket[5m]))",
        "histogram_quantile(0.9, sum without (instance) (rate(duration_seconds_bucket[5m])))",
        'sum(rate(duration_seconds_bucket{le="0.5"}[5m])) / sum(rate(duration_seconds_count[5m]))',
        "sum by (le) (rate(duration_seconds_bucket[5m]))",
        "rate(requests_total[30s])",
        'rate(requests_total{job="odd"}[1s])',
        "avg_over_time(queue_depth[1s])",
        "max_over_time(rate(requests_total[5m])[1h:1m])",
        "vector(1) + 2",
        "unknown_thing",
    ],
)
def test_what_is_well_asked_is_left_alone(query: str) -> None:
    assert advice(query) == []


def test_advice_is_given_once_however_often_it_applies() -> None:
    assert len(advice("queue_depth + rate(queue_depth[5m]) + rate(queue_depth[5m])")) == 1


def test_metrics_are_named_once_whichever_way_they_are_written() -> None:
    parsed = parse_query('a + rate(b[5m]) + {__name__="c"} + {__name__=~"d.*"} + a')
    assert parsed is not None
    assert metric_names(parsed) == ["a", "b", "c"]
