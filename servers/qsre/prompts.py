"""The prompt that starts an investigation."""

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import Field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.prompts.interface import PromptLibrary


def add_prompts(server: MCPServer[Any], prompts: PromptLibrary, sources: MetricSources) -> None:
    """Register the prompts on `server`."""

    @server.prompt(
        name="investigate_alert",
        title="Investigate an alert",
        description="Go from an alert to what is wrong, with the queries that show it.",
    )
    def investigate_alert(
        alert: Annotated[str, Field(description="The alert's name, or its name with labels.")],
        source: Annotated[str, Field(description="The source of metrics; may be empty where there is one.")] = "",
    ) -> str:
        try:
            named = sources.get(source or None).name
            return prompts.render("investigate_alert", {"alert": alert, "source": named}).text
        except CallerError as error:
            raise MCPError(INVALID_PARAMS, f"{error.argument}: {error}") from error
