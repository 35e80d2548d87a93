"""What an SLO's indicator says now, window by window."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.metrics.interface import MetricSource, Notes, Series
from quantum_suite.services.slo.calendar import period_at
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.event_counts import count_query
from quantum_suite.services.slo.fields import put_window
from quantum_suite.services.slo.interface import BurnAlert, Slo
from quantum_suite.services.slo.rules import SLI_METRIC, error_ratio_query, id_labels, sli_metric

State = Literal["ok", "burning", "exhausted", "no data"]
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class WindowReading:
    """The indicator over one window."""

    seconds: float
    error_ratio: float | None
    """Share of bad events; None where there is no data or nothing happened."""
    events: float | None
    """How many there were; None where the indicator does not say."""
    recorded: bool
    """Whether a recording rule gave it; else it was computed from what is measured."""

    def burn_rate(self, slo: Slo) -> float | None:
        """Return how fast the budget burns: 1 spends it in exactly one period. Infinite without a budget."""
        if self.error_ratio is None:
            return None
        if slo.budget_ratio <= 0:
            return math.inf if self.error_ratio > 0 else 0.0
        return self.error_ratio / slo.budget_ratio

    @property
    def one_failure(self) -> float | None:
        """Return which share of the events one more failure would be."""
        return 1 / self.events if self.events is not None and self.events >= 1 else None


@dataclass(frozen=True, slots=True)
class SloReading:
    """An SLO now."""

    slo: Slo
    at: float
    windows: Mapping[float, WindowReading]
    """Of the alerts, by length in seconds."""
    period: WindowReading
    """The whole period; of a calendar period, what has passed of it."""
    passed: float = 1.0
    """Share of the period that has passed; 1 for a rolling one."""

    @property
    def burned(self) -> float | None:
        """Return the share of the budget that is gone, above 1 where it is overspent.

        Of a calendar's period the whole budget counts, its remaining events taken to come as those so far.
        """
        burn = self.period.burn_rate(self.slo)
        return burn * self.passed if burn is not None else None

    def holding(self, pair: BurnAlert) -> bool:
        """Whether both windows of a pair burn too fast, and hold as many events as an alert needs."""
        burns = [self.windows[each].burn_rate(self.slo) for each in (pair.short_seconds, pair.long_seconds)]
        if any(burn is None or burn <= pair.factor for burn in burns):
            return False
        events = self.windows[pair.long_seconds].events
        return self.slo.minimum_events is None or events is None or events >= self.slo.minimum_events

    @property
    def alerts(self) -> list[BurnAlert]:
        """Return the pairs that hold, the most urgent first."""
        return [pair for pair in self.slo.windows.pairs if self.holding(pair)]

    @property
    def state(self) -> State:
        """Return how it stands: exhausted where the budget is gone, whatever it does now."""
        burned = self.burned
        if burned is None and all(one.error_ratio is None for one in self.windows.values()):
            return "no data"
        if burned is not None and burned >= 1 and self.period.error_ratio:
            return "exhausted"
        return "burning" if self.alerts else "ok"

    @property
    def low_traffic(self) -> bool:
        """Whether one failure alone would put the fastest alert's long window above its threshold."""
        pair = self.slo.windows.page_quick
        share = self.windows[pair.long_seconds].one_failure
        return share is not None and share > pair.factor * self.slo.budget_ratio


async def read_slo(source: MetricSource, slo: Slo, at: float, notes: Notes) -> SloReading:
    """Read every window of an SLO at a time. A window that cannot be read is None, and noted once.

    Ratios come from recording rules where they are recorded, else they are computed.
    """
    recorded = await _recorded(source, slo, at, notes)
    period, passed = slo.period_seconds, 1.0
    if slo.calendar is not None:
        begin, end = period_at(slo.calendar, at)
        period = max(1.0, at - begin)
        passed = period / (end - begin)
    # A calendar period is recorded as a rolling one, which it is not.
    period_recorded = recorded.get(sli_metric(period)) if slo.calendar is None else None
    found: dict[float, WindowReading] = {}
    places = anyio.CapacityLimiter(_AT_ONCE)
    own: list[WindowReading] = []

    async def read(seconds: float, known: float | None, *, whole: bool) -> None:
        async with places:
            reading = await _read_window(source, slo, seconds, at, known, notes)
        if whole:
            own.append(reading)
        else:
            found[seconds] = reading

    async with anyio.create_task_group() as tasks:
        for seconds in slo.windows.seconds:
            tasks.start_soon(lambda window: read(window, recorded.get(sli_metric(window)), whole=False), seconds)
        tasks.start_soon(lambda: read(period, period_recorded, whole=True))
    notes[:] = list(dict.fromkeys(notes))
    return SloReading(slo, at, found, own[0], passed)


async def _recorded(source: MetricSource, slo: Slo, at: float, notes: Notes) -> dict[str, float]:
    """Return the recorded error ratios by metric; several series count as the worst of them, as in alerts."""
    labels = ", ".join(f'{name}="{value}"' for name, value in id_labels(slo).items())
    try:
        series = await source.instant(f'{{__name__=~"{SLI_METRIC}.+", {labels}}}', at)
    except SuiteError as error:
        notes.append(f"Recorded ratios could not be read: {error.message}")
        return {}
    found: dict[str, float] = {}
    for one in series:
        value = worst([one])
        name = one.labels.get("__name__", "")
        if value is not None:
            found[name] = max(found.get(name, value), value)
    return found


async def _read_window(
    source: MetricSource, slo: Slo, seconds: float, at: float, recorded: float | None, notes: Notes
) -> WindowReading:
    try:
        events = await _number(source, count_query(slo, seconds), at)
        ratio = recorded
        if ratio is None:
            ratio = await _number(source, error_ratio_query(slo, seconds), at)
        if ratio is None and events and slo.indicator.error is not None:
            # No series of bad events exists before the first of them.
            bad = await source.instant(put_window(slo.indicator.error, prometheus_duration(seconds)), at)
            ratio = None if bad else 0.0
    except SuiteError as error:
        notes.append(f"A window could not be read: {error.message[:300]}")
        return WindowReading(seconds, recorded, None, recorded is not None)
    return WindowReading(seconds, ratio, events, recorded is not None)


async def _number(source: MetricSource, query: str | None, at: float) -> float | None:
    return worst(await source.instant(query, at)) if query is not None else None


def worst(series: Sequence[Series]) -> float | None:
    """Return the largest last value that is a finite number; None where there is none."""
    values = [one.values[-1] for one in series if one.values and math.isfinite(one.values[-1])]
    return max(values) if values else None
