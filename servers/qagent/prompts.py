"""The prompts: leads through a feature or a fix, from the shipped templates."""

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import Field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.prompts.interface import PromptLibrary


def add_prompts(server: MCPServer[Any], prompts: PromptLibrary) -> None:
    """Register the prompts on `server`."""
    feature, bug = prompts.get("implement_feature"), prompts.get("fix_bug")

    @server.prompt(name=feature.name, title=feature.title, description=feature.description)
    async def implement_feature(
        goal: Annotated[str, Field(description="What shall be true afterwards.")],
        workspace: Annotated[str, Field(description="The project's folder.")] = ".",
    ) -> str:
        return _filled(prompts, feature.name, {"goal": goal, "workspace": workspace})

    @server.prompt(name=bug.name, title=bug.title, description=bug.description)
    async def fix_bug(
        report: Annotated[str, Field(description="What happens, what should happen, and how to see it.")],
        workspace: Annotated[str, Field(description="The project's folder.")] = ".",
    ) -> str:
        return _filled(prompts, bug.name, {"report": report, "workspace": workspace})


def _filled(prompts: PromptLibrary, name: str, values: dict[str, str]) -> str:
    try:
        return prompts.render(name, values).text
    except CallerError as error:
        raise MCPError(INVALID_PARAMS, str(error)) from error
