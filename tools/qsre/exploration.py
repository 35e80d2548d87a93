"""How what there is to measure is told: families, labels, targets, rules, alerts."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.masking import mask_text, mask_value
from quantum_suite.services.metrics.families import MetricFamily, prefix_of
from quantum_suite.services.metrics.interface import ActiveAlert, Target
from quantum_suite.services.metrics.windows import shown_time

_VALUES_SHOWN = 4
_GROUPS_SHOWN = 15
_TEXT = 160


class LabelRow(BaseModel):
    """A label of a metric."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="The label.")
    values: int = Field(description="Values it has in the series that were looked at.")
    examples: tuple[str, ...] = Field(description="A few of them.")


class FamilyRow(BaseModel):
    """Metrics that belong together."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="The family: what a histogram's parts have in common.")
    metrics: tuple[str, ...] = Field(description="The names to query.")
    type: str = Field(description="counter, gauge, histogram, summary, info, or unknown where nobody declares it.")
    unit: str = Field(description="The unit, where one is declared.")
    help: str = Field(description="What its exporter says it is: text of the system watched, data.")
    series: int | None = Field(description="Series now; null where they were not counted.")
    recorded: bool = Field(description="Whether a recording rule writes it.")
    labels: tuple[LabelRow, ...] = Field(description="Its labels; looked up for the first families alone.")


class GroupRow(BaseModel):
    """Families whose names begin alike."""

    model_config = ConfigDict(frozen=True)

    prefix: str = Field(description="What their names begin with; pass it as about to see them.")
    families: int = Field(description="How many.")


class JobRow(BaseModel):
    """Targets that are scraped alike."""

    model_config = ConfigDict(frozen=True)

    job: str = Field(description="The job.")
    up: int = Field(description="Targets that answer.")
    down: int = Field(description="Targets that do not.")
    interval_seconds: float = Field(description="How often they are scraped.")


class DownRow(BaseModel):
    """A target that does not answer."""

    model_config = ConfigDict(frozen=True)

    job: str = Field(description="Its job.")
    instance: str = Field(description="Its address.")
    error: str = Field(description="What the source says of it.")


class AlertRow(BaseModel):
    """An alert that is pending or firing."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="The alert.")
    state: str = Field(description="pending or firing.")
    since: str = Field(description="Since when its expression has held, UTC.")
    labels: dict[str, str] = Field(description="Its labels.")
    summary: str = Field(description="Its annotation summary or description: text of the system watched, data.")


class RuleRow(BaseModel):
    """An alerting rule."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="The rule.")
    query: str = Field(description="Its expression.")
    state: str = Field(description="inactive, pending or firing.")
    problem: str = Field(description="Why it cannot be evaluated; empty where it can.")


class Exploration(BaseModel):
    """What there is to ask for."""

    model_config = ConfigDict(frozen=True)

    source: str = Field(description="The source.")
    sources: tuple[str, ...] = Field(description="All sources that can be asked.")
    product: str = Field(description="What it is, with its version.")
    series: int | None = Field(description="Series it holds in memory; null where it does not say.")
    oldest: str | None = Field(description="Its oldest sample in memory, UTC; on disk may be older ones.")
    about: str | None = Field(description="What was asked about.")
    families_found: int = Field(description="Families that fit, or all of them.")
    families: tuple[FamilyRow, ...] = Field(description="Best first with about, else those with most series.")
    groups: tuple[GroupRow, ...] = Field(description="What names of families begin with, most frequent first.")
    jobs: tuple[JobRow, ...] = Field(description="What is scraped.")
    down: tuple[DownRow, ...] = Field(description="Targets that do not answer, ten at most.")
    alerts: tuple[AlertRow, ...] = Field(description="Alerts that are pending or firing, firing ones first.")
    alerts_found: int = Field(description="How many there are in all.")
    alerting_rules: tuple[RuleRow, ...] = Field(
        description="Rules that alert: broken ones, then active ones, first."
    )
    rules_found: int = Field(description="Rules in all, recording ones included.")
    silences: int | None = Field(description="Active silences of the Alertmanager; null where none is configured.")
    notes: tuple[str, ...] = Field(description="What could not be looked up, and why.")


def label_rows(sets: Sequence[Mapping[str, str]]) -> tuple[LabelRow, ...]:
    """Return the labels of some series, with a few values of each."""
    values: dict[str, Counter[str]] = {}
    for labels in sets:
        for name, value in labels.items():
            if name != "__name__":
                values.setdefault(name, Counter())[value] += 1
    return tuple(
        LabelRow(
            name=name,
            values=len(counted),
            examples=tuple(short(mask_text(value), 60) for value, _ in counted.most_common(_VALUES_SHOWN)),
        )
        for name, counted in sorted(values.items())
    )


def family_row(family: MetricFamily, labels: tuple[LabelRow, ...]) -> FamilyRow:
    """Return a family as it is told."""
    return FamilyRow(
        name=family.name,
        metrics=family.metrics,
        type=family.metadata.type,
        unit=family.metadata.unit,
        help=short(family.metadata.help),
        series=family.series,
        recorded=family.recorded,
        labels=labels,
    )


def group_rows(families: Sequence[MetricFamily]) -> tuple[GroupRow, ...]:
    """Return what names begin with, most frequent first."""
    counted = Counter(prefix_of(family.name) for family in families)
    return tuple(GroupRow(prefix=prefix, families=count) for prefix, count in counted.most_common(_GROUPS_SHOWN))


def job_rows(targets: Sequence[Target]) -> tuple[JobRow, ...]:
    """Return what is scraped, by job."""
    jobs: dict[str, list[Target]] = {}
    for target in targets:
        jobs.setdefault(target.job, []).append(target)
    return tuple(
        JobRow(
            job=job,
            up=sum(1 for one in of_job if one.up),
            down=sum(1 for one in of_job if not one.up),
            interval_seconds=max(one.interval_seconds for one in of_job),
        )
        for job, of_job in sorted(jobs.items())
    )


def worst_first(alerts: Sequence[ActiveAlert]) -> list[ActiveAlert]:
    """Return alerts that fire before those that may, oldest first."""
    return sorted(alerts, key=lambda alert: (alert.state != "firing", alert.active_at))


def alert_row(alert: ActiveAlert) -> AlertRow:
    """Return an alert as it is told."""
    said = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    return AlertRow(
        name=alert.labels.get("alertname", ""),
        state=alert.state,
        since=shown_time(alert.active_at),
        labels={name: value for name, value in mask_value(dict(alert.labels)).items() if name != "alertname"},
        summary=short(said),
    )


def short(text: str, most: int = _TEXT) -> str:
    """Return text in one bounded line, credentials masked."""
    line = " ".join(mask_text(text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
