"""How much of an error budget is gone, and when it will be gone."""

import time
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import EngineError
from quantum_suite.core.principals import Principal
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.metrics.interface import Notes, Series, Window
from quantum_suite.services.metrics.plotting import draw_plot
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import shown_duration, shown_time
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.files import SloFiles
from quantum_suite.services.slo.forecast import LEAST_SLICES, Forecast, Outlook, burned_share, forecast
from quantum_suite.services.slo.history import BurnHistory, read_history
from quantum_suite.services.slo.interface import Slo
from quantum_suite.services.slo.measuring import read_slo

_COVERED_ENOUGH = 0.95


class BudgetForecast(BaseModel):
    """When the budget will be gone, if what comes is like what was lately."""

    model_config = ConfigDict(frozen=True)

    outlook: Outlook = Field(
        description="exhausted: it is gone. within the window: it will be, by most runs. not within the window: "
        "not by most runs. not enough data: too few slices of time with events to say."
    )
    probability: float | None = Field(description="Share of runs in which it was gone by the horizon.")
    earliest: str | None = Field(description="Begin of the 80 % interval, UTC: one run in ten was faster.")
    middle: str | None = Field(description="Half of the runs were faster; null: not by the horizon.")
    latest: str | None = Field(description="End of the 80 % interval; null: not by the horizon.")
    horizon: str | None = Field(description="How far was looked: one period, or the end of the calendar's.")
    how: str = Field(description="How it was made.")


class ErrorBudget(BaseModel):
    """An error budget."""

    model_config = ConfigDict(frozen=True)

    slo: str = Field(description="The SLO's id.")
    source: str = Field(description="The source that was asked.")
    objective_percent: float = Field(description="What is promised.")
    period: str = Field(description="Over which time.")
    start: str = Field(description="Begin of the period, UTC.")
    end: str = Field(description="Now; UTC.")
    bad: float | None = Field(description="Bad events in it; null where events are not counted.")
    events: float | None = Field(description="All events in it; null where they are not counted.")
    allowed: float | None = Field(description="Bad events that the budget allows for these events.")
    burned_percent: float | None = Field(
        description="Share of the budget gone; over 100: overspent. null: no data."
    )
    left_percent: float | None = Field(description="Share of the budget left; negative: overspent.")
    covered_percent: float = Field(description="Share of the period so far that has data.")
    burn_rate: float | None = Field(description="How fast it burns now, over the fastest alert's long window.")
    gone_at_this_rate: str | None = Field(description="In how long it is gone if it burns on like this.")
    forecast: BudgetForecast = Field(description="When it will be gone.")
    notes: tuple[str, ...] = Field(description="What to know about these numbers.")
    plotted: bool = Field(description="Whether a picture comes with the answer.")


@dataclass(frozen=True, slots=True)
class BudgetReply:
    """A budget, and its picture."""

    budget: ErrorBudget
    picture: bytes | None


@dataclass(frozen=True, slots=True)
class BudgetReader:
    """Reads budgets. One object serves every call."""

    files: SloFiles
    sources: MetricSources
    capacity: Capacity
    cache_dir: Path
    """Where the drawing program keeps what it found of fonts."""

    async def read(
        self, name: str, source: str | None, path: str | None, principal: Principal, *, plot: bool = True
    ) -> BudgetReply:
        """Read, forecast and draw. Raises NotFound, and what `MetricSource` raises."""
        asked = self.sources.get(source)
        slo = (await anyio.to_thread.run_sync(self.files.read, path, principal)).get(name)
        at, notes = time.time(), Notes()
        history = await read_history(asked, slo, at, notes)
        reading = await read_slo(asked, slo, at, notes)
        expected = await anyio.to_thread.run_sync(forecast, slo, history)
        burned = burned_share(slo, history)
        quick = reading.windows[slo.windows.page_quick.long_seconds]
        burn = quick.burn_rate(slo)
        notes += _mind(slo, history, expected)
        picture = await self._picture(slo, history, expected, notes) if plot and history.slices else None
        counted = history.counted
        finite = burned if burned is not None and burned != float("inf") else None
        budget = ErrorBudget(
            slo=slo.id,
            source=asked.name,
            objective_percent=slo.objective_percent,
            period=prometheus_duration(slo.period_seconds),
            start=shown_time(history.start),
            end=shown_time(history.end),
            bad=history.bad if counted else None,
            events=history.events if counted else None,
            allowed=history.events * slo.budget_ratio if counted else None,
            burned_percent=finite * 100 if finite is not None else None,
            left_percent=(1 - finite) * 100 if finite is not None else None,
            covered_percent=history.covered * 100,
            burn_rate=burn if burn != float("inf") else None,
            gone_at_this_rate=gone_at_this_rate(slo, burned, burn),
            forecast=_told(expected, history),
            notes=tuple(dict.fromkeys(notes)),
            plotted=picture is not None,
        )
        return BudgetReply(budget, picture)

    async def _picture(self, slo: Slo, history: BurnHistory, expected: Forecast, notes: Notes) -> bytes | None:
        lines = [_line("budget left in %, of this period", _left_so_far(slo, history))]
        if expected.paths:
            times = [path[0] for path in expected.paths]
            for number, label in (
                (3, "forecast: best tenth"),
                (2, "forecast: middle"),
                (1, "forecast: worst tenth"),
            ):
                points = [(at, 100 * path[number]) for at, path in zip(times, expected.paths, strict=True)]
                lines.append(_line(label, points))
        end = expected.paths[-1][0] if expected.paths else history.end
        window = Window(history.start, end, history.slice_seconds)
        try:
            async with self.capacity.place("drawing a plot"):
                title = f"{slo.id}: error budget left, {slo.objective_percent:g} %"
                return await draw_plot(title, lines, window, self.cache_dir)
        except EngineError as error:
            notes.append(str(error))
            return None


def gone_at_this_rate(slo: Slo, burned: float | None, burn: float | None) -> str | None:
    """Return in how long the budget is gone at a burn rate; None where it does not burn, or is gone."""
    if burned is None or burn is None or not 0 < burn < float("inf") or burned >= 1:
        return None
    return shown_duration(max(1, round((1 - burned) * slo.period_seconds / burn)))


def _left_so_far(slo: Slo, history: BurnHistory) -> list[tuple[float, float]]:
    """Return the budget left in percent after each slice: all of it at the start, what is left at the end."""
    whole = burned_share(slo, history)
    bad = history.bad
    if whole is None or whole == float("inf") or not bad:
        return [(one.end, 100.0) for one in history.slices]
    points: list[tuple[float, float]] = []
    so_far = 0.0
    for one in history.slices:
        so_far += one.bad
        points.append((one.end, 100 * (1 - whole * so_far / bad)))
    return points


def _line(label: str, points: list[tuple[float, float]]) -> Series:
    return Series({"__name__": label}, tuple(at for at, _ in points), tuple(value for _, value in points))


def _mind(slo: Slo, history: BurnHistory, expected: Forecast) -> list[str]:
    notes: list[str] = []
    if not history.slices:
        notes.append("Nothing was measured in the period.")
    elif history.covered < _COVERED_ENOUGH:
        notes.append(
            f"Only {history.covered * 100:.0f} % of the period so far has data: the budget is that of the events "
            "there were."
        )
    if expected.outlook == "not enough data" and slo.budget_ratio > 0:
        active = sum(1 for one in history.slices if one.events > 0)
        notes.append(
            f"A forecast needs {LEAST_SLICES} slices of {prometheus_duration(history.slice_seconds)} with events; "
            f"there are {active}."
        )
    if history.counted and 0 < history.events * slo.budget_ratio < 1:
        notes.append("The budget allows less than one bad event for so few events: one failure overspends it.")
    return notes


def _told(expected: Forecast, history: BurnHistory) -> BudgetForecast:
    def told(moment: float | None) -> str | None:
        return shown_time(moment) if moment is not None else None

    return BudgetForecast(
        outlook=expected.outlook,
        probability=expected.probability,
        earliest=told(expected.earliest),
        middle=told(expected.middle),
        latest=told(expected.latest),
        horizon=told(expected.horizon),
        how="Block bootstrap: 400 futures drawn from stretches of the last quarter of the period, in slices of "
        f"{prometheus_duration(history.slice_seconds)}; 80 % of them lie in the interval.",
    )
