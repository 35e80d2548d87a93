"""Reads OpenSLO: `openslo/v1`, and `openslo/v1alpha` as sloth reads it.

An objective is an SLO of its own: with several, they are numbered from 0.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from quantum_suite.services.slo.durations import prometheus_duration, read_shorthand
from quantum_suite.services.slo.fields import Fields, Problems
from quantum_suite.services.slo.interface import (
    DEFAULT_PERIOD_SECONDS,
    AlertText,
    AlertWindows,
    Budgeting,
    CalendarWindow,
    ConditionAlert,
    Indicator,
    Slo,
)
from quantum_suite.services.slo.openslo_alerts import read_policies
from quantum_suite.services.slo.openslo_indicators import Slices, in_slices, read_indicator, read_threshold
from quantum_suite.services.slo.openslo_objects import ROOT, V1, OpenSloObjects, metadata_of, spec_of
from quantum_suite.services.slo.windows import windows_of
from quantum_suite.services.yaml_nodes import Node

MINIMUM_EVENTS = "quantum/minimum-events"
ALERT_NAME = "quantum/alert-name"
_METHODS: tuple[Budgeting, ...] = ("Occurrences", "Timeslices", "RatioTimeslices")
_SPEC = (
    "description",
    "service",
    "indicator",
    "indicatorRef",
    "timeWindow",
    "budgetingMethod",
    "objectives",
    "alertPolicies",
)
_OBJECTIVE = (
    "displayName",
    "op",
    "value",
    "target",
    "targetPercent",
    "timeSliceTarget",
    "timeSliceWindow",
    "indicator",
    "indicatorRef",
    "compositeWeight",
)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all objectives of a document have alike."""

    service: str
    name: str
    description: str
    method: Budgeting
    period_seconds: float
    calendar: CalendarWindow | None
    labels: dict[str, str]
    page: AlertText | None
    ticket: AlertText | None
    conditions: tuple[ConditionAlert, ...]
    minimum_events: int | None


def read_openslo_v1(
    document: Node, problems: Problems, objects: OpenSloObjects, windows: Sequence[AlertWindows]
) -> list[Slo]:
    """Read a document of kind SLO."""
    root = Fields(document, problems, ROOT)
    spec = Fields(spec_of(root), problems, _SPEC)
    shared = _read_shared(root, spec, problems, objects)
    objectives = spec.items("objectives")
    if not objectives:
        spec.require("objectives", "Give a list with one objective at least.")
    found: list[Slo] = []
    for number, node in enumerate(objectives):
        fields = Fields(node, problems, _OBJECTIVE)
        indicator = _indicator_of(fields, spec, problems, objects)
        fitted = windows_of(shared.period_seconds, windows)
        if shared.method != "Occurrences":
            slices = _read_slices(fields, shared.method, min(fitted.seconds), problems)
            indicator = in_slices(indicator, shared.method, slices) if slices is not None else indicator
        weight = fields.number("compositeWeight")
        if weight is not None and weight != 1:
            problems.add(
                fields.values["compositeWeight"],
                "Objectives are judged one by one, and weights have no meaning.",
                "Leave it out.",
            )
        found.append(
            Slo(
                service=shared.service,
                name=shared.name if len(objectives) == 1 else f"{shared.name}-{number}",
                objective_percent=_target(fields, problems),
                indicator=indicator,
                windows=fitted,
                spec=V1,
                description=shared.description or fields.text("displayName"),
                period_seconds=shared.period_seconds,
                calendar=shared.calendar,
                budgeting=shared.method,
                labels=shared.labels,
                page=shared.page,
                ticket=shared.ticket,
                conditions=shared.conditions,
                minimum_events=shared.minimum_events,
                file=problems.file,
                line=document.line,
            )
        )
    return found


def _read_shared(root: Fields, spec: Fields, problems: Problems, objects: OpenSloObjects) -> _Shared:
    metadata = metadata_of(root, problems)
    service = spec.name("service", "Name the service, e.g. checkout.")
    # Its absence was noted where objects were gathered.
    name = metadata.text("name")
    annotations = metadata.labels("annotations", "metadata")
    period, calendar = _read_period(spec, problems)
    policies = spec.get("alertPolicies")
    conditions = read_policies(spec.items("alertPolicies"), problems, objects)
    alert = annotations.get(ALERT_NAME) or default_alert_name(service, name)
    page = AlertText(alert, {"severity": "page"}) if policies is None else None
    ticket = AlertText(alert, {"severity": "ticket"}) if policies is None else None
    # The specification asks for the method; counting events is what everybody means who leaves it out.
    method = spec.choice("budgetingMethod", _METHODS, "Occurrences") or "Occurrences"
    return _Shared(
        service,
        name,
        spec.text("description"),
        method,
        period,
        calendar,
        _prometheus_labels(metadata.labels("labels", "metadata")),
        page,
        ticket,
        tuple(conditions),
        _read_minimum(metadata, annotations, problems),
    )


def default_alert_name(service: str, name: str) -> str:
    """Return how alerts of an SLO are called where nobody said: `CheckoutAvailabilityBudgetBurn`."""
    words = re.findall(r"[A-Za-z0-9]+", f"{service} {name}")
    return "".join(word[0].upper() + word[1:] for word in words) + "BudgetBurn"


def _prometheus_labels(given: dict[str, str]) -> dict[str, str]:
    """Return labels under names that Prometheus takes: `team.org/name` becomes `team_org_name`."""
    found: dict[str, str] = {}
    for name, value in given.items():
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        found[plain if not plain[0].isdigit() else f"_{plain}"] = value
    return found


def _read_minimum(metadata: Fields, annotations: dict[str, str], problems: Problems) -> int | None:
    given = annotations.get(MINIMUM_EVENTS)
    if given is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,8}", given):
        problems.add(
            metadata.values["annotations"].value[MINIMUM_EVENTS],
            f"'{given[:40]}' is no number of events.",
            "Give a whole number above 0.",
        )
        return None
    return int(given)


def _read_period(spec: Fields, problems: Problems) -> tuple[float, CalendarWindow | None]:
    items = spec.items("timeWindow")
    if not items:
        return DEFAULT_PERIOD_SECONDS, None
    if len(items) > 1:
        problems.add(items[1], "There is more than one time window.", "Keep one.")
    fields = Fields(items[0], problems, ("duration", "isRolling", "calendar"))
    text = fields.text("duration", "Give a duration, e.g. 30d.")
    read = read_shorthand(text) if text else None
    if read is None:
        if text:
            problems.add(fields.values["duration"], f"'{text[:40]}' is no duration.", "Write e.g. 7d, 4w, 1M, 1Q.")
        return DEFAULT_PERIOD_SECONDS, None
    count, unit, seconds = read
    if seconds < 3600:
        problems.add(fields.values["duration"], "A period is an hour at least.", "Write e.g. 7d, 30d.")
        return DEFAULT_PERIOD_SECONDS, None
    given = fields.get("calendar")
    if given is None:
        if not fields.flag("isRolling", default=True):
            problems.add(
                items[0], "This is missing.", "Give startTime and timeZone, or isRolling: true.", "calendar"
            )
        return seconds, None
    if fields.flag("isRolling"):
        problems.add(items[0], "A calendar does not roll.", "Leave isRolling or calendar out.", "isRolling")
    calendar = Fields(given, problems, ("startTime", "timeZone"))
    start = _read_start(calendar, problems)
    return seconds, CalendarWindow(start, count, unit) if start is not None else None  # type: ignore[arg-type]  # one of the shorthand's letters


def _read_start(calendar: Fields, problems: Problems) -> datetime | None:
    text = calendar.text("startTime", "Give a time, e.g. 2026-01-01 00:00:00.")
    named = calendar.text("timeZone") or "UTC"
    try:
        zone = UTC if named == "UTC" else ZoneInfo(named)
    except (ValueError, OSError, LookupError):
        problems.add(calendar.values["timeZone"], f"'{named[:40]}' is no zone.", "Write e.g. Europe/Berlin.")
        return None
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:
        problems.add(calendar.values["startTime"], f"'{text[:40]}' is no time.", "Write e.g. 2026-01-01 00:00:00.")
        return None


def _indicator_of(fields: Fields, spec: Fields, problems: Problems, objects: OpenSloObjects) -> Indicator:
    threshold = read_threshold(fields)
    for holder in (fields, spec):
        inline, reference = holder.get("indicator"), holder.get("indicatorRef")
        if inline is not None and reference is not None:
            problems.add(reference, "indicator and indicatorRef say the same thing twice.", "Leave one out.")
        if inline is not None:
            return read_indicator(inline, problems, objects, threshold)
        if reference is not None:
            named = objects.find("SLI", reference.written, reference, problems)
            return read_indicator(named, problems, objects, threshold) if named is not None else Indicator()
    problems.add(spec.node, "This is missing.", "Give what is measured, or indicatorRef.", key="indicator")
    return Indicator()


def _target(fields: Fields, problems: Problems) -> float:
    ratio, percent = fields.number("target"), fields.number("targetPercent")
    if (fields.get("target") is None) == (fields.get("targetPercent") is None):
        problems.add(
            fields.node, "One of target and targetPercent has to be there, and one alone.", "target: 0.999"
        )
        return 99.0
    found = ratio * 100 if ratio is not None else percent
    if found is None:
        return 99.0
    key = "target" if ratio is not None else "targetPercent"
    if not 0 < found < 100:
        top = "1" if ratio is not None else "100"
        problems.add(
            fields.values[key],
            f"{fields.values[key].written} is no target.",
            f"Give more than 0, less than {top}.",
        )
        return 99.0
    return found


def _read_slices(fields: Fields, method: Budgeting, shortest: float, problems: Problems) -> Slices | None:
    node = fields.require("timeSliceWindow", f"{method} needs the length of a slice, e.g. 1m.")
    target = fields.number("timeSliceTarget")
    if method == "Timeslices" and target is None:
        fields.require("timeSliceTarget", "Say which share of good events makes a slice good, e.g. 0.95.")
        return None
    if target is not None and not 0 < target <= 1:
        problems.add(fields.values["timeSliceTarget"], f"{target:g} is no share.", "Give more than 0, at most 1.")
        return None
    if node is None:
        return None
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        seconds: float | None = node.value * 60.0  # minutes, where no unit is given
    else:
        read = read_shorthand(node.written)
        seconds = read[2] if read is not None else None
    if seconds is None or seconds <= 0:
        problems.add(node, f"'{node.written[:40]}' is no duration.", "Write e.g. 1m, 5m.")
        return None
    if seconds > shortest:
        problems.add(
            node,
            f"A slice of {prometheus_duration(seconds)} does not fit the shortest alert window, "
            f"{prometheus_duration(shortest)}.",
            "Take shorter slices, or longer windows in a document of kind AlertWindows.",
        )
        return None
    return Slices(seconds, target if method == "Timeslices" else None)
