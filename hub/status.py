"""What the hub says of an upstream: to people, to `/readyz`, and as a resource."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["starting", "healthy", "degraded", "disabled"]


class ConfigStatus(BaseModel):
    """How the configuration file stands."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(description="The file that is watched.")
    problem: str | None = Field(default=None, description="Why the file as it stands is not in force.")


class UpstreamStatus(BaseModel):
    """One upstream as it stands now."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Its name in mcp.json, or of its entry point.")
    transport: Literal["inprocess", "stdio", "http"] = Field(description="How it is reached.")
    source: str = Field(description="What declared it: the configuration file, or an entry point.")
    state: State = Field(description="starting, healthy, degraded (see problem) or disabled.")
    problem: str | None = Field(default=None, description="Why it is not healthy, and what to do.")
    server: str | None = Field(default=None, description="What the server calls itself, with its version.")
    protocol_version: str | None = Field(default=None, description="The revision spoken with it.")
    tools: int = Field(default=0, description="Tools it offers now.")
    prompts: int = Field(default=0, description="Prompts it offers now.")
    resources: int = Field(default=0, description="Resources and templates it offers now.")
    refused_names: tuple[str, ...] = Field(
        default=(), description="Names left out because another upstream already has them."
    )
    in_flight: int = Field(default=0, description="Calls it is answering now.")
