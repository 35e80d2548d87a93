"""Who is there, by transport and key."""

import pytest

from quantum_suite.core.errors import Unauthenticated, Unavailable
from quantum_suite.core.principals import LOCAL
from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.access.keys import KeyRecord
from quantum_suite.hub.access.memory_keys import MemoryKeyStore
from quantum_suite.hub.call import Credentials

pytestmark = pytest.mark.anyio


def authenticator(store: MemoryKeyStore | None = None, *, trust_local: bool = True) -> Authenticator:
    return Authenticator(KeyVerifier(store or MemoryKeyStore()), trust_local=trust_local)


@pytest.mark.parametrize("transport", ["stdio", "inprocess"])
async def test_who_runs_the_hub_is_local_whatever_the_settings_say_of_http(transport: str) -> None:
    credentials = Credentials(transport, loopback=True)  # type: ignore[arg-type]  # one of the literals
    assert await authenticator(trust_local=False).authenticate(credentials) is LOCAL


async def test_http_from_this_machine_is_local_where_that_is_trusted() -> None:
    assert await authenticator().authenticate(Credentials("http", loopback=True)) is LOCAL


@pytest.mark.parametrize(("loopback", "trust_local"), [(True, False), (False, True), (False, False)])
async def test_http_without_a_key_is_refused_elsewhere(loopback: bool, trust_local: bool) -> None:
    with pytest.raises(Unauthenticated, match="quantum keys create"):
        await authenticator(trust_local=trust_local).authenticate(Credentials("http", loopback=loopback))


async def test_a_key_says_who_calls_also_from_this_machine() -> None:
    store = MemoryKeyStore()
    made, token = store.create("ci", ["viewer"])
    for loopback in (True, False):
        caller = await authenticator(store).authenticate(Credentials("http", loopback, token))
        assert caller == made.principal


@pytest.mark.parametrize("bearer", ["", "x", "qs_000000000000_" + "A" * 43])
async def test_a_wrong_key_is_never_downgraded_to_local_trust(bearer: str) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        await authenticator().authenticate(Credentials("http", loopback=True, bearer=bearer))


async def test_keys_out_of_reach_let_nobody_in() -> None:
    class LostStore(MemoryKeyStore):
        def find(self, token: str) -> KeyRecord | None:
            raise Unavailable("The keys are out of reach.")

    with pytest.raises(Unavailable):
        await authenticator(LostStore()).authenticate(Credentials("http", loopback=True, bearer="x"))
