"""What a source measures, in words: families of metrics, their labels, targets, rules and alerts."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import anyio

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.services.metrics.families import MetricFamily, families_of, fitting
from quantum_suite.services.metrics.interface import (
    ActiveAlert,
    MetricMetadata,
    MetricSource,
    Notes,
    RuleGroup,
    SourceStatus,
    Target,
    Window,
)
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.metrics.windows import shown_time
from quantum_suite.tools.qsre.exploration import (
    DownRow,
    Exploration,
    LabelRow,
    RuleRow,
    alert_row,
    family_row,
    group_rows,
    job_rows,
    label_rows,
    short,
    worst_first,
)

SHOWN_FAMILIES = 30
_WITH_LABELS = 10
_SERIES_LOOKED_AT = 300
_MOST_NAMES = 20_000
_RECENT_SECONDS = 300.0
_DOWN_SHOWN = 10
_ALERTS_SHOWN = 15
_RULES_SHOWN = 15
_AT_ONCE = 4

Read = TypeVar("Read")


@dataclass(slots=True)
class _Looked:
    """What the source said to each question; empty where it did not."""

    status: SourceStatus
    names: Sequence[str]
    known: Mapping[str, MetricMetadata]
    counts: Mapping[str, int]
    targets: Sequence[Target]
    rules: Sequence[RuleGroup]
    alerts: Sequence[ActiveAlert]
    silences: int | None


@dataclass(frozen=True, slots=True)
class MetricExplorer:
    """Looks around. One object serves every call."""

    sources: MetricSources

    async def explore(self, source: str | None, about: str | None) -> Exploration:
        """Say what a source measures; with `about`, what has to do with it.

        What the source does not answer is noted, and the rest is told. Raises CallerError, and Unavailable or
        EngineError where it answers nothing at all.
        """
        asked = self.sources.get(source)
        notes: Notes = []
        looked = await self._look(asked, notes)
        recorded = frozenset(r.name for group in looked.rules for r in group.rules if r.kind == "recording")
        families = families_of(looked.names, looked.known, looked.counts, recorded)
        chosen = self._choose(families, looked, about, notes)
        shown = chosen[:SHOWN_FAMILIES]
        labels = await self._labels(asked, shown[:_WITH_LABELS], notes)
        if looked.counts and any(family.series is None for family in shown):
            notes.append(f"{asked.name} is large: only the series of its largest metrics are counted.")
        alerting = [rule for group in looked.rules for rule in group.rules if rule.kind == "alerting"]
        alerting.sort(key=lambda rule: (rule.health != "err", ("firing", "pending", "inactive").index(rule.state)))
        status = looked.status
        return Exploration(
            source=asked.name,
            sources=tuple(self.sources.names),
            product=f"{status.product} {status.version}" if status.version else status.product,
            series=status.series,
            oldest=shown_time(status.oldest) if status.oldest is not None else None,
            about=about,
            families_found=len(chosen),
            families=tuple(family_row(family, labels.get(family.name, ())) for family in shown),
            groups=group_rows(families),
            jobs=job_rows(looked.targets),
            down=tuple(
                DownRow(job=one.job, instance=one.instance, error=short(one.last_error))
                for one in [one for one in looked.targets if not one.up][:_DOWN_SHOWN]
            ),
            alerts=tuple(alert_row(alert) for alert in worst_first(looked.alerts)[:_ALERTS_SHOWN]),
            alerts_found=len(looked.alerts),
            alerting_rules=tuple(
                RuleRow(name=rule.name, query=short(rule.query), state=rule.state, problem=short(rule.last_error))
                for rule in alerting[:_RULES_SHOWN]
            ),
            rules_found=sum(len(group.rules) for group in looked.rules),
            silences=looked.silences,
            notes=tuple(dict.fromkeys(notes)),
        )

    def _choose(
        self, families: Sequence[MetricFamily], looked: _Looked, about: str | None, notes: Notes
    ) -> list[MetricFamily]:
        if about is None or not about.strip():
            return sorted(families, key=lambda family: (-(family.series or 0), family.name))
        found = fitting(families, about)
        if not found and families:
            notes.append(f"No name and no help text has to do with '{about[:60]}'; groups says what there is.")
        return found

    async def _look(self, source: MetricSource, notes: Notes) -> _Looked:
        now = time.time()
        window = Window(now - _RECENT_SECONDS, now, 1)
        answered: list[str] = []
        failed: list[SuiteError] = []

        async def told(what: str, ask: Callable[[], Awaitable[Read]], otherwise: Read) -> Read:
            try:
                found = await ask()
            except SuiteError as error:
                failed.append(error)
                notes.append(f"Not looked up: {what}. {error}")
                return otherwise
            answered.append(what)
            return found

        looked = _Looked(SourceStatus("unknown"), (), {}, {}, (), (), (), None)

        async def names() -> None:
            looked.names = await told(
                "names of metrics",
                lambda: source.label_values("__name__", (), window, _MOST_NAMES, notes),
                [],
            )

        async def known() -> None:
            looked.known = await told("types and help texts", source.metadata, {})

        async def counts() -> None:
            looked.counts = await told("series by metric", source.series_counts, {})

        async def targets() -> None:
            looked.targets = await told("targets", source.targets, [])

        async def rules() -> None:
            looked.rules = await told("rules", source.rules, [])

        async def alerts() -> None:
            looked.alerts = await told("alerts", source.alerts, [])

        looked.status = await told("what it is", source.status, looked.status)
        if failed and isinstance(failed[0], Unavailable):
            # It is away: six more questions would wait as long and say the same.
            raise failed[0]
        async with anyio.create_task_group() as tasks:
            for look in (names, known, counts, targets, rules, alerts):
                tasks.start_soon(look)
        if not answered:
            raise failed[0]
        looked.silences = await self._silences(notes)
        return looked

    async def _silences(self, notes: Notes) -> int | None:
        if not self.sources.alert_manager_names:
            return None
        try:
            manager = self.sources.alert_manager(self.sources.alert_manager_names[0])
            return sum(1 for silence in await manager.silences() if silence.state == "active")
        except SuiteError as error:
            notes.append(f"Not looked up: silences. {error}")
            return None

    async def _labels(
        self, source: MetricSource, families: Sequence[MetricFamily], notes: Notes
    ) -> dict[str, tuple[LabelRow, ...]]:
        """Return the labels of families, from some of the series of the metric of each that has most."""
        now = time.time()
        window = Window(now - _RECENT_SECONDS, now, 1)
        found: dict[str, tuple[LabelRow, ...]] = {}
        places = anyio.CapacityLimiter(_AT_ONCE)

        async def look(family: MetricFamily) -> None:
            selector = f'{{__name__="{_quoted(family.metrics[0])}"}}'
            async with places:
                try:
                    sets = await source.series([selector], window, _SERIES_LOOKED_AT, None)
                except SuiteError as error:
                    notes.append(f"Not looked up: labels of {family.name}. {error.message}")
                    return
            found[family.name] = label_rows(sets)

        async with anyio.create_task_group() as tasks:
            for family in families:
                tasks.start_soon(look, family)
        return found


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
