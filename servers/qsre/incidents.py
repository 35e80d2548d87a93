"""Puts what is offered about incidents together."""

from collections.abc import Sequence
from typing import Any

from mcp.server.mcpserver import MCPServer

from quantum_suite.servers.module import Hook, Services
from quantum_suite.servers.qsre.hooks import incident_hooks
from quantum_suite.servers.qsre.incident_resources import add_incident_resources
from quantum_suite.servers.qsre.incident_tools import add_incident_tools
from quantum_suite.servers.qsre.runbook_tools import add_runbook_tools
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.tools.qsre.diagnose_incident import Diagnoser
from quantum_suite.tools.qsre.manage_incident import IncidentKeeper
from quantum_suite.tools.qsre.run_runbook import RunbookRunner


def add_incidents(server: MCPServer[Any], services: Services, sources: MetricSources) -> Sequence[Hook]:
    """Register tools and resources on `server`, and return what the hub serves beside it."""
    incidents = Incidents(services.events)
    diagnoser = Diagnoser(incidents, sources, services.events, services.workspaces, services.capacity)
    add_incident_tools(server, incidents, IncidentKeeper(incidents), diagnoser)
    add_incident_resources(server, incidents)
    if services.composites is not None and services.open_workflows is not None:
        runner = RunbookRunner(incidents, services.workspaces, services.composites, services.open_workflows)
        add_runbook_tools(server, runner)
    return incident_hooks(incidents, services.events)
