"""What a name in a call stands for."""

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["tool", "prompt", "resource"]


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
