"""Reads `openslo/v1alpha` as sloth does: ratios of good events, one SLO an objective, no alerts."""

from collections.abc import Sequence

from quantum_suite.services.slo.fields import Fields, Problems
from quantum_suite.services.slo.interface import DEFAULT_PERIOD_SECONDS, AlertWindows, Indicator, Slo
from quantum_suite.services.slo.openslo_objects import ROOT, V1ALPHA, metadata_of, spec_of
from quantum_suite.services.slo.windows import windows_of
from quantum_suite.services.yaml_nodes import Node

_SPEC = ("service", "description", "budgetingMethod", "objectives", "timeWindows", "indicator")
_MOST_DAYS = 3650


def read_openslo_v1alpha(document: Node, problems: Problems, windows: Sequence[AlertWindows]) -> list[Slo]:
    """Read a document of kind SLO."""
    root = Fields(document, problems, ROOT)
    root.choice("kind", ("SLO",))
    metadata = metadata_of(root, problems)
    name = metadata.name("name", "Name the SLO.")
    spec = Fields(spec_of(root), problems, _SPEC)
    service = spec.name("service", "Name the service.")
    spec.choice("budgetingMethod", ("Occurrences",), "Occurrences")
    period = _read_period(spec, problems)
    objectives = spec.items("objectives")
    if not objectives:
        spec.require("objectives", "Give a list with one objective at least.")
    found: list[Slo] = []
    for number, node in enumerate(objectives):
        fields = Fields(node, problems, ("displayName", "ratioMetrics", "target", "value"))
        found.append(
            Slo(
                service=service,
                name=f"{name}-{number}",
                objective_percent=_target(fields, problems),
                indicator=_read_ratio(fields, problems),
                windows=windows_of(period, windows),
                spec=V1ALPHA,
                description=spec.text("description"),
                period_seconds=period,
                file=problems.file,
                line=document.line,
            )
        )
    return found


def _target(fields: Fields, problems: Problems) -> float:
    node = fields.require("target", "Give a ratio, e.g. 0.999.")
    target = fields.number("target")
    if node is None or target is None or not 0 < target < 1:
        if node is not None and target is not None:
            problems.add(node, f"{target:g} is no target.", "Give more than 0, less than 1.")
        return 99.0
    return target * 100


def _read_period(spec: Fields, problems: Problems) -> float:
    items = spec.items("timeWindows")
    if not items:
        return DEFAULT_PERIOD_SECONDS
    if len(items) > 1:
        problems.add(items[1], "There is more than one time window.", "Keep one.")
    fields = Fields(items[0], problems, ("count", "unit", "isRolling"))
    if fields.text("unit", "Give Day.").lower() != "day":
        problems.add(items[0], "Only days can be counted.", "Give unit: Day, or write openslo/v1.", key="unit")
    count = fields.number("count")
    if count is None or count != int(count) or not 1 <= count <= _MOST_DAYS:
        problems.add(items[0], "This is no number of days.", "Give e.g. 30.", key="count")
        return DEFAULT_PERIOD_SECONDS
    return int(count) * 86400.0


def _read_ratio(fields: Fields, problems: Problems) -> Indicator:
    node = fields.require("ratioMetrics", "Give good and total.")
    if node is None:
        return Indicator()
    ratio = Fields(node, problems, ("good", "total", "counter", "incremental"))
    queries: list[str] = []
    for key in ("good", "total"):
        given = ratio.require(key, "Give source, queryType and query.")
        if given is None:
            continue
        metric = Fields(given, problems, ("source", "queryType", "query"))
        metric.choice("source", ("prometheus", "sloth"))
        metric.choice("queryType", ("promql",))
        queries.append(metric.query("query"))
    if len(queries) < 2 or not all(queries):
        return Indicator()
    good, total = queries
    return Indicator(error_ratio=f"1 - (({good}) / ({total}))", total=total)
