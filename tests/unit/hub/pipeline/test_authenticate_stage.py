"""The principal is known below this stage, and sessions belong to whom they were opened by."""

from collections.abc import Callable

import pytest

from quantum_suite.core.errors import Unauthenticated
from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.hub.access.authenticator import Authenticator
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.access.memory_keys import MemoryKeyStore
from quantum_suite.hub.call import SESSION_NOT_FOUND, Call, Credentials, Json, NoPeer, Session
from quantum_suite.hub.pipeline.authenticate import AuthenticateStage
from quantum_suite.hub.pipeline.errors import RefusedCall

pytestmark = pytest.mark.anyio
MakeCall = Callable[..., Call]


async def who(call: Call) -> Json:
    assert call.principal is not None
    return {"who": call.principal.id}


async def unreachable(call: Call) -> Json:
    raise AssertionError("the call went on")


def stage(store: MemoryKeyStore) -> AuthenticateStage:
    return AuthenticateStage(Authenticator(KeyVerifier(store), trust_local=True))


def session(principal: Principal) -> Session:
    return Session("s", "2025-11-25", {}, {}, principal, NoPeer())


async def test_the_principal_is_set_whatever_the_call_came_with(make_call: MakeCall) -> None:
    store = MemoryKeyStore()
    _, token = store.create("ci", ["viewer"])
    call = make_call(principal=LOCAL, credentials=Credentials("http", True, token))
    assert await stage(store)(call, who) == {"who": "key:ci"}


async def test_nobody_goes_on_without_proof(make_call: MakeCall) -> None:
    call = make_call(principal=None, credentials=Credentials("http", loopback=False))
    with pytest.raises(Unauthenticated):
        await stage(MemoryKeyStore())(call, unreachable)
    assert call.principal is None


async def test_a_session_serves_its_own_principal_and_does_not_exist_for_others(make_call: MakeCall) -> None:
    store = MemoryKeyStore()
    made, token = store.create("ci", ["viewer"])
    own = make_call(session=session(made.principal), credentials=Credentials("http", True, token))
    assert await stage(store)(own, who) == {"who": "key:ci"}
    foreign = make_call(session=session(made.principal), credentials=Credentials("http", True))
    with pytest.raises(RefusedCall) as caught:
        await stage(store)(foreign, unreachable)
    assert caught.value.code == SESSION_NOT_FOUND
