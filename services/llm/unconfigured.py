"""The gateway of a suite without models: it says how to get one."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

from quantum_suite.core.errors import Refused
from quantum_suite.services.llm.interface import ModelAnswer, ModelEvent, ModelRequest
from quantum_suite.services.llm.ledger.interface import Ledger, Period, Used
from quantum_suite.services.llm.loading import HOW_TO_CONFIGURE
from quantum_suite.services.llm.standing import GatewayStanding


class UnconfiguredGateway:
    """Refuses every question."""

    configured = False

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def standing(self, principal: str) -> GatewayStanding:
        """Return that there is nothing, and how to change that."""
        return GatewayStanding(configured=False, how_to_configure=HOW_TO_CONFIGURE)

    async def used(self, per: Period, principal: str | None = None) -> list[Used]:
        """Return what was used while there were models."""
        return await self._ledger.used(per, principal)

    async def ask(self, request: ModelRequest, principal: str) -> ModelAnswer:
        """Raise Refused with what to do."""
        raise _refused()

    def stream(
        self, request: ModelRequest, principal: str
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelEvent]]:
        """Raise Refused with what to do."""
        return _Nothing()


class _Nothing(AbstractAsyncContextManager[AsyncIterator[ModelEvent]]):
    async def __aenter__(self) -> AsyncIterator[ModelEvent]:
        raise _refused()

    async def __aexit__(self, *error: object) -> None:
        """Never entered, never left."""


def _refused() -> Refused:
    return Refused("No model is configured.", HOW_TO_CONFIGURE)
