"""Turns OpenSLO's indicators and budgeting methods into PromQL."""

import re
from dataclasses import dataclass

from quantum_suite.services.metrics.promql import parse_query
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.fields import WINDOW, Fields, Problems, check_query_text, put_window
from quantum_suite.services.slo.interface import Budgeting, Indicator
from quantum_suite.services.slo.openslo_objects import ROOT, OpenSloObjects, spec_of
from quantum_suite.services.yaml_nodes import Node

_SOURCES = ("prometheus", "thanos", "mimir", "cortex", "victoriametrics", "amazonprometheus")
_SELECTOR = re.compile(r"[A-Za-z_:][\w:]*\s*(?:\{[^{}]*\})?")
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a sample of a threshold metric has to be to be good."""

    operator: str
    value: float


@dataclass(frozen=True, slots=True)
class Slices:
    """How time slices are judged; `target` is None for RatioTimeslices."""

    seconds: float
    target: float | None


def read_indicator(
    node: Node, problems: Problems, objects: OpenSloObjects, threshold: Threshold | None
) -> Indicator:
    """Read an inlined indicator or a document of kind SLI; what is wrong is noted."""
    spec = Fields(
        spec_of(Fields(node, problems, ROOT)), problems, ("description", "ratioMetric", "thresholdMetric")
    )
    ratio, metric = spec.get("ratioMetric"), spec.get("thresholdMetric")
    if (ratio is None) == (metric is None):
        problems.add(spec.node, "One of ratioMetric and thresholdMetric has to be there, and one alone.")
        return Indicator()
    if ratio is not None:
        return _read_ratio(ratio, problems, objects)
    assert metric is not None  # one of the two is
    if threshold is None:
        problems.add(metric, "A thresholdMetric is compared with a value.", "Give op and value in the objective.")
        return Indicator()
    query = _read_source(metric, problems, objects)
    if query is None:
        return Indicator()
    text = check_query_text(query.written, query, problems, window=False)
    if WINDOW.search(text):
        problems.add(
            query, "A threshold is compared with each sample.", "Write a fixed range instead of {{.window}}."
        )
        return Indicator()
    good = f"avg(avg_over_time((({text}) {threshold.operator} bool {threshold.value:.12g})[{{{{.window}}}}:]))"
    return Indicator(error_ratio=f"1 - {good}") if text else Indicator()


def _read_ratio(node: Node, problems: Problems, objects: OpenSloObjects) -> Indicator:
    fields = Fields(node, problems, ("counter", "good", "bad", "total", "rawType", "raw"))
    counter = fields.flag("counter")
    raw = fields.get("raw")
    good, bad, total = fields.get("good"), fields.get("bad"), fields.get("total")
    if raw is not None:
        if good is not None or bad is not None or total is not None:
            problems.add(raw, "raw is a ratio already.", "Leave good, bad and total out.")
        kind = fields.choice("rawType", ("success", "failure"))
        return _read_raw(raw, problems, objects, success=kind == "success")
    if total is None:
        problems.add(node, "This is missing.", "Give all events, beside good or bad.", key="total")
        return Indicator()
    if (good is None) == (bad is None):
        problems.add(node, "One of good and bad has to be there, and one alone.", "Give the events you can count.")
        return Indicator()
    part = good if good is not None else bad
    assert part is not None  # one of the two is
    some, everything = (_events(each, problems, objects, counter=counter) for each in (part, total))
    if not some or not everything:
        return Indicator()
    if put_window(some, "w") == put_window(everything, "w"):
        problems.add(part, "Both queries are the same.", "Select the good or the bad events alone.")
    if bad is not None:
        return Indicator(error=some, total=everything)
    return Indicator(error_ratio=f"1 - (({some}) / ({everything}))", total=everything)


def _read_raw(node: Node, problems: Problems, objects: OpenSloObjects, *, success: bool) -> Indicator:
    query = _read_source(node, problems, objects)
    text = check_query_text(query.written, query, problems, window=False) if query is not None else ""
    if not text:
        return Indicator()
    ratio = text if WINDOW.search(text) else f"avg(avg_over_time(({text})[{{{{.window}}}}:]))"
    return Indicator(error_ratio=f"1 - ({ratio})" if success else ratio)


def _events(node: Node, problems: Problems, objects: OpenSloObjects, *, counter: bool) -> str:
    """Return how many events a query counts in a window: as it says, or as a counter or a gauge is counted."""
    query = _read_source(node, problems, objects)
    text = check_query_text(query.written, query, problems, window=False) if query is not None else ""
    if not text or WINDOW.search(text):
        return text
    if not counter:
        return f"sum(sum_over_time(({text})[{{{{.window}}}}:]))"
    assert query is not None  # it has text
    counted = f"sum(increase({text}[{{{{.window}}}}]))"
    if _is_selector(text):
        return counted
    problems.add(
        query,
        "This counter is more than a selector, so it is not known where its range stands.",
        "Write {{.window}} in the query: sum(rate(http_requests_total[{{.window}}])).",
    )
    return ""


def _is_selector(text: str) -> bool:
    parsed = parse_query(text)
    if parsed is None:  # the parser is not installed
        return _SELECTOR.fullmatch(text.strip()) is not None
    return type(parsed.tree).__name__ == "VectorSelector"


def _read_source(node: Node, problems: Problems, objects: OpenSloObjects) -> Node | None:
    """Return the query of a metric; notes a source that does not speak PromQL."""
    wrapped = Fields(node, problems, ("metricSource",)).require("metricSource", "Give type and spec.query.")
    if wrapped is None:
        return None
    source = Fields(wrapped, problems, ("metricSourceRef", "type", "spec"))
    kind, at = source.text("type"), source.get("type")
    reference = source.get("metricSourceRef")
    if not kind and reference is not None:
        named = objects.find("DataSource", reference.written, reference, problems)
        if named is None:
            return None
        spec = Fields(
            spec_of(Fields(named, problems, ROOT)), problems, ("description", "type", "connectionDetails")
        )
        kind, at = spec.text("type", "Name the kind of source, e.g. Prometheus."), spec.get("type")
    if not kind:
        problems.add(wrapped, "This is missing.", "Give Prometheus, or metricSourceRef.", key="type")
        return None
    if kind.lower().replace("-", "").replace("_", "") not in _SOURCES:
        problems.add(
            at or wrapped, f"'{kind[:40]}' is not asked in PromQL.", "Prometheus and its like can be asked."
        )
        return None
    given = source.require("spec", "Give query.")
    if given is None:
        return None
    fields = Fields(given, problems, ("query", "promql"))
    key = "promql" if fields.get("promql") is not None else "query"
    return fields.get(key) if fields.text(key, "Give PromQL.") else None


def in_slices(indicator: Indicator, method: Budgeting, slices: Slices) -> Indicator:
    """Return an indicator whose events are slices of time.

    Timeslices: the share of slices in which too many events were bad; one without events is good, for nobody was
    let down. RatioTimeslices: the mean of the slices' own shares; slices without events do not count.
    """
    length = prometheus_duration(slices.seconds)
    ratio = put_window(ratio_of(indicator), length)
    if method == "RatioTimeslices":
        return Indicator(error_ratio=f"avg_over_time((({ratio}) >= 0)[{{{{.window}}}}:{length}])")
    allowed = 1 - (slices.target or 0.0)
    return Indicator(error_ratio=f"avg_over_time((({ratio}) > bool {allowed:.12g})[{{{{.window}}}}:{length}])")


def ratio_of(indicator: Indicator) -> str:
    """Return the share of bad events in a window as one query."""
    if indicator.error_ratio is not None:
        return indicator.error_ratio
    return f"({indicator.error})\n/\n({indicator.total})\n"


def read_threshold(fields: Fields) -> Threshold | None:
    """Return `op` and `value` of an objective; None where there is no value."""
    value = fields.number("value")
    if value is None:
        return None
    operator = fields.choice("op", tuple(_OPERATORS))
    return Threshold(_OPERATORS[operator], value) if operator is not None else None
