"""Engines: the outside programs that capabilities run on."""

from pydantic import BaseModel, ConfigDict, Field


class EngineStatus(BaseModel):
    """Whether an engine can be used here, and if not, how to get it."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="The engine's own name, e.g. trivy.")
    provides: str = Field(description="What it is needed for, in a few words.")
    available: bool = Field(description="Whether it was found and may be used.")
    version: str | None = Field(default=None, description="Its version, where it was found.")
    location: str | None = Field(default=None, description="Where it was found.")
    problem: str | None = Field(default=None, description="Why it cannot be used.")
    install_command: str | None = Field(default=None, description="The command that installs it, if missing.")
