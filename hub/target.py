"""What a name in a call stands for."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["tool", "prompt", "resource"]

LongRunning = Literal["no", "optional", "required"]
"""Whether a tool runs as a task where the client takes one; `required`: it never runs otherwise."""


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of the catalogue, as the stages and the router need it.

    `name` is the public name (`qsecure_scan_repository`, or a resource's URI), `upstream_name` the owner's own.
    """

    kind: Kind
    name: str
    upstream: str
    upstream_name: str
    read_only: bool = False
    """The owner says the tool changes nothing. True for prompts and resources."""
    destructive: bool = False
    """The owner says the tool may destroy or overwrite something."""
    idempotent: bool = False
    """The owner says repeating the call with the same arguments changes nothing more."""
    input_schema: dict[str, Any] | None = None
    mirrors_params: bool = False
    """Whether the input schema marks parameters that HTTP requests repeat in headers (`x-mcp-header`)."""
    long_running: LongRunning = "no"
    asks_first: bool = False
    """Whether a long-running tool asks what it needs to know before it begins its work."""
    takes_idempotency_key: bool = False
    """Whether the tool does nothing twice for one `quantum/idempotencyKey`."""
    task_support: Literal["optional", "required"] | None = None
    """Whether a server of 2025-11-25 takes the call as a task of its own (`execution.taskSupport`)."""

    @property
    def repeatable(self) -> bool:
        """Whether the call may be made again where nobody knows if it took effect."""
        return self.read_only or self.idempotent
