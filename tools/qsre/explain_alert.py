"""Says what an alert of an SLO means: which windows hold, what is left, how long that lasts, where to look."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, NotFound, SuiteError
from quantum_suite.core.masking import mask_value
from quantum_suite.core.principals import Principal
from quantum_suite.services.metrics.interface import ActiveAlert, MetricSource, Notes
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import shown_duration, shown_time
from quantum_suite.services.slo.breakdown import breakdown_queries
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.fields import put_window
from quantum_suite.services.slo.files import FoundSlos, SloFiles
from quantum_suite.services.slo.interface import BurnAlert, Slo
from quantum_suite.services.slo.measuring import SloReading, read_slo
from quantum_suite.services.slo.rules import condition_alert_name
from quantum_suite.tools.qsre.error_budget import gone_at_this_rate
from quantum_suite.tools.qsre.slo_status import WindowRow, window_row


class PairRow(BaseModel):
    """A pair of windows of the alert."""

    model_config = ConfigDict(frozen=True)

    severity: str = Field(description="page or ticket.")
    threshold: float = Field(description="Burn rate above which it holds.")
    long: WindowRow = Field(description="The window that says that it matters.")
    short: WindowRow = Field(description="The window that says that it still goes on.")
    holds: bool = Field(description="Whether both are above the threshold now.")


class AlertExplanation(BaseModel):
    """What an alert means."""

    model_config = ConfigDict(frozen=True)

    alert: str = Field(description="The alert's name.")
    state: Literal["firing", "pending", "inactive"] = Field(description="What the source's rule says of it now.")
    since: str | None = Field(description="Since when, UTC; null where it is inactive, or no rule has it.")
    labels: dict[str, str] = Field(description="Its labels.")
    slo: str = Field(description="The SLO that it is of.")
    objective_percent: float = Field(description="What is promised.")
    period: str = Field(description="Over which time.")
    file: str = Field(description="Where the SLO is defined.")
    pairs: tuple[PairRow, ...] = Field(description="Its pairs of windows; it fires while one of them holds.")
    burn_rate: float | None = Field(description="How fast the budget burns now: 1 spends it in one period.")
    budget_left_percent: float | None = Field(description="Share of the budget left; negative: overspent.")
    gone_in: str | None = Field(description="When the budget is gone at this rate; null: gone, or not burning.")
    low_traffic: bool = Field(description="Whether one failure alone is enough for the fastest alert.")
    explanation: str = Field(description="All this in words.")
    look_at: tuple[str, ...] = Field(
        description="What to ask next, as PromQL for query_metrics or a tool to call."
    )
    notes: tuple[str, ...] = Field(description="What could not be found out.")


@dataclass(frozen=True, slots=True)
class AlertExplainer:
    """Explains alerts. One object serves every call."""

    files: SloFiles
    sources: MetricSources

    async def explain(
        self, alert: str, labels: Mapping[str, str], source: str | None, path: str | None, principal: Principal
    ) -> AlertExplanation:
        """Explain. Raises NotFound for an alert of no SLO, and what `MetricSource` raises."""
        asked = self.sources.get(source)
        found = await anyio.to_thread.run_sync(self.files.read, path, principal)
        at, notes = time.time(), Notes()
        active = await _active(asked, alert, labels, notes)
        known = {**labels, **(active.labels if active is not None else {})}
        slo = _slo_of(found, alert, known)
        severity = known.get("sloth_severity") or known.get("severity")
        reading = await read_slo(asked, slo, at, notes)
        pairs = [pair for pair in _pairs(slo) if severity not in ("page", "ticket") or pair.severity == severity]
        holding = [pair for pair in pairs if reading.holding(pair)]
        shown = (holding or pairs or list(slo.windows.pairs))[0]
        window = reading.windows[shown.short_seconds]
        burn = window.burn_rate(slo)
        burned = reading.burned
        if found.problems:
            notes.append(f"Not read: {found.problems[0]}")
        row = AlertExplanation(
            alert=alert,
            state=active.state if active is not None else "inactive",
            since=shown_time(active.active_at) if active is not None else None,
            labels=mask_value(dict(known)),
            slo=slo.id,
            objective_percent=slo.objective_percent,
            period=prometheus_duration(slo.period_seconds),
            file=slo.file,
            pairs=tuple(_pair_row(reading, pair) for pair in pairs),
            burn_rate=burn if burn != float("inf") else None,
            budget_left_percent=None if burned is None or burned == float("inf") else (1 - burned) * 100,
            gone_in=gone_at_this_rate(slo, burned, burn),
            low_traffic=reading.low_traffic,
            explanation="",
            look_at=tuple(await _look_at(asked, slo, at, shown)),
            notes=tuple(dict.fromkeys(notes)),
        )
        return row.model_copy(update={"explanation": _words(row, reading, holding, shown)})


async def _active(source: MetricSource, alert: str, labels: Mapping[str, str], notes: Notes) -> ActiveAlert | None:
    """Return the alert as the source has it, a firing one first; of several, the one that has lasted longest."""
    try:
        alerts = await source.alerts()
    except SuiteError as error:
        notes.append(f"Whether it fires is not known: {error.message}")
        return None
    fitting = [
        one
        for one in alerts
        if one.labels.get("alertname") == alert
        and all(one.labels.get(name) == value for name, value in labels.items())
    ]
    if len(fitting) > 1:
        notes.append(
            f"{len(fitting)} alerts have this name and these labels: the longest firing one is explained."
        )
    return min(fitting, key=lambda one: (one.state != "firing", one.active_at), default=None)


def _slo_of(found: FoundSlos, alert: str, labels: Mapping[str, str]) -> Slo:
    if "sloth_id" in labels:
        return found.get(labels["sloth_id"], "alert")
    fitting = [slo for slo in found.slos if alert in _names(slo)]
    fitting = [slo for slo in fitting if labels.get("sloth_slo", slo.name) == slo.name]
    fitting = [slo for slo in fitting if labels.get("sloth_service", slo.service) == slo.service]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise CallerError(
            f"{len(fitting)} SLOs have an alert named '{alert[:100]}'.",
            f"Give the label sloth_id, one of: {', '.join(slo.id for slo in fitting[:20])}.",
            argument="labels",
        )
    names = sorted({name for slo in found.slos for name in _names(slo)})
    hint = f"There is: {', '.join(names[:20]) or 'none'}. Other alerts: see explore_metrics."
    raise NotFound(f"No SLO has an alert named '{alert[:100]}'.", hint, argument="alert")


def _names(slo: Slo) -> set[str]:
    named = {text.name for text in (slo.page, slo.ticket) if text is not None}
    for condition in slo.conditions:
        base = condition_alert_name(slo, condition)
        named |= {base, f"{base}NoData"}
    return named


def _pairs(slo: Slo) -> list[BurnAlert]:
    texts = {"page": slo.page, "ticket": slo.ticket}
    return [pair for pair in slo.windows.pairs if texts[pair.severity] is not None] or list(slo.windows.pairs)


def _pair_row(reading: SloReading, pair: BurnAlert) -> PairRow:
    return PairRow(
        severity=pair.severity,
        threshold=pair.factor,
        long=window_row(reading.slo, reading.windows[pair.long_seconds]),
        short=window_row(reading.slo, reading.windows[pair.short_seconds]),
        holds=reading.holding(pair),
    )


async def _look_at(source: MetricSource, slo: Slo, at: float, pair: BurnAlert) -> list[str]:
    """Return what to ask next, the most telling first."""
    short = prometheus_duration(pair.short_seconds)
    asked = await breakdown_queries(source, slo, at, pair.short_seconds)
    if slo.indicator.error is not None:
        asked.append(put_window(slo.indicator.error, short).strip())
    if slo.indicator.total is not None:
        asked.append(put_window(slo.indicator.total, short).strip())
    if slo.indicator.error is None and slo.indicator.error_ratio is not None:
        asked.append(put_window(slo.indicator.error_ratio, short).strip())
    return [*asked, f'error_budget(slo="{slo.id}")']


def _words(row: AlertExplanation, reading: SloReading, holding: Sequence[BurnAlert], shown: BurnAlert) -> str:
    slo = reading.slo
    short, long = (reading.windows[each] for each in (shown.short_seconds, shown.long_seconds))
    lengths = f"{prometheus_duration(long.seconds)} and {prometheus_duration(short.seconds)}"
    said = [f"{row.alert} is of the SLO {slo.id}: {slo.objective_percent:g} % good over {row.period}."]
    if holding:
        said.append(
            f"Over {lengths} the budget burns more than {shown.factor:g} times as fast as it may "
            f"({shown.severity})."
        )
    elif row.state == "firing":
        said.append(
            "It fires, but no pair of its windows holds any more: it is about to end, or the files are newer."
        )
    elif short.error_ratio is None and long.error_ratio is None:
        said.append(f"Nothing is measured over {lengths}.")
    else:
        said.append("No pair of its windows holds now.")
    if row.since is not None:
        lasted = shown_duration(max(1, round(reading.at - _seconds(row.since))))
        said.append(f"It is {row.state} since {row.since} ({lasted}).")
    if row.burn_rate is not None:
        said.append(f"It burns at {row.burn_rate:.3g} now.")
    if row.budget_left_percent is not None:
        left = row.budget_left_percent
        said.append(
            f"{left:.3g} % of the budget is left." if left > 0 else f"The budget is overspent by {-left:.3g} %."
        )
    if row.gone_in is not None:
        said.append(f"At this rate it is gone in {row.gone_in}.")
    if row.low_traffic and long.events is not None:
        said.append(
            f"Traffic is low: {long.events:.0f} events in {prometheus_duration(long.seconds)}, one failure is "
            f"{100 / max(1.0, long.events):.3g} % of them. Look at the single failures before the rate; a minimum "
            "of events (quantum/minimum-events) keeps such alerts quiet."
        )
    return " ".join(said)


def _seconds(shown: str) -> float:
    return datetime.fromisoformat(shown).timestamp()
