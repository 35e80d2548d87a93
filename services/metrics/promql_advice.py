"""What a query may be right about and still not mean: told beside the answer, never mended.

Each piece of advice follows Prometheus's own documentation of functions, metric types and histograms.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantum_suite.services.metrics.interface import MetricMetadata, MetricType
from quantum_suite.services.metrics.promql import ParsedQuery

_RATES = frozenset({"rate", "irate", "increase"})
_DIFFERENCES = frozenset({"delta", "idelta", "deriv", "predict_linear"})
_NOT_OF_VALUES = frozenset(
    {"resets", "changes", "absent", "absent_over_time", "present_over_time", "count_over_time", "timestamp"}
)
_COUNTING = frozenset({"count", "group", "count_values"})
_QUANTILES = frozenset({"histogram_quantile", "histogram_fraction"})
_COUNTER_PARTS = ("_total", "_bucket", "_count", "_sum")
_HISTOGRAM_PARTS = ("_bucket", "_count", "_sum")

IntervalOf = Callable[[Mapping[str, str]], float | None]
"""Takes the labels that a selector requires to be equal to something, and returns how often such targets are
scraped, in seconds; None where that is not known."""


@dataclass(frozen=True, slots=True)
class _Use:
    """One selector in a query, and what is done with it."""

    name: str
    type: MetricType
    around: tuple[Any, ...]
    labels: Mapping[str, str]
    constrained: frozenset[str]
    """Labels that the selector says anything about."""

    def inside(self, functions: frozenset[str]) -> bool:
        return any(_function(node) in functions for node in self.around)

    def aggregated(self, aggregations: frozenset[str]) -> bool:
        return any(_aggregation(node) in aggregations for node in self.around)

    @property
    def function(self) -> str:
        """The innermost function."""
        return next((name for node in reversed(self.around) if (name := _function(node))), "")


def metric_names(parsed: ParsedQuery) -> list[str]:
    """Return the metrics that a query selects by name, each once."""
    names = (name for selector, _ in parsed.selectors() if (name := _name_of(selector)))
    return list(dict.fromkeys(names))


def family_of(name: str) -> list[str]:
    """Return under which names exporters may have declared a metric, likeliest first."""
    return [name, *(name.removesuffix(part) for part in _COUNTER_PARTS if name.endswith(part))]


def advise(parsed: ParsedQuery, known: Mapping[str, MetricMetadata], interval_of: IntervalOf) -> list[str]:
    """Return advice on a query, each a sentence or two. `known` is what exporters say of the metrics in it."""
    found: list[str] = []
    for selector, around in parsed.selectors():
        name = _name_of(selector)
        use = _Use(
            name,
            _type_of(name, known),
            around,
            {each.name: each.value for each in selector.matchers.matchers if str(each.op) == "MatchOp.Equal"},
            frozenset(each.name for each in selector.matchers.matchers),
        )
        checks = (_rate_of_gauge, _difference_of_counter, _bare_counter, _bare_histogram, _buckets, _rate_of_sum)
        found += [said for check in checks if (said := check(use))]
        if (said := _short_range(use, interval_of)) is not None:
            found.append(said)
    return list(dict.fromkeys(found))


def _type_of(name: str, known: Mapping[str, MetricMetadata]) -> MetricType:
    declared: MetricType = next((known[each].type for each in family_of(name) if each in known), "unknown")
    if declared == "histogram" and name.endswith(_HISTOGRAM_PARTS) and name not in known:
        return "counter"
    if declared == "summary" and name.endswith(("_count", "_sum")) and name not in known:
        return "counter"
    # Without a word of an exporter the ending tells: it is the convention, and OpenMetrics demands it.
    return "counter" if declared == "unknown" and name.endswith(("_total", "_bucket")) else declared


def _rate_of_gauge(use: _Use) -> str | None:
    if use.type != "gauge" or use.function not in _RATES:
        return None
    return (
        f"{use.name} is a gauge: {use.function}() takes every fall of it for a restart. "
        "Use delta(), deriv(), or avg_over_time()."
    )


def _difference_of_counter(use: _Use) -> str | None:
    if use.type != "counter" or use.function not in _DIFFERENCES:
        return None
    return f"{use.name} is a counter: {use.function}() does not see restarts. Use rate() or increase()."


def _bare_counter(use: _Use) -> str | None:
    handled = use.inside(_RATES | _NOT_OF_VALUES | _DIFFERENCES) or use.aggregated(_COUNTING)
    if use.type != "counter" or handled:
        return None
    return (
        f"{use.name} is a counter: its value is a total since its process began. "
        f"rate({use.name}[5m]) says how fast it grows."
    )


def _bare_histogram(use: _Use) -> str | None:
    if use.type != "histogram" or use.name.endswith(_HISTOGRAM_PARTS):
        return None
    return (
        f"{use.name} is a histogram: unless it is a native one, its series are {use.name}_bucket, "
        f"{use.name}_count and {use.name}_sum."
    )


def _buckets(use: _Use) -> str | None:
    if not use.name.endswith("_bucket"):
        return None
    lost = [node for node in use.around if _aggregation(node) and not _keeps_le(node)]
    if use.inside(_QUANTILES):
        if not lost:
            return None
        return (
            f"{next(iter(_QUANTILES & {_function(node) for node in use.around}))}() needs the label le, which "
            f"{_aggregation(lost[0])} takes away: aggregate by (le, ...)."
        )
    if "le" in use.constrained or use.aggregated(_COUNTING) or (use.around and not lost and _grouped(use)):
        return None
    return (
        f"{use.name} holds buckets, each of which counts all smaller ones too: choose one by le, or use "
        f"histogram_quantile(0.9, sum by (le) (rate({use.name}[5m])))."
    )


def _rate_of_sum(use: _Use) -> str | None:
    for index, node in enumerate(use.around):
        if _function(node) in _RATES and any(_aggregation(each) for each in use.around[index:]):
            return (
                f"{_function(node)}() of an aggregate takes the restart of one series for a fall of all: "
                f"aggregate the rates instead, e.g. sum({_function(node)}({use.name or '...'}[5m]))."
            )
    return None


def _short_range(use: _Use, interval_of: IntervalOf) -> str | None:
    matrix = use.around[-1] if use.around and type(use.around[-1]).__name__ == "MatrixSelector" else None
    if matrix is None or use.function not in _RATES | _DIFFERENCES:
        return None
    seconds, interval = matrix.range.total_seconds(), interval_of(use.labels)
    if interval is None or seconds >= 2 * interval:
        return None
    return (
        f"{use.name or 'The selector'} is scraped every {interval:g} s: {seconds:g} s hold fewer than the two "
        f"points that {use.function}() needs. Use [{4 * interval:g}s] or more."
    )


def _keeps_le(node: Any) -> bool:
    if node.modifier is None:
        return False
    by = str(node.modifier.type) == "AggModifierType.By"
    return ("le" in node.modifier.labels) == by


def _grouped(use: _Use) -> bool:
    return any(_aggregation(node) and _keeps_le(node) for node in use.around)


def _function(node: Any) -> str:
    return str(node.func.name) if type(node).__name__ == "Call" else ""


def _aggregation(node: Any) -> str:
    return str(node.op) if type(node).__name__ == "AggregateExpr" else ""


def _name_of(selector: Any) -> str:
    if selector.name:
        return str(selector.name)
    named = [each for each in selector.matchers.matchers if each.name == "__name__"]
    return str(named[0].value) if named and str(named[0].op) == "MatchOp.Equal" else ""
