"""Events in the Open Cybersecurity Schema Framework, version 1.2.0 (https://schema.ocsf.io/1.2.0).

Calls are API Activity (6003), scans Scan Activity (6007); everything else that happens in the suite is Application
Lifecycle (6002) with the activity "Other", which names the event type. Payloads go into `unmapped`, so that
nothing is lost in the translation; personal data is left out.
"""

from collections.abc import Mapping
from typing import Any

from quantum_suite import __version__
from quantum_suite.core.events import Event, type_and_version
from quantum_suite.services.audit.call_events import CallAccepted, CallEnded

OCSF_VERSION = "1.2.0"
_CATEGORY = {"category_uid": 6, "category_name": "Application Activity"}
_PRODUCT = {"name": "Quantum Suite", "vendor_name": "Quantum Suite", "version": __version__}
_OTHER = 99
_INFORMATIONAL, _LOW, _MEDIUM = (1, "Informational"), (2, "Low"), (3, "Medium")
_READS = frozenset({"list", "get", "read", "complete", "templates/list", "discover"})
_SCAN_ACTIVITIES = {
    "started": (1, "Started"),
    "completed": (2, "Completed"),
    "cancelled": (3, "Cancelled"),
    "failed": (6, "Error"),
    "paused": (7, "Paused"),
    "resumed": (8, "Resumed"),
    "restarted": (9, "Restarted"),
}


def as_ocsf(event: Event) -> dict[str, Any]:
    """Return an event as an OCSF object, with every attribute its class requires."""
    bare, _ = type_and_version(event.type)
    module, _, rest = bare.partition(".")
    aggregate, _, happened = rest.partition(".")
    if bare in (CallAccepted.event_type, CallEnded.event_type):
        return _api_activity(event)
    if aggregate == "scan":
        return _scan_activity(event, happened)
    body = _body(event, 6002, "Application Lifecycle", _OTHER, bare, _INFORMATIONAL)
    return {**body, "app": {**_PRODUCT, "feature": {"name": module}}}


def _api_activity(event: Event) -> dict[str, Any]:
    data = event.data
    method = str(data.get("method", ""))
    reads = method.partition("/")[2] in _READS
    status, severity = _outcome(data)
    body = _body(event, 6003, "API Activity", *((2, "Read") if reads else (_OTHER, method or "unknown")), severity)
    return {
        **body,
        **status,
        "actor": {
            **({"user": {"uid": event.principal, "name": event.principal}} if event.principal else {}),
            "app_name": data.get("client_name") or "unknown",
        },
        "api": {
            "operation": method or "unknown",
            "service": {"name": data.get("upstream") or "hub"},
            "request": {"uid": event.correlation_id or event.id},
        },
        "resources": [{"name": data["target"]}] if data.get("target") else [],
        "src_endpoint": {"name": str(data.get("transport") or "unknown")},
        **({"duration": round(data["duration_ms"])} if data.get("duration_ms") is not None else {}),
    }


def _outcome(data: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, str]]:
    outcome = str(data.get("outcome") or "accepted")
    if outcome == "ok":
        return {"status_id": 1, "status": "Success", "status_code": outcome}, _INFORMATIONAL
    told = {"status_id": 2, "status": "Failure", "status_code": outcome}
    if data.get("reason"):
        told["status_detail"] = data["reason"]
    if outcome in ("accepted", "input_required", "cancelled"):
        return {**told, "status_id": _OTHER, "status": outcome}, _INFORMATIONAL
    return told, _MEDIUM if outcome == "error:internal" else _LOW


def _scan_activity(event: Event, happened: str) -> dict[str, Any]:
    number, name = _SCAN_ACTIVITIES.get(happened, (_OTHER, happened or "other"))
    body = _body(event, 6007, "Scan Activity", number, name, _INFORMATIONAL)
    scan = {"type_id": 1, "type": "Manual", "uid": event.stream.partition("/")[2], "name": event.type}
    actor = {"actor": {"user": {"uid": event.principal, "name": event.principal}}} if event.principal else {}
    return {**body, **actor, "scan": scan}


def _body(
    event: Event, class_uid: int, class_name: str, activity_id: int, activity: str, severity: tuple[int, str]
) -> dict[str, Any]:
    """Return what every class requires."""
    caption = "Other" if activity_id == _OTHER else activity
    return {
        **_CATEGORY,
        "class_uid": class_uid,
        "class_name": class_name,
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": class_uid * 100 + activity_id,
        "type_name": f"{class_name}: {caption}",
        "severity_id": severity[0],
        "severity": severity[1],
        "time": int(event.time.timestamp() * 1000),
        "metadata": {
            "version": OCSF_VERSION,
            "product": _PRODUCT,
            "uid": event.id,
            "event_code": event.type,
            "log_name": event.stream,
            "sequence": event.version,
            **({"correlation_uid": event.correlation_id} if event.correlation_id else {}),
        },
        "unmapped": {"position": event.position, "data": dict(event.data)},
    }
