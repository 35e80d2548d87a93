"""Puts what is offered about incidents together."""

from collections.abc import Sequence
from typing import Any

from mcp.server.mcpserver import MCPServer

from quantum_suite.servers.module import Hook, Services
from quantum_suite.servers.qsre.hooks import incident_hooks
from quantum_suite.servers.qsre.incident_resources import add_incident_resources
from quantum_suite.servers.qsre.incident_tools import add_incident_tools
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.tools.qsre.diagnose_incident import Diagnoser
from quantum_suite.tools.qsre.manage_incident import IncidentKeeper


def add_incidents(server: MCPServer[Any], services: Services, sources: MetricSources) -> Sequence[Hook]:
    """Register tools and resources on `server`, and return what the hub serves beside it."""
    incidents = Incidents(services.events)
    diagnoser = Diagnoser(incidents, sources, services.events, services.workspaces, services.capacity)
    add_incident_tools(server, incidents, IncidentKeeper(incidents), diagnoser)
    add_incident_resources(server, incidents)
    return incident_hooks(incidents, services.events)
