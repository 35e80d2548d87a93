"""Finds anomalies in series of a source, a CSV file or the call itself, and says of each why it is one."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, EngineError
from quantum_suite.core.principals import Principal
from quantum_suite.services.anomalies.accuracy import Accuracy, published_accuracy
from quantum_suite.services.anomalies.csv_series import MAX_BYTES, read_csv
from quantum_suite.services.anomalies.interface import LEARNING_POINTS, Alarm, Kind, Sensitivity, Verdict
from quantum_suite.services.anomalies.judging_apart import MAX_POINTS, Stretch, judge_apart
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.metrics.interface import Notes, Series, Window
from quantum_suite.services.metrics.plotting import draw_plot, shared_labels, told_labels
from quantum_suite.services.metrics.result_store import ResultStore, View
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import read_duration, read_window, shown_duration, shown_time

MOST_SERIES = 20
SHOWN_SERIES = 10
SHOWN_ALARMS = 10
_DEFAULT_LAST = "7d"
_WANTED_POINTS = 2_000
_LONGEST_LABEL = 200
_MARKED = 9


class AlarmRow(BaseModel):
    """The beginning of an anomaly."""

    model_config = ConfigDict(frozen=True)

    time: str = Field(description="Time of the point that raised it, UTC.")
    since: str = Field(description="Since when points have been strange, UTC.")
    value: float = Field(description="What came; of a counter its rate a second.")
    expected_low: float = Field(description="5th percentile of like points in the past.")
    expected_high: float = Field(description="95th percentile of like points in the past.")
    score: float = Field(description="Within 0 and 1; s comes once in about 10 ** (5 * s) ordinary points.")
    strength: float = Field(description="How many times as strange as the strangest points before.")
    reasons: tuple[str, ...] = Field(description="The detectors that saw it, what they saw, strongest first.")


class SeriesAnomalies(BaseModel):
    """What was found in one series."""

    model_config = ConfigDict(frozen=True)

    series: str = Field(description="Its labels, without those that all series share.")
    points: int = Field(description="Points it has.")
    judged: int = Field(description="Points that were judged; 0: not enough data, the first are for learning.")
    kind: Kind = Field(description="counter: its rate was judged.")
    season: str | None = Field(description="The season found in the data; null where there is none.")
    missing: int = Field(description="Points without a number.")
    late: int = Field(description="Points left out, because their time does not come after the one before.")
    alarms: tuple[AlarmRow, ...] = Field(description="Anomalies by strength, ten at most.")
    alarm_count: int = Field(description="All anomalies.")


class AnomalyAnswer(BaseModel):
    """What was found, short. Scores of all points are a resource."""

    model_config = ConfigDict(frozen=True)

    what: str = Field(description="The query, the file, or 'values'.")
    sensitivity: Sensitivity = Field(description="How much had to happen before there was an alarm.")
    start: str = Field(description="Time of the first point, UTC.")
    end: str = Field(description="Time of the last point, UTC.")
    enough_data: bool = Field(description="Whether anything could be said of any series.")
    series: tuple[SeriesAnomalies, ...] = Field(description="Series, those with the strongest anomalies first.")
    series_count: int = Field(description="Series judged.")
    alarm_count: int = Field(description="Anomalies in all series.")
    notes: tuple[str, ...] = Field(description="What limits the answer.")
    accuracy: Accuracy = Field(description="How often the detectors are right, as measured.")
    data_json: str | None = Field(description="URI of values and scores in JSON, page 1; null without points.")
    data_csv: str | None = Field(description="URI of values and scores in CSV, page 1.")
    plotted: bool = Field(description="Whether a picture of the strangest series comes with the answer.")


@dataclass(frozen=True, slots=True)
class AnomalyQuestion:
    """What a caller asks. Exactly one of `query`, `file` and `values` is given."""

    query: str | None = None
    file: Path | None = None
    values: Sequence[float | None] | None = None
    times: Sequence[float] | None = None
    source: str | None = None
    start: str | None = None
    end: str | None = None
    last: str | None = None
    step: str | None = None
    time_column: str | None = None
    value_column: str | None = None
    sensitivity: Sensitivity = "normal"
    kind: Kind | None = None
    plot: bool = True


@dataclass(frozen=True, slots=True)
class AnomalyReply:
    """An answer, and the picture that goes with it."""

    answer: AnomalyAnswer
    picture: bytes | None


@dataclass(frozen=True, slots=True)
class _Found:
    what: str
    source: str
    window: Window
    series: Sequence[Series]


@dataclass(slots=True)
class AnomalyFinder:
    """Answers questions. One object serves every call."""

    sources: MetricSources
    results: ResultStore
    capacity: Capacity
    cache_dir: Path
    """Where the drawing program keeps what it found of fonts."""
    data_uri: Callable[[str, View], str]

    async def find(self, question: AnomalyQuestion, principal: Principal) -> AnomalyReply:
        """Judge, draw and keep. Raises CallerError, EngineError, and what `MetricSource` raises."""
        given = [name for name in ("query", "file", "values") if getattr(question, name) is not None]
        if len(given) != 1:
            raise CallerError(
                f"{' and '.join(given) or 'Nothing'} given.",
                "Give one of query, file and values.",
                argument="query",
            )
        notes: Notes = []
        found = await self._series(question, notes)
        series = list(found.series)
        if len(series) > MOST_SERIES:
            notes.append(
                f"{len(series)} series fit; the first {MOST_SERIES} were judged. Narrow the query by labels."
            )
            series = series[:MOST_SERIES]
        async with self.capacity.place("looking for anomalies"):
            judged = await judge_apart(
                [Stretch(one.times, one.values) for one in series],
                sensitivity=question.sensitivity,
                kind=question.kind,
            )
        order = sorted(range(len(series)), key=lambda place: -_strongest(judged[place].verdict))
        pairs = [(series[place], judged[place].verdict) for place in order]
        notes += _limits(pairs)
        record = None
        if pairs:
            kept = [each for one, verdict in pairs for each in (one, _scores(one, verdict))]
            times = (found.window.start, found.window.end, found.window.step)
            record = await self.results.save(principal, found.source, found.what, times, kept)
        picture = await self._picture(question, found, pairs, notes)
        shared = shared_labels([one.labels for one, _ in pairs])
        answer = AnomalyAnswer(
            what=found.what,
            sensitivity=question.sensitivity,
            start=shown_time(found.window.start),
            end=shown_time(found.window.end),
            enough_data=any(verdict.enough for _, verdict in pairs),
            series=tuple(_row(one, verdict, shared) for one, verdict in pairs[:SHOWN_SERIES]),
            series_count=len(pairs),
            alarm_count=sum(len(verdict.alarms) for _, verdict in pairs),
            notes=tuple(dict.fromkeys(notes)),
            accuracy=published_accuracy(),
            data_json=self.data_uri(record.id, "json") if record else None,
            data_csv=self.data_uri(record.id, "csv") if record else None,
            plotted=picture is not None,
        )
        return AnomalyReply(answer, picture)

    async def _series(self, question: AnomalyQuestion, notes: Notes) -> _Found:
        if question.query is not None:
            return await self._queried(question, question.query, notes)
        if question.file is not None:
            return await _of_file(question, question.file, notes)
        return _of_values(question)

    async def _queried(self, question: AnomalyQuestion, query: str, notes: Notes) -> _Found:
        source = self.sources.get(question.source)
        last = question.last if question.last is not None or question.start is not None else _DEFAULT_LAST
        window = read_window(question.start, question.end, last, question.step, time.time())
        if question.step is None:
            # As many points as tell a season, each a whole number of 15 seconds from the next.
            step = max(15.0, 15.0 * math.ceil((window.end - window.start) / _WANTED_POINTS / 15.0))
            window = Window(window.start, window.end, step)
        found = await source.range(query, window, notes)
        if not found:
            notes.append("No series fits the query in this window; explore_metrics says what there is.")
        return _Found(query, source.name, window, found)

    async def _picture(
        self,
        question: AnomalyQuestion,
        found: _Found,
        pairs: Sequence[tuple[Series, Verdict]],
        notes: Notes,
    ) -> bytes | None:
        if not question.plot or not pairs or not pairs[0][0].times:
            return None
        series, verdict = pairs[0]
        marked = sorted(verdict.alarms, key=lambda alarm: -alarm.strength)[:_MARKED]
        values = dict(zip(series.times, series.values, strict=True))
        # A line of one point is drawn as a mark.
        marks = [Series({"anomaly": shown_time(one.time)}, (one.time,), (values[one.time],)) for one in marked]
        labelled = Series({"series": told_labels(series.labels, {})}, series.times, series.values)
        try:
            async with self.capacity.place("drawing a plot"):
                return await draw_plot(
                    f"Anomalies: {found.what}", [labelled, *marks], found.window, self.cache_dir
                )
        except EngineError as error:
            notes.append(str(error))
            return None


async def _of_file(question: AnomalyQuestion, path: Path, notes: Notes) -> _Found:
    def read() -> bytes:
        if not path.is_file():
            raise CallerError(f"'{path.name}' is no file.", "Name a CSV file.", argument="file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    try:
        content = await anyio.to_thread.run_sync(read)
    except OSError as error:
        raise CallerError(
            f"'{path.name}' cannot be read: {error.strerror}.", "Check its permissions.", argument="file"
        ) from error
    columns = (question.time_column, question.value_column)
    read_series = await anyio.to_thread.run_sync(
        lambda: read_csv(content, time_column=columns[0], value_column=columns[1])
    )
    if read_series.skipped:
        notes.append(f"{read_series.skipped} rows without a time were left out.")
    series = Series({"__name__": read_series.value_column}, read_series.times, read_series.values)
    return _Found(path.name, "file", _window_of(series), [series])


def _of_values(question: AnomalyQuestion) -> _Found:
    values = [math.nan if value is None else float(value) for value in question.values or ()]
    if len(values) > MAX_POINTS:
        raise CallerError(f"{len(values)} values are too many.", f"Give {MAX_POINTS} at most.", argument="values")
    if question.times is not None and len(question.times) != len(values):
        raise CallerError(
            f"There are {len(values)} values and {len(question.times)} times.",
            "Give a time for each value, or none.",
            argument="times",
        )
    if question.times is not None:
        times = [float(at) for at in question.times]
        if not all(0 <= at < 1e11 for at in times):
            raise CallerError("A time is no Unix time in seconds.", "Give seconds since 1970.", argument="times")
    else:
        step = read_duration(question.step, "step") if question.step is not None else 60.0
        times = [step * place for place in range(len(values))]
    series = Series({"__name__": "values"}, times, values)
    return _Found("values", "call", _window_of(series), [series] if values else [])


def _window_of(series: Series) -> Window:
    times = sorted(series.times)
    if not times:
        return Window(0.0, 0.0, 1.0)
    step = (times[-1] - times[0]) / max(1, len(times) - 1)
    return Window(times[0], times[-1], max(step, 1e-3))


def _scores(series: Series, verdict: Verdict) -> Series:
    scores = [math.nan if score is None else score for score in verdict.scores]
    return Series({**series.labels, "anomaly": "score"}, series.times, scores)


def _strongest(verdict: Verdict) -> float:
    return max((alarm.strength for alarm in verdict.alarms), default=0.0)


def _limits(pairs: Sequence[tuple[Series, Verdict]]) -> list[str]:
    short = sum(not verdict.enough for _, verdict in pairs)
    if not short:
        return []
    which = "The series has" if len(pairs) == 1 else f"{short} of {len(pairs)} series have"
    return [
        f"{which} not enough data: the first {LEARNING_POINTS} points with a number are for learning alone. "
        "Take a longer window or a shorter step."
    ]


def _row(series: Series, verdict: Verdict, shared: Mapping[str, str]) -> SeriesAnomalies:
    told = told_labels(series.labels, shared)
    alarms = sorted(verdict.alarms, key=lambda alarm: -alarm.strength)[:SHOWN_ALARMS]
    return SeriesAnomalies(
        series=told if len(told) <= _LONGEST_LABEL else f"{told[: _LONGEST_LABEL - 3]}...",
        points=len(series.times),
        judged=sum(score is not None for score in verdict.scores),
        kind=verdict.kind,
        season=shown_duration(verdict.period_seconds) if verdict.period_seconds else None,
        missing=verdict.missing,
        late=verdict.late,
        alarms=tuple(alarm_row(alarm) for alarm in alarms),
        alarm_count=len(verdict.alarms),
    )


def alarm_row(alarm: Alarm) -> AlarmRow:
    """Return an alarm as it is told."""
    return AlarmRow(
        time=shown_time(alarm.time),
        since=shown_time(alarm.since),
        value=alarm.value,
        expected_low=alarm.expected[0],
        expected_high=alarm.expected[1],
        score=round(alarm.score, 3),
        strength=round(alarm.strength, 2),
        reasons=tuple(
            f"{one.detector}: {one.seen} ({one.beyond:.1f} times the strangest)" for one in alarm.reasons
        ),
    )
