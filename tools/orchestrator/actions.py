"""The actions that definitions can use."""

from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.workflows.composite.actions import Action
from quantum_suite.tools.orchestrator.compare_postures import compare_postures
from quantum_suite.tools.orchestrator.note_incident import note_incident
from quantum_suite.tools.orchestrator.record_posture import record_posture
from quantum_suite.tools.orchestrator.triage_findings import TRIAGE_FINDINGS
from quantum_suite.tools.orchestrator.write_change_evidence import write_change_evidence
from quantum_suite.tools.orchestrator.write_change_report import write_change_report


def standard_actions(events: EventStore, objects: ObjectStore) -> tuple[Action, ...]:
    """Return every action that comes with the suite."""
    return (
        TRIAGE_FINDINGS,
        write_change_report(objects),
        write_change_evidence(objects),
        compare_postures(events, objects),
        record_posture(events, objects),
        note_incident(events),
    )
