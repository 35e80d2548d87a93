"""The prompts that lead an assistant through gaps and surviving mutants."""

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import Field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.prompts.interface import PromptLibrary


def add_prompts(server: MCPServer[Any], prompts: PromptLibrary) -> None:
    """Register the prompts on `server`."""

    @server.prompt(
        name="raise_coverage",
        title="Raise coverage where it matters",
        description="Go through a test suite's riskiest gaps, write tests, keep the ones that show something.",
    )
    def raise_coverage(
        target: Annotated[str, Field(description="Path of the project, or of a package in it.")],
        most_rounds: Annotated[str, Field(description="Most rounds of writing and submitting, 1 to 20.")] = "5",
    ) -> str:
        if not most_rounds.isascii() or not most_rounds.isdigit():
            raise MCPError(INVALID_PARAMS, f"most_rounds: '{most_rounds[:20]}' is no number.")
        return _rendered(prompts, "raise_coverage", target=target, most_rounds=int(most_rounds[:9]))

    @server.prompt(
        name="kill_survivors",
        title="Kill surviving mutants",
        description="Go from mutants that survived to tests that notice them.",
    )
    def kill_survivors(
        target: Annotated[str, Field(description="Path of the project, or of a package in it.")],
    ) -> str:
        return _rendered(prompts, "kill_survivors", target=target)


def _rendered(prompts: PromptLibrary, name: str, **values: object) -> str:
    try:
        return prompts.render(name, values).text
    except CallerError as error:
        raise MCPError(INVALID_PARAMS, f"{error.argument}: {error}") from error
