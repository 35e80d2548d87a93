"""Opens an incident for what a watch finds, and adds what it finds next."""

from datetime import UTC, datetime

from quantum_suite.core.anomaly_events import AnomalyDetected
from quantum_suite.core.events import Event, EventFilter
from quantum_suite.core.incident_events import SignalSeen
from quantum_suite.services.incidents.incidents import Incidents, Report
from quantum_suite.services.incidents.interface import MAX_TITLE


class AnomalyIncidents:
    """A consumer of anomalies: the open incident of a watch takes them in, else one is opened."""

    name = "incidents-of-anomalies"
    where = EventFilter(types=frozenset({AnomalyDetected.event_type}))

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    async def handle(self, event: Event) -> None:
        """Take one anomaly in; a second time it changes nothing."""
        found = AnomalyDetected.model_validate(dict(event.data))
        at = datetime.fromtimestamp(found.at, UTC)
        reasons = "; ".join(found.reasons[:3])
        signal = SignalSeen(
            incident="",
            signal=event.id,
            state="firing",
            name=f"Anomaly in {found.name}"[:MAX_TITLE],
            summary=f"{found.series}: {found.value:.4g}, usually {found.expected_low:.4g} to "
            f"{found.expected_high:.4g}. {reasons}"[:500],
            labels={"watch": found.watch, "source": found.source},
            at=at.isoformat(),
        )
        report = Report(
            group=f"watch:{found.watch}",
            title=f"{found.name} is unusual"[:MAX_TITLE],
            severity="medium",
            origin="anomaly",
            began_at=datetime.fromtimestamp(found.since, UTC),
            service="",
            signals=[signal],
        )
        await self._incidents.report(report, principal=event.principal or "", correlation=event.correlation_id)
