"""How all SLOs stand: indicator, burn and budget, window by window."""

import time
from dataclasses import dataclass

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal
from quantum_suite.services.metrics.interface import MetricSource, Notes
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import shown_time
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.files import SloFiles
from quantum_suite.services.slo.interface import Slo
from quantum_suite.services.slo.measuring import SloReading, State, WindowReading, read_slo

MOST_SLOS = 50
_AT_ONCE = 3
_PROBLEMS_SHOWN = 10
_ORDER: dict[State, int] = {"exhausted": 0, "burning": 1, "no data": 2, "ok": 3}


class WindowRow(BaseModel):
    """The indicator over one window up to now."""

    model_config = ConfigDict(frozen=True)

    window: str = Field(description="Its length, e.g. 1h.")
    good_percent: float | None = Field(description="Share of good events; null: no data, or nothing happened.")
    burn_rate: float | None = Field(description="1 spends the budget in exactly one period; null without data.")
    events: float | None = Field(description="How many events; null where the indicator does not count them.")
    one_failure_percent: float | None = Field(description="What share of the events one failure is.")
    recorded: bool = Field(description="Whether a recording rule gave it; else it was computed now.")


class SloRow(BaseModel):
    """An SLO now."""

    model_config = ConfigDict(frozen=True)

    slo: str = Field(description="Its id: service-name.")
    description: str = Field(description="What it is about.")
    objective_percent: float = Field(description="What is promised.")
    period: str = Field(description="Over which time.")
    state: State = Field(
        description="ok; burning: an alert's windows hold; exhausted: the budget is gone; no data: nothing "
        "measured."
    )
    good_percent: float | None = Field(description="Share of good events in the period.")
    budget_left_percent: float | None = Field(description="Share of the budget left; negative: overspent.")
    alerts: tuple[str, ...] = Field(
        description="Pairs of windows that burn too fast now: severity, burn rate, windows. The most urgent first."
    )
    low_traffic: bool = Field(description="Whether one failure alone is enough for the fastest alert.")
    windows: tuple[WindowRow, ...] = Field(description="Window by window, shortest first.")
    file: str = Field(description="Where it is defined.")


class SloStatus(BaseModel):
    """All SLOs, the worst first."""

    model_config = ConfigDict(frozen=True)

    source: str = Field(description="The source that was asked.")
    at: str = Field(description="When, UTC.")
    slos: tuple[SloRow, ...] = Field(description="The worst first.")
    problems: tuple[str, ...] = Field(description="Files that could not be read: where, and what would be right.")
    notes: tuple[str, ...] = Field(description="What could not be measured.")


@dataclass(frozen=True, slots=True)
class SloReader:
    """Reads SLOs. One object serves every call."""

    files: SloFiles
    sources: MetricSources

    async def status(self, source: str | None, path: str | None, principal: Principal) -> SloStatus:
        """Read every SLO of a file or folder. Raises CallerError where there is none."""
        asked = self.sources.get(source)
        found = await anyio.to_thread.run_sync(self.files.read, path, principal)
        if not found.slos and not found.problems:
            raise CallerError(
                "There are no SLOs here.",
                "Define one with define_slo, or give the path of a file.",
                argument="path",
            )
        if len(found.slos) > MOST_SLOS:
            raise CallerError(
                f"There are {len(found.slos)} SLOs; {MOST_SLOS} at a time are the most.",
                "Give the path of one file or folder.",
                argument="path",
            )
        at, notes = time.time(), Notes()
        rows: list[SloRow] = []
        places = anyio.CapacityLimiter(_AT_ONCE)

        async def read(slo: Slo) -> None:
            async with places:
                rows.append(await _read(asked, slo, at, notes))

        async with anyio.create_task_group() as tasks:
            for slo in found.slos:
                tasks.start_soon(read, slo)
        rows.sort(key=lambda row: (_ORDER[row.state], row.slo))
        return SloStatus(
            source=asked.name,
            at=shown_time(at),
            slos=tuple(rows),
            problems=found.problems[:_PROBLEMS_SHOWN],
            notes=tuple(dict.fromkeys(notes)),
        )


async def _read(source: MetricSource, slo: Slo, at: float, notes: Notes) -> SloRow:
    said: Notes = []
    reading = await read_slo(source, slo, at, said)
    notes += [f"{slo.id}: {note}" for note in said]
    return slo_row(reading)


def slo_row(reading: SloReading) -> SloRow:
    """Return an SLO as an answer tells it."""
    slo, burned, ratio = reading.slo, reading.burned, reading.period.error_ratio
    return SloRow(
        slo=slo.id,
        description=slo.description,
        objective_percent=slo.objective_percent,
        period=prometheus_duration(slo.period_seconds),
        state=reading.state,
        good_percent=None if ratio is None else (1 - ratio) * 100,
        budget_left_percent=None if burned is None or burned == float("inf") else (1 - burned) * 100,
        alerts=tuple(
            f"{pair.severity}: {pair.factor:g}x over {prometheus_duration(pair.long_seconds)} and "
            f"{prometheus_duration(pair.short_seconds)}"
            for pair in reading.alerts
        ),
        low_traffic=reading.low_traffic,
        windows=tuple(
            window_row(slo, one) for one in sorted(reading.windows.values(), key=lambda window: window.seconds)
        ),
        file=slo.file,
    )


def window_row(slo: Slo, window: WindowReading) -> WindowRow:
    """Return a window as an answer tells it."""
    burn, ratio, one = window.burn_rate(slo), window.error_ratio, window.one_failure
    return WindowRow(
        window=prometheus_duration(window.seconds),
        good_percent=None if ratio is None else (1 - ratio) * 100,
        burn_rate=None if burn is None or burn == float("inf") else burn,
        events=window.events,
        one_failure_percent=None if one is None else one * 100,
        recorded=window.recorded,
    )
