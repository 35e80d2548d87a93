"""The tools that somebody may call now, for checking what workflows are to call."""

from collections.abc import Callable, Mapping

from quantum_suite.core.principals import Principal
from quantum_suite.hub.catalogue import Catalogue, Entry
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.record import principal_of
from quantum_suite.services.workflows.interface import Owner
from quantum_suite.services.workflows.tool_catalogue import ToolOffer


class HubToolCatalogue:
    """`ToolCatalogue` over what the hub lists."""

    def __init__(self, catalogue: Callable[[], Catalogue], sees: Callable[[Principal, Target], bool]) -> None:
        self._catalogue = catalogue
        self._sees = sees

    async def offers(self, owner: Owner) -> Mapping[str, ToolOffer]:
        """Return the tools that `owner` would be listed."""
        principal = principal_of(owner)
        tools = self._catalogue().tools
        return {
            name: _offer(name, entry)
            for name, entry in tools.items()
            if entry.present and self._sees(principal, entry.target)
        }


def _offer(name: str, entry: Entry) -> ToolOffer:
    shown = entry.shown
    annotations = shown.get("annotations") or {}
    read_only = annotations.get("readOnlyHint") is True
    return ToolOffer(
        name=name,
        input_schema=shown.get("inputSchema") or {},
        output_schema=shown.get("outputSchema"),
        destructive=not read_only and annotations.get("destructiveHint") is not False,
        read_only=read_only,
    )
