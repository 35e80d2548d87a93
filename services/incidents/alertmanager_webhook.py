"""What Alertmanager posts to a webhook (its version 4), as a report of signals."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantum_suite.core.errors import CallerError
from quantum_suite.core.incident_events import SEVERITIES, IncidentSeverity, SignalSeen
from quantum_suite.core.masking import mask_text
from quantum_suite.services.incidents.incidents import Report
from quantum_suite.services.incidents.interface import MAX_TITLE

MOST_ALERTS = 500
_MOST_LABELS = 30
_MOST_TEXT = 500
_SEVERITIES: Mapping[str, IncidentSeverity] = {
    **dict.fromkeys(("critical", "page", "emergency", "fatal", "p1", "sev1"), "critical"),
    **dict.fromkeys(("high", "error", "major", "p2", "sev2"), "high"),
    **dict.fromkeys(("medium", "warning", "warn", "minor", "ticket", "p3", "sev3"), "medium"),
    **dict.fromkeys(("low", "info", "none", "notice", "p4", "sev4"), "low"),
}
# The labels that begin with sloth_ are those of the rules that define_slo makes.
_SEVERITY_LABELS = ("severity", "sloth_severity")
_SERVICE_LABELS = ("service", "app", "component", "sloth_service", "job")

_Text = Annotated[str, Field(max_length=20_000)]
_Labels = Annotated[dict[str, _Text], Field(max_length=200)]


class _Alert(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: _Labels = {}
    annotations: _Labels = {}
    startsAt: datetime  # noqa: N815 - as Alertmanager writes it
    endsAt: datetime | None = None  # noqa: N815 - as Alertmanager writes it
    generatorURL: _Text = ""  # noqa: N815 - as Alertmanager writes it
    fingerprint: str = Field(min_length=1, max_length=100)


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: Literal["4"]
    groupKey: str = Field(min_length=1, max_length=20_000)  # noqa: N815 - as Alertmanager writes it
    commonLabels: _Labels = {}  # noqa: N815 - as Alertmanager writes it
    commonAnnotations: _Labels = {}  # noqa: N815 - as Alertmanager writes it
    groupLabels: _Labels = {}  # noqa: N815 - as Alertmanager writes it
    alerts: list[_Alert] = Field(min_length=1, max_length=MOST_ALERTS)


def read_report(message: Any) -> Report:
    """Return what a message tells; raises CallerError naming the member that is wrong.

    An alert is known by its fingerprint and when it began, so that its next time is another signal. Texts are cut
    and masked: they are of the systems watched, and go into a record that stays.
    """
    try:
        told = _Message.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the message"
        raise CallerError(
            f"This is no message of Alertmanager's webhook: {place}: {first['msg']}.",
            "Post what its webhook_configs sends, version 4.",
            argument="body",
        ) from error
    for alert in told.alerts:
        if alert.startsAt.tzinfo is None:
            raise CallerError("startsAt of an alert has no offset.", "Write RFC 3339.", argument="body")
    signals = {one.signal: one for one in (_signal(alert) for alert in told.alerts)}
    said = {_name(alert): severity for alert in told.alerts if (severity := _severity(alert.labels)) is not None}
    name = (
        told.commonLabels.get("alertname")
        or told.groupLabels.get("alertname")
        or told.alerts[0].labels.get("alertname")
    )
    title = told.commonAnnotations.get("summary") or told.alerts[0].annotations.get("summary") or name or "Alert"
    return Report(
        group=f"alertmanager:{told.groupKey[:1000]}",
        title=_short(title, MAX_TITLE),
        severity=max((_severity(alert.labels) or "high" for alert in told.alerts), key=SEVERITIES.index),
        origin="alert",
        began_at=min(alert.startsAt for alert in told.alerts),
        service=_short(_service(told), 100),
        signals=[*signals.values()],
        severities=said,
    )


def _name(alert: _Alert) -> str:
    return f"{alert.fingerprint}@{alert.startsAt.isoformat()}"


def _signal(alert: _Alert) -> SignalSeen:
    ended = alert.status == "resolved" and alert.endsAt is not None and alert.endsAt.tzinfo is not None
    at = alert.endsAt if ended and alert.endsAt is not None else alert.startsAt
    labels = sorted(alert.labels.items())[:_MOST_LABELS]
    summary = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    web = alert.generatorURL.startswith(("http://", "https://"))
    return SignalSeen(
        incident="",
        signal=_name(alert),
        state=alert.status,
        name=_short(alert.labels.get("alertname", "alert"), MAX_TITLE),
        summary=_short(summary, _MOST_TEXT),
        labels={_short(name, 100): _short(value, 200) for name, value in labels},
        at=at.isoformat(),
        uri=_short(alert.generatorURL, 1000) if web else "",
    )


def _severity(labels: Mapping[str, str]) -> IncidentSeverity | None:
    """Return how bad an alert says it is; None where it does not say so in words that are known."""
    said = (_SEVERITIES.get(labels.get(label, "").strip().lower()) for label in _SEVERITY_LABELS)
    return next((severity for severity in said if severity is not None), None)


def _service(told: _Message) -> str:
    first = told.alerts[0].labels
    return next(
        (found for label in _SERVICE_LABELS if (found := told.commonLabels.get(label) or first.get(label))), ""
    )


def _short(text: str, most: int) -> str:
    line = " ".join(mask_text(text[: 4 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
