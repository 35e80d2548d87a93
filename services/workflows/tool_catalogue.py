"""The port through which workflows learn which tools there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from quantum_suite.services.workflows.interface import Json, Owner


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """A tool as it is listed: what a definition that calls it is checked against."""

    name: str
    """The public name."""
    input_schema: Mapping[str, Json]
    output_schema: Mapping[str, Json] | None = None
    destructive: bool = False
    """Whether it may destroy or overwrite something (absent hints count as the protocol says: it may)."""
    read_only: bool = False
    """Whether it says of itself that it changes nothing."""


class ToolCatalogue(Protocol):
    """Knows the tools that somebody may call now."""

    async def offers(self, owner: Owner) -> Mapping[str, ToolOffer]:
        """Return them by public name."""
        ...
