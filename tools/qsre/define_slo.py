"""Writes an SLO and its rules into the workspace, after checking both, and that its indicator has data now."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError, EngineMissing, SuiteError
from quantum_suite.core.principals import Principal
from quantum_suite.services.metrics.interface import MetricSource
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.event_counts import count_query
from quantum_suite.services.slo.files import DIRECTORY, SloFiles, SloPaths, difference, read_text
from quantum_suite.services.slo.interface import Slo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.slo.measuring import WindowReading, read_slo
from quantum_suite.services.slo.rule_file import check_rules, write_rules
from quantum_suite.services.slo.rules import make_groups
from quantum_suite.services.slo.writing import SloDraft, write_openslo

_DIFF_SHOWN = 12_000
_CHECKED_SLOS = 20


class DefinedRow(BaseModel):
    """An SLO of the file."""

    model_config = ConfigDict(frozen=True)

    slo: str = Field(description="Its id: service-name. Pass it to error_budget.")
    objective_percent: float = Field(description="What is promised.")
    period: str = Field(description="Over which time.")
    alerts: tuple[str, ...] = Field(description="When it alerts: severity, burn rate, long and short window.")
    measured_percent: float | None = Field(description="Good events in the last hour or so; null without data.")
    events: float | None = Field(description="Events in that time; null where the indicator does not count them.")


class DefinedSlos(BaseModel):
    """A file of SLOs and its rules: written, or what writing would change."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="The SLO file.")
    rules_path: str = Field(description="The rule file beside it, for Prometheus's rule_files.")
    written: bool = Field(description="Whether they were written; a dry run writes nothing.")
    digest: str | None = Field(
        description="Names what both files hold now: pass it as expected to replace them. null: not there yet."
    )
    slos: tuple[DefinedRow, ...] = Field(description="What the file defines.")
    rules: int = Field(description="Rules made of it.")
    promtool: str = Field(description="accepted, or why the rules were not checked.")
    diff: str = Field(description="What changes, or changed; empty for nothing.")
    notes: tuple[str, ...] = Field(
        description="What to know: no data, alerts that can never fire, what is missing."
    )


@dataclass(frozen=True, slots=True)
class SloOrder:
    """What a caller wants defined: a draft, a document, or what a file holds already."""

    draft: SloDraft | None = None
    document: str | None = None
    path: str | None = None
    source: str | None = None
    dry_run: bool = True
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class SloDefiner:
    """Defines SLOs. One object serves every call."""

    files: SloFiles
    sources: MetricSources

    async def define(self, order: SloOrder, principal: Principal) -> DefinedSlos:
        """Check, and write unless it is a dry run. Raises InvalidSlo, Conflict and CallerError."""
        content, slos, paths = await anyio.to_thread.run_sync(self._read, order, principal)
        rules = write_rules(slos)
        notes = [note for slo in slos for note in _mind(slo)]
        try:
            await check_rules(rules)
            accepted = "accepted"
        except EngineMissing as missing:
            accepted = str(missing)
        rows = await self._rows(slos, order.source, notes)
        diff = await anyio.to_thread.run_sync(difference, paths, content, rules)
        if not order.dry_run:
            await anyio.to_thread.run_sync(self.files.write, paths, content, rules, order.expected)
        return DefinedSlos(
            path=str(paths.file),
            rules_path=str(paths.rules),
            written=not order.dry_run,
            digest=await anyio.to_thread.run_sync(paths.digest),
            slos=rows,
            rules=sum(len(group.rules) for slo in slos for group in make_groups(slo)),
            promtool=accepted,
            diff=diff if len(diff) <= _DIFF_SHOWN else f"{diff[:_DIFF_SHOWN]}\n[{len(diff)} characters in all]\n",
            notes=tuple(dict.fromkeys(notes)),
        )

    def _read(self, order: SloOrder, principal: Principal) -> tuple[str, list[Slo], SloPaths]:
        if order.draft is not None and order.document is not None:
            raise CallerError("document and fields say the same thing twice.", "Give one.", argument="document")
        if order.draft is not None:
            content = write_openslo(order.draft)
        elif order.document is not None:
            content = order.document
        elif order.path is not None:
            content = read_text(self.files.workspaces.resolve(order.path, principal))
        else:
            raise CallerError(
                "There is nothing to define.",
                "Give service, name, objective and queries; or a document; or the path of an SLO file.",
                argument="document",
            )
        slos = load_slos(content, order.path or "document")
        named = slos[0].name if len(slos) == 1 else slos[0].service
        return content, slos, self.files.paths(order.path or f"{DIRECTORY}/{named}.yaml", principal)

    async def _rows(self, slos: Sequence[Slo], source: str | None, notes: list[str]) -> tuple[DefinedRow, ...]:
        asked: MetricSource | None = None
        try:
            asked = self.sources.get(source)
        except CallerError as error:
            if source is not None:
                raise
            notes.append(f"Whether there is data was not checked: {error}")
        if len(slos) > _CHECKED_SLOS:
            notes.append(f"Data was looked for in the first {_CHECKED_SLOS} SLOs.")
        rows: list[DefinedRow] = []
        for number, slo in enumerate(slos):
            look = asked if number < _CHECKED_SLOS else None
            rows.append(_row(slo, await _measure(look, slo, notes) if look is not None else None))
        return tuple(rows)


async def _measure(source: MetricSource, slo: Slo, notes: list[str]) -> WindowReading | None:
    """Return what is measured over the long window of the fastest alert, and note what is missing."""
    said: list[str] = []
    try:
        reading = await read_slo(source, slo, time.time(), said)
    except SuiteError as error:
        notes.append(f"{slo.id}: whether there is data was not checked: {error.message}")
        return None
    notes += [f"{slo.id}: {note}" for note in said]
    window = reading.windows[slo.windows.page_quick.long_seconds]
    length = prometheus_duration(window.seconds)
    if window.events == 0:
        notes.append(f"{slo.id}: nothing happened in the last {length}, so there is no ratio now.")
    elif window.error_ratio is None:
        notes.append(
            f"{slo.id}: {source.name} has no data for it in the last {length}: look at its metrics and labels "
            "with explore_metrics, and try its queries with query_metrics."
        )
    elif window.error_ratio == 0.0 and not window.recorded and _may_have_gaps(slo):
        notes.append(
            f"{slo.id}: no bad event in the last {length}. Where the series of bad events appears with the first "
            "of them, the ratio has gaps until then: end the bad query in 'or vector(0)' to have none."
        )
    if not 0 <= (window.error_ratio or 0.0) <= 1:
        notes.append(
            f"{slo.id}: the share of bad events is {window.error_ratio:.4g}, not between 0 and 1: look at the "
            "queries."
        )
    if reading.low_traffic and window.events is not None:
        notes.append(
            f"{slo.id}: {window.events:.0f} events in {length}: one failure alone is "
            f"{100 / max(window.events, 1):.2g} % and pages. minimum_events keeps alerts quiet below a number."
        )
    return window


def _row(slo: Slo, window: WindowReading | None) -> DefinedRow:
    ratio = window.error_ratio if window is not None else None
    alerts = [
        f"{pair.severity}: {pair.factor:g}x over {prometheus_duration(pair.long_seconds)} and "
        f"{prometheus_duration(pair.short_seconds)}"
        for pair in slo.windows.pairs
        if (slo.page if pair.severity == "page" else slo.ticket) is not None
    ]
    alerts += [
        f"{one.severity}: {one.threshold:g}x over {prometheus_duration(one.lookback_seconds)} ({one.name})"
        for one in slo.conditions
    ]
    return DefinedRow(
        slo=slo.id,
        objective_percent=slo.objective_percent,
        period=prometheus_duration(slo.period_seconds),
        alerts=tuple(alerts),
        measured_percent=(1 - ratio) * 100 if ratio is not None else None,
        events=window.events if window is not None else None,
    )


def _mind(slo: Slo) -> list[str]:
    """Return what is odd about an SLO."""
    notes: list[str] = []
    if slo.objective_percent == 100:
        notes.append(
            f"{slo.id}: 100 % leaves no budget: every bad event alerts, and nothing can be changed safely."
        )
    never = [pair for pair in slo.windows.pairs if pair.factor * slo.budget_ratio >= 1]
    if never:
        named = ", ".join(
            f"{pair.severity} {pair.speed} ({pair.factor * 100 * slo.budget_ratio:.4g} %)" for pair in never
        )
        notes.append(
            f"{slo.id}: these alerts can never fire, for they need more bad events than there are: {named}."
        )
    if slo.calendar is not None:
        notes.append(
            f"{slo.id}: rules see a rolling {prometheus_duration(slo.period_seconds)}; slo_status and "
            "error_budget count from the begin of the calendar's period."
        )
    if slo.minimum_events is not None and count_query(slo, slo.windows.page_quick.long_seconds) is None:
        notes.append(f"{slo.id}: its indicator counts no events, so a minimum of events has no effect.")
    return notes


def _may_have_gaps(slo: Slo) -> bool:
    """Whether the query for bad events may have no result where there was none."""
    return slo.indicator.error is not None and "vector(0)" not in slo.indicator.error.replace(" ", "")
