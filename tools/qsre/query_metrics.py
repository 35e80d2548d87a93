"""Asks a source in PromQL, and says what came back: in numbers and words, as a picture, and whole in pages."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import EngineError, SuiteError
from quantum_suite.core.masking import mask_text, mask_value
from quantum_suite.core.principals import Principal
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.metrics.interface import MetricMetadata, MetricSource, Notes, Series, Window
from quantum_suite.services.metrics.plotting import MOST_LINES, draw_plot, shared_labels, told_labels
from quantum_suite.services.metrics.promql import ParsedQuery, parse_query
from quantum_suite.services.metrics.promql_advice import IntervalOf, advise, family_of, metric_names
from quantum_suite.services.metrics.result_store import ResultStore, View
from quantum_suite.services.metrics.series_summary import SeriesSummary, Trend, summarise
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import read_window, shown_duration, shown_time

SHOWN = 10
"""Series in an answer; the others are in its data."""
_LABELS_TOLD = 200
_METRICS_LOOKED_UP = 8
_INTERVALS_KEPT_SECONDS = 300.0


class SeriesRow(BaseModel):
    """A series in a line; its numbers are of its finite points alone."""

    model_config = ConfigDict(frozen=True)

    series: str = Field(description="Its labels as in PromQL, without those that all series of the answer share.")
    minimum: float | None = Field(description="Its smallest value; null where no point is a finite number.")
    mean: float | None = Field(description="The mean of its points.")
    maximum: float | None = Field(description="Its largest value.")
    last: float | None = Field(description="Its last value.")
    trend: Trend = Field(
        description="Which way it goes, by medians of its first and last quarter; unclear: too few, too noisy."
    )
    change: float | None = Field(description="Median of the last quarter less that of the first.")
    remarks: tuple[str, ...] = Field(
        description="Gaps, restarts of counters, and where it begins late or ends early."
    )


class MetricAnswer(BaseModel):
    """What a query brought, short. The data is a resource."""

    model_config = ConfigDict(frozen=True)

    source: str = Field(description="The source that was asked.")
    query: str = Field(description="The query as it was sent.")
    kind: Literal["window", "moment"] = Field(
        description="window: a point each step; moment: a range selector such as x[5m], asked for at the end."
    )
    start: str = Field(description="Begin of the window, UTC.")
    end: str = Field(description="End of the window, UTC.")
    step_seconds: float = Field(description="Seconds between points.")
    series: int = Field(description="Series in the answer.")
    points: int = Field(description="Points in all of them.")
    shared_labels: dict[str, str] = Field(description="Labels that all series have alike.")
    rows: tuple[SeriesRow, ...] = Field(description="The series with the largest means, ten at most.")
    notes: tuple[str, ...] = Field(
        description="What was said beside the answer: warnings, clocks, what is missing."
    )
    advice: tuple[str, ...] = Field(description="What the query may not mean what it says; nothing was changed.")
    data_json: str | None = Field(description="URI of the data in JSON, page 1; null where there is none.")
    data_csv: str | None = Field(description="URI of the data in CSV, page 1.")
    pages: int = Field(description="Pages of the data.")
    plotted: bool = Field(description="Whether a picture comes with the answer.")


@dataclass(frozen=True, slots=True)
class MetricQuestion:
    """What a caller asks. Times are as people write them; see `services.metrics.windows`."""

    query: str
    source: str | None = None
    start: str | None = None
    end: str | None = None
    last: str | None = None
    step: str | None = None
    plot: bool = True


@dataclass(frozen=True, slots=True)
class MetricReply:
    """An answer, and the picture that goes with it."""

    answer: MetricAnswer
    picture: bytes | None


@dataclass(slots=True)
class _Intervals:
    """How often targets are scraped, by job."""

    by_job: Mapping[str, float]
    looked_at: float


@dataclass(slots=True)
class MetricQuerier:
    """Answers questions. One object serves every call."""

    sources: MetricSources
    results: ResultStore
    capacity: Capacity
    cache_dir: Path
    """Where the drawing program keeps what it found of fonts."""
    data_uri: Callable[[str, View], str]
    """Takes a result and a view, and returns the URI of its first page: resources say its form."""
    _intervals: dict[str, _Intervals] = field(default_factory=dict)

    async def ask(self, question: MetricQuestion, principal: Principal) -> MetricReply:
        """Ask, summarise, draw and keep the data. Raises what `MetricSource` raises."""
        parsed = parse_query(question.query)
        source = self.sources.get(question.source)
        window = read_window(question.start, question.end, question.last, question.step, time.time())
        moment = parsed is not None and _is_range_selector(parsed)
        notes: Notes = []
        if moment:
            found = await source.instant(question.query, window.end, notes)
        else:
            found = await source.range(question.query, window, notes)
        known = await _known(source, parsed) if parsed is not None else {}
        advice = advise(parsed, known, await self._interval_of(source, parsed)) if parsed is not None else []
        counter = _is_bare_counter(parsed, known)
        ordered, summaries = await anyio.to_thread.run_sync(_summaries, found, window, counter, moment)
        picture = await self._picture(question, ordered, window, notes) if found else None
        if not found:
            notes.append(_why_empty(parsed, known))
        record = None
        if found:
            times = (window.start, window.end, 0.0 if moment else window.step)
            record = await self.results.save(principal, source.name, question.query, times, ordered)
        shared = shared_labels([one.labels for one in found])
        answer = MetricAnswer(
            source=source.name,
            query=question.query,
            kind="moment" if moment else "window",
            start=shown_time(window.start),
            end=shown_time(window.end),
            step_seconds=window.step,
            series=len(found),
            points=sum(len(one.times) for one in found),
            shared_labels=mask_value(shared),
            rows=tuple(_row(one, shared) for one in summaries),
            notes=tuple(dict.fromkeys(notes)),
            advice=tuple(advice),
            data_json=self.data_uri(record.id, "json") if record else None,
            data_csv=self.data_uri(record.id, "csv") if record else None,
            pages=record.pages if record else 0,
            plotted=picture is not None,
        )
        return MetricReply(answer, picture)

    async def _picture(
        self, question: MetricQuestion, ordered: Sequence[Series], window: Window, notes: Notes
    ) -> bytes | None:
        if not question.plot:
            return None
        if len(ordered) > MOST_LINES:
            notes.append(f"The picture shows {MOST_LINES} of {len(ordered)} series, those with the largest means.")
        try:
            async with self.capacity.place("drawing a plot"):
                return await draw_plot(question.query, ordered, window, self.cache_dir)
        except EngineError as error:
            notes.append(str(error))
            return None

    async def _interval_of(self, source: MetricSource, parsed: ParsedQuery) -> IntervalOf:
        """Return how often a selector's targets are scraped; looked up where the query has a range at all."""
        kept = self._intervals.get(source.name)
        now = time.monotonic()
        if "[" in parsed.text and (kept is None or now - kept.looked_at > _INTERVALS_KEPT_SECONDS):
            kept = _Intervals(await _intervals(source), now)
            self._intervals[source.name] = kept
        by_job = kept.by_job if kept is not None else {}

        def interval_of(labels: Mapping[str, str]) -> float | None:
            return by_job.get(labels["job"]) if "job" in labels else min(by_job.values(), default=None)

        return interval_of


async def _intervals(source: MetricSource) -> dict[str, float]:
    """Return the longest interval of each job's targets; empty where the source does not say."""
    try:
        targets = await source.targets()
    except SuiteError:
        return {}
    found: dict[str, float] = {}
    for target in targets:
        if target.interval_seconds > 0:
            found[target.job] = max(found.get(target.job, 0.0), target.interval_seconds)
    return found


async def _known(source: MetricSource, parsed: ParsedQuery) -> dict[str, MetricMetadata]:
    """Return what exporters say of the metrics in a query. Advice is all that it is for: a failure costs that."""
    names = [name for metric in metric_names(parsed)[:_METRICS_LOOKED_UP] for name in family_of(metric)]
    found: dict[str, MetricMetadata] = {}

    async def look_up(name: str) -> None:
        try:
            found.update(await source.metadata(name))
        except SuiteError:
            return

    async with anyio.create_task_group() as tasks:
        for name in dict.fromkeys(names):
            tasks.start_soon(look_up, name)
    return found


def _why_empty(parsed: ParsedQuery | None, known: Mapping[str, MetricMetadata]) -> str:
    names = metric_names(parsed) if parsed is not None else []
    unknown = [name for name in names if not any(each in known for each in family_of(name))]
    if unknown:
        named = ", ".join(unknown[:3])
        return f"No series fits, and no exporter declares {named}: explore_metrics says what there is."
    return "No series fits: check labels and times; explore_metrics says which labels a metric has."


def _is_range_selector(parsed: ParsedQuery) -> bool:
    node = parsed.tree
    while type(node).__name__ == "ParenExpr":
        node = node.expr  # type: ignore[attr-defined]  # of this kind of node
    return type(node).__name__ in ("MatrixSelector", "SubqueryExpr")


def _is_bare_counter(parsed: ParsedQuery | None, known: Mapping[str, MetricMetadata]) -> bool:
    """Whether the answer holds a counter's own values, so that a fall is a restart."""
    if parsed is None or type(parsed.tree).__name__ not in ("VectorSelector", "MatrixSelector"):
        return False
    declared = [known[each].type for name in metric_names(parsed) for each in family_of(name) if each in known]
    if declared:
        return declared[0] in ("counter", "histogram", "summary")
    return any(name.endswith("_total") for name in metric_names(parsed))


def _summaries(
    found: Sequence[Series], window: Window, counter: bool, moment: bool
) -> tuple[list[Series], list[SeriesSummary]]:
    """Return the series by falling mean, and what the first of them did."""

    def mean(series: Series) -> float:
        finite = [value for value in series.values if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else -math.inf

    ordered = sorted(found, key=mean, reverse=True)
    # Points as they were measured have no step to miss.
    seen = Window(window.start, window.end, math.inf) if moment else window
    return ordered, [summarise(one, seen, counter=counter) for one in ordered[:SHOWN]]


def _row(summary: SeriesSummary, shared: Mapping[str, str]) -> SeriesRow:
    remarks: list[str] = []
    if summary.gaps:
        many = "s" if summary.gaps > 1 else ""
        remarks.append(f"{summary.gaps} gap{many}, the longest {shown_duration(summary.longest_gap_seconds)}")
    if summary.resets:
        remarks.append(f"{summary.resets} restart{'s' if summary.resets > 1 else ''} of the counter")
    if summary.begins_late_seconds:
        remarks.append(f"begins {shown_duration(summary.begins_late_seconds)} after the window")
    if summary.ends_early_seconds:
        remarks.append(f"ends {shown_duration(summary.ends_early_seconds)} before the window")
    if summary.not_numbers:
        remarks.append(f"{summary.not_numbers} points are NaN or infinite")
    told = mask_text(told_labels(summary.labels, shared))
    return SeriesRow(
        series=told if len(told) <= _LABELS_TOLD else f"{told[: _LABELS_TOLD - 3]}...",
        minimum=summary.minimum,
        mean=summary.mean,
        maximum=summary.maximum,
        last=summary.last,
        trend=summary.trend,
        change=summary.change,
        remarks=tuple(remarks),
    )
