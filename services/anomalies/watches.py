"""Looks at watches: judges the points that are new, and tells each anomaly once, as an event."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.anomaly_events import AnomalyDetected, WatchSourceFound, WatchSourceLost, watch_stream
from quantum_suite.core.errors import Conflict, SuiteError
from quantum_suite.core.events import Event, EventData, NewEvent
from quantum_suite.services.anomalies.interface import LEARNING_POINTS, Alarm
from quantum_suite.services.anomalies.judging_apart import Judged, Stretch, judge_apart
from quantum_suite.services.anomalies.onsets import QUIET_POINTS
from quantum_suite.services.anomalies.watch import LEARN_POINTS, MOST_SERIES, WORKFLOW, Look, Watch
from quantum_suite.services.anomalies.watch_states import WatchState, WatchStates
from quantum_suite.services.events.interface import MAX_BATCH, EventStore
from quantum_suite.services.metrics.interface import Notes, Series, Window
from quantum_suite.services.metrics.plotting import told_labels
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.workflows.interface import Json, Retry, RunContext, StepContext, Workflow

_ATTEMPTS = 5
_MOST_TEXT = 500
_DEADLINE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Telling:
    """Something to tell about a watch, once for each key."""

    key: str
    data: EventData


class AnomalyWatches:
    """Looks at watches. Any number of looks, at once or again after a crash, tell an anomaly once."""

    def __init__(
        self,
        sources: MetricSources,
        events: EventStore,
        directory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sources = sources
        self.states = WatchStates(directory)
        self._events = events
        self._clock = clock

    @property
    def workflow(self) -> Workflow:
        """Return the workflow that schedules of watches start."""
        return Workflow(WORKFLOW, self._body, description="Looks at a watched metric once.")

    async def _body(self, run: RunContext, arguments: Json) -> Json:
        async def work(_step: StepContext) -> Json:
            look = await self.look(Watch.of(arguments))
            return {"series": look.series, "points": look.points, "raised": look.raised, "problem": look.problem}

        return await run.step("look", work, retry=Retry(attempts=2), deadline_seconds=_DEADLINE_SECONDS)

    async def look(self, watch: Watch) -> Look:
        """Judge what is new, tell what was found, and keep what the detectors know.

        A source that is away is told once and is no error; what it measured meanwhile is judged when it is back.
        Raises Unavailable while events cannot be stored: then nothing is kept, and the next look does it again.
        """
        state = await self.states.load(watch)
        now = self._clock()
        notes: Notes = []
        try:
            found = await self.sources.get(watch.source).range(watch.query, self._window(watch, state, now), notes)
        except SuiteError as error:
            return await self._unseen(watch, state, now, str(error))
        if len(found) > MOST_SERIES:
            notes.append(f"{len(found)} series fit; {MOST_SERIES} are watched. Narrow the query by labels.")
        series = {told_labels(one.labels, {})[:_MOST_TEXT]: one for one in found[:MOST_SERIES]}
        fresh = [_fresh(one, state.detectors.get(label)) for label, one in series.items()]
        try:
            judged = await judge_apart(fresh, sensitivity=watch.sensitivity, kind=watch.kind, keep_states=True)
        except SuiteError as error:
            return await self._unseen(watch, state, now, str(error))
        tellings = [
            _anomaly(watch, label, alarm)
            for label, one in zip(series, judged, strict=True)
            for alarm in one.verdict.alarms
            if alarm.time > watch.created_at
        ]
        if state.look is not None and state.look.problem is not None:
            found_again = WatchSourceFound(watch=watch.id, name=watch.name, source=watch.source)
            tellings.append(Telling(f"{watch.id}.found.{state.look.at}", found_again))
        raised = await self._tell(watch, tellings)
        look = Look(
            watch=watch.id,
            at=now,
            series=len(series),
            points=sum(len(one.times) for one in fresh),
            raised=raised,
            learning=_learning(judged),
            notes=tuple(notes[:5]),
        )
        kept = {label: one.state for label, one in zip(series, judged, strict=True)}
        await self.states.save(watch, WatchState({**_absent(state, kept), **kept}, look))
        return look

    def _window(self, watch: Watch, state: WatchState, now: float) -> Window:
        """Return what is asked for: as much as has come since the last look, at most what a new watch learns from.

        Times are multiples of the step, so that every look sees the same points.
        """
        step = watch.step_seconds
        end = now // step * step
        longest = LEARN_POINTS * step
        last = [one["last_time"] for one in state.detectors.values() if one and one.get("last_time")]
        # A series that ended long ago does not have all others asked for anew.
        recent = [at for at in last if at >= max(last) - QUIET_POINTS * step]
        begin = max(end - longest, min(recent, default=0.0))
        return Window(begin, max(end, begin), step)

    async def _unseen(self, watch: Watch, state: WatchState, now: float, problem: str) -> Look:
        told = problem[:_MOST_TEXT]
        since = state.look.at if state.look is not None else watch.created_at
        if state.look is None or state.look.problem is None:
            lost = WatchSourceLost(watch=watch.id, name=watch.name, source=watch.source, problem=told)
            await self._tell(watch, [Telling(f"{watch.id}.lost.{since}", lost)])
        look = Look(watch=watch.id, at=now, series=0, points=0, raised=0, learning=0, problem=told)
        await self.states.save(watch, WatchState(state.detectors, look))
        return look

    async def _tell(self, watch: Watch, tellings: Sequence[Telling]) -> int:
        """Append what was not told before; returns how many anomalies that were."""
        if not tellings:
            return 0
        stream = watch_stream(watch.id)
        for _ in range(_ATTEMPTS):
            told = await self._told(stream)
            news = [one for one in tellings if not _was_told(watch, one, told)]
            if not news:
                return 0
            try:
                await self._events.append(
                    stream, len(told), [NewEvent(one.data, subject=watch.name, id=one.key) for one in news]
                )
            except Conflict:
                continue
            return sum(isinstance(one.data, AnomalyDetected) for one in news)
        raise Conflict("The watch is being looked at by others.", "The next look will tell what this one found.")

    async def _told(self, stream: str) -> list[Event]:
        told: list[Event] = []
        while batch := await self._events.read_stream(stream, len(told), limit=MAX_BATCH):
            told += batch
        return told


def _fresh(series: Series, state: object) -> Stretch:
    """Return what a detector has not seen of a series."""
    if not isinstance(state, dict):
        return Stretch(series.times, series.values)
    last = state.get("last_time") or 0.0
    begin = next((place for place, at in enumerate(series.times) if at > last), len(series.times))
    return Stretch(series.times[begin:], series.values[begin:], state)


def _anomaly(watch: Watch, label: str, alarm: Alarm) -> Telling:
    key = hashlib.sha256(f"{watch.id} {label} {alarm.time!r}".encode()).hexdigest()[:26]
    data = AnomalyDetected(
        watch=watch.id,
        name=watch.name,
        source=watch.source,
        query=watch.query,
        series=label,
        at=alarm.time,
        since=alarm.since,
        value=alarm.value,
        expected_low=alarm.expected[0],
        expected_high=alarm.expected[1],
        score=alarm.score,
        strength=alarm.strength,
        reasons=tuple(f"{reason.detector}: {reason.seen}" for reason in alarm.reasons),
    )
    return Telling(f"anomaly_{key}", data)


def _was_told(watch: Watch, telling: Telling, told: Sequence[Event]) -> bool:
    """Whether it was told under its own id, or as an anomaly of the same series that it is part of.

    A detector that lost its state and learned anew may see an anomaly some points earlier or later.
    """
    if any(event.id == telling.key for event in told):
        return True
    data = telling.data
    if not isinstance(data, AnomalyDetected):
        return False
    near = QUIET_POINTS * watch.step_seconds
    return any(
        event.data.get("series") == data.series
        and data.strength <= event.data["strength"]
        and abs(event.data["at"] - data.at) <= near
        for event in told
        if event.type.startswith(AnomalyDetected.event_type)
    )


def _learning(judged: Sequence[Judged]) -> int:
    return sum(one.state is None or one.state["points"] < LEARNING_POINTS for one in judged)


def _absent(state: WatchState, kept: Mapping[str, object]) -> dict[str, object]:
    """Return states of series that did not answer this time; bounded, the longest known stay."""
    absent = {label: one for label, one in state.detectors.items() if label not in kept}
    return dict(list(absent.items())[: max(0, MOST_SERIES - len(kept))])
