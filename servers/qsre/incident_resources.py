"""The resources of incidents."""

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import MCPServer

from quantum_suite.resources.qsre.incidents import incident_page, post_mortem_page, timeline_page
from quantum_suite.servers.callers import resource_errors
from quantum_suite.services.incidents.incidents import Incidents
from quantum_suite.services.incidents.interface import Incident

INCIDENT_TEMPLATE = "quantum://qsre/incidents/{incident}"
MARKDOWN = "text/markdown"


def add_incident_resources(server: MCPServer[Any], incidents: Incidents) -> None:
    """Register the resource templates on `server`. Who may read the server may read every incident."""

    def page(template: str, name: str, title: str, description: str, render: Callable[[Incident], str]) -> None:
        @server.resource(template, name=name, title=title, description=description, mime_type=MARKDOWN)
        async def read(incident: str) -> str:
            with resource_errors():
                return render(await incidents.get(incident))

    page(INCIDENT_TEMPLATE, "incident", "An incident", "How it stands now.", incident_page)
    page(
        f"{INCIDENT_TEMPLATE}/timeline",
        "incident_timeline",
        "Timeline of an incident",
        "Everything that happened, in order.",
        timeline_page,
    )
    page(
        f"{INCIDENT_TEMPLATE}/post-mortem",
        "incident_post_mortem",
        "Post-mortem of an incident",
        "Facts, cause, hypotheses, actions and timeline; what people have to add is marked.",
        post_mortem_page,
    )
