"""The time a server may take does not run while it waits for a person's answer."""

import math
from collections.abc import Awaitable, Callable

import anyio

from quantum_suite.hub.call import Json, Peer

Carry = Callable[[Peer], Awaitable[Json]]


class _PatientPeer:
    """Passes everything on, and stops the clock of `scope` while a question is open."""

    def __init__(self, peer: Peer, scope: anyio.CancelScope) -> None:
        self._peer = peer
        self._scope = scope
        self._open = 0
        self._left = 0.0

    async def notify(self, method: str, params: Json) -> None:
        await self._peer.notify(method, params)

    async def request(self, method: str, params: Json) -> Json:
        if not self._open:
            self._left = self._scope.deadline - anyio.current_time()
            self._scope.deadline = math.inf
        self._open += 1
        try:
            return await self._peer.request(method, params)
        finally:
            self._open -= 1
            if not self._open:
                self._scope.deadline = anyio.current_time() + self._left


async def within(seconds: float, peer: Peer, carry: Carry) -> Json:
    """Carry a call within `seconds`, time for questions to `peer` not counted; raises TimeoutError."""
    with anyio.fail_after(seconds) as scope:
        return await carry(_PatientPeer(peer, scope))
