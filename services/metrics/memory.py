"""The twin of a source: series that are handed to it, found by selectors.

It answers selectors and numbers, as Prometheus does (with the newest sample of the last five minutes), and refuses
every other PromQL.
"""

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantum_suite.core.errors import CallerError, EngineMissing
from quantum_suite.services.metrics.interface import (
    ActiveAlert,
    Exemplar,
    MetricMetadata,
    Notes,
    RuleGroup,
    Series,
    SourceStatus,
    Target,
    Window,
)
from quantum_suite.services.metrics.limits import SourceLimits, check_amount, check_window
from quantum_suite.services.metrics.promql import INSTALL_COMMAND, check_query

if TYPE_CHECKING:
    from promql_parser import Matcher, VectorSelector

LOOKBACK_SECONDS = 300.0


@dataclass(slots=True)
class MemorySource:
    """A source over series in memory. What it holds may be exchanged at any time."""

    name: str
    held: Sequence[Series] = ()
    known: Mapping[str, MetricMetadata] = field(default_factory=dict)
    rule_groups: Sequence[RuleGroup] = ()
    exemplars_held: Sequence[Exemplar] = ()
    scraped: Sequence[Target] = ()
    limits: SourceLimits = field(default_factory=SourceLimits)

    async def instant(self, query: str, at: float, notes: Notes | None = None) -> list[Series]:
        """Return the value of a selector or a number at a time; of a range selector, its points."""
        import promql_parser

        tree = self._tree(query, notes)
        if isinstance(tree, promql_parser.NumberLiteral):
            return [Series({}, (at,), (tree.val,))]
        if isinstance(tree, promql_parser.MatrixSelector):
            first = at - tree.range.total_seconds()
            found = [_between(series, first, at) for series in self._fitting(tree.vector_selector)]
            return [series for series in found if series.times]
        return self._found(tree, [at])

    async def range(self, query: str, window: Window, notes: Notes | None = None) -> list[Series]:
        """Return the values of a selector or a number over a window."""
        import promql_parser

        tree = self._tree(query, notes)
        check_window(window)
        times = [window.start + index * window.step for index in range(window.points)]
        if isinstance(tree, promql_parser.NumberLiteral):
            return [Series({}, tuple(times), (tree.val,) * len(times))]
        if isinstance(tree, promql_parser.MatrixSelector):
            raise CallerError("A range query needs an instant vector, not a range.", argument="query")
        return self._found(tree, times)

    async def series(
        self, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[Mapping[str, str]]:
        """Return the label sets that match one of the selectors."""
        if not matchers:
            raise CallerError("There is no selector.", 'Name one, e.g. up{job="api"}.', argument="matchers")
        found = [series.labels for series in self._within(matchers, window)]
        if len(found) > limit and notes is not None:
            notes.append(f"There are more series than the {limit} shown.")
        return found[:limit]

    async def label_values(
        self, label: str, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[str]:
        """Return the values of a label, sorted."""
        found = sorted({one.labels[label] for one in self._within(matchers, window) if label in one.labels})
        if len(found) > limit and notes is not None:
            notes.append(f"There are more values of {label} than the {limit} shown.")
        return found[:limit]

    async def metadata(self, metric: str | None = None) -> Mapping[str, MetricMetadata]:
        """Return what is known of a metric, or of all."""
        return {name: said for name, said in self.known.items() if metric in (None, name)}

    async def rules(self) -> list[RuleGroup]:
        """Return the rules that were handed in."""
        return list(self.rule_groups)

    async def alerts(self) -> list[ActiveAlert]:
        """Return the alerts of those rules."""
        return [alert for group in self.rule_groups for rule in group.rules for alert in rule.alerts]

    async def exemplars(self, query: str, window: Window) -> list[Exemplar]:
        """Return the exemplars of the series that the query reads."""
        parsed = check_query(query, None)
        selectors = [selector for selector, _ in parsed.selectors()] if parsed else []
        found = [
            one
            for one in self.exemplars_held
            if window.start <= one.time <= window.end and any(_fits(each, one.series) for each in selectors)
        ]
        return sorted(found, key=lambda one: one.time)

    async def targets(self) -> list[Target]:
        """Return the targets that were handed in."""
        return sorted(self.scraped, key=lambda target: (target.job, target.instance))

    async def status(self) -> SourceStatus:
        """Return how much it holds."""
        first = min((series.times[0] for series in self.held if series.times), default=None)
        return SourceStatus("memory", None, len(self.held), first)

    async def series_counts(self) -> Mapping[str, int]:
        """Return how many series each metric has."""
        counts: dict[str, int] = {}
        for series in self.held:
            name = series.labels.get("__name__", "")
            counts[name] = counts.get(name, 0) + 1
        return counts

    def _tree(self, query: str, notes: Notes | None) -> object:
        """Return the one node of a query; raises CallerError for PromQL of more than one."""
        parsed = check_query(query, notes)
        if parsed is None:
            raise EngineMissing(
                "promql-parser is missing.", f"Install it: {INSTALL_COMMAND}", engine="promql-parser"
            )
        import promql_parser

        tree: object = parsed.tree
        while isinstance(tree, promql_parser.ParenExpr):
            tree = tree.expr
        chosen = tree.vector_selector if isinstance(tree, promql_parser.MatrixSelector) else tree
        plain = isinstance(chosen, promql_parser.VectorSelector) and not (chosen.offset or chosen.at)
        if not plain and not isinstance(tree, promql_parser.NumberLiteral):
            raise CallerError(f"{self.name} answers selectors alone.", 'Ask e.g. up{job="api"}.', argument="query")
        return tree

    def _found(self, tree: object, times: Sequence[float]) -> list[Series]:
        import promql_parser

        assert isinstance(tree, promql_parser.VectorSelector)  # `_tree` lets nothing else through
        found = [_at(series, times) for series in self._fitting(tree)]
        answer = [series for series in found if series.times]
        check_amount(answer, self.limits)
        return answer

    def _fitting(self, selector: "VectorSelector") -> Iterable[Series]:
        return (series for series in self.held if _fits(selector, series.labels))

    def _within(self, matchers: Sequence[str], window: Window) -> list[Series]:
        chosen = [check_query(matcher, None, argument="matchers") for matcher in matchers]
        selectors = [selector for parsed in chosen if parsed for selector, _ in parsed.selectors()]
        return [
            series
            for series in self.held
            if any(window.start <= at <= window.end for at in series.times)
            and (not matchers or any(_fits(selector, series.labels) for selector in selectors))
        ]


def _at(series: Series, times: Sequence[float]) -> Series:
    """Return a series as it is seen at some times: its newest sample, unless that is too old."""
    seen: list[tuple[float, float]] = []
    for at in times:
        index = bisect.bisect_right(series.times, at) - 1
        if index >= 0 and at - series.times[index] < LOOKBACK_SECONDS:
            seen.append((at, series.values[index]))
    return Series(series.labels, tuple(at for at, _ in seen), tuple(value for _, value in seen))


def _between(series: Series, first: float, last: float) -> Series:
    begin, end = bisect.bisect_left(series.times, first), bisect.bisect_right(series.times, last)
    return Series(series.labels, tuple(series.times[begin:end]), tuple(series.values[begin:end]))


def _fits(selector: "VectorSelector", labels: Mapping[str, str]) -> bool:
    if selector.name and labels.get("__name__") != selector.name:
        return False
    groups = selector.matchers.or_matchers or [selector.matchers.matchers]
    return any(all(_holds(matcher, labels.get(matcher.name, "")) for matcher in group) for group in groups)


def _holds(matcher: "Matcher", value: str) -> bool:
    kind = str(matcher.op).rpartition(".")[2]
    if kind in ("Equal", "NotEqual"):
        return (value == matcher.value) == (kind == "Equal")
    return (re.fullmatch(matcher.value, value) is not None) == (kind == "Re")
