"""How long tasks live and work."""

from pydantic import BaseModel, ConfigDict, Field


class TaskPolicy(BaseModel):
    """Bounds on tasks."""

    model_config = ConfigDict(frozen=True)

    deadline_seconds: float = Field(default=6 * 3600, gt=0, description="The longest a task may work.")
    ttl_seconds: float = Field(
        default=24 * 3600, gt=0, description="How long a task can be asked for, from its creation."
    )
    longest_ttl_seconds: float = Field(default=7 * 24 * 3600, gt=0, description="The most a client may ask for.")
    most_per_principal: int = Field(
        default=100, ge=1, description="Tasks of one principal at work in one process at once."
    )
    watch_seconds: float = Field(
        default=0.5, gt=0, description="How often tasks are looked at on behalf of those who listen."
    )
