"""A server's time does not run while a person thinks."""

from typing import Any

import anyio
import pytest

from quantum_suite.hub.call import NoPeer, Peer
from quantum_suite.hub.patience import within

pytestmark = pytest.mark.anyio
Json = dict[str, Any]


class SlowPerson(NoPeer):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def request(self, method: str, params: Json) -> Json:
        await anyio.sleep(self._seconds)
        return {"action": "accept"}


async def test_time_for_a_question_is_not_counted() -> None:
    async def carry(peer: Peer) -> Json:
        return await peer.request("elicitation/create", {})

    assert await within(0.05, SlowPerson(0.15), carry) == {"action": "accept"}


async def test_time_after_a_question_is_counted() -> None:
    async def carry(peer: Peer) -> Json:
        await peer.request("elicitation/create", {})
        await anyio.sleep_forever()

    with anyio.fail_after(25), pytest.raises(TimeoutError):
        await within(0.05, SlowPerson(0.1), carry)
