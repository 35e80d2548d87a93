"""What programs post: alerts by Alertmanager, and changes by whatever deploys."""

import time
from collections.abc import Mapping
from typing import Any

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import Principal
from quantum_suite.servers.module import Hook
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.incidents.alertmanager_webhook import read_report
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.incidents.system_changes import read_change, tell_change

ALERTMANAGER = "alertmanager"
CHANGES = "changes"


def incident_hooks(incidents: Incidents, events: EventStore) -> tuple[Hook, ...]:
    """Return the hooks: `/hooks/qsre/alertmanager` and `/hooks/qsre/changes`."""

    async def alerts(body: Any, principal: Principal, call: str) -> Mapping[str, Any]:
        incident, opened = await incidents.report(read_report(body), principal=principal.id, correlation=call)
        if incident is None:
            return {"incident": None, "opened": False}
        return {"incident": incident.id, "opened": opened, "entries": incident.version}

    async def changes(body: Any, principal: Principal, call: str) -> Mapping[str, Any]:
        if not isinstance(body, dict):
            raise CallerError("The body is no object.", "Post {what, service, at, by}.", argument="body")
        change = read_change(body, time.time())
        await tell_change(events, change, principal=principal.id, correlation=call)
        return {"taken": True, "at": change.at}

    return Hook(ALERTMANAGER, alerts), Hook(CHANGES, changes)
