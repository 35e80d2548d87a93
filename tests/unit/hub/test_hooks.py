"""Hooks: who is let in, and what each failure says to the sender."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from quantum_suite.core.errors import CallerError, Conflict, Damaged, SuiteError, Unauthenticated, Unavailable
from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.call import Credentials
from quantum_suite.hub.hooks import Hooks
from quantum_suite.hub.settings import Limits
from quantum_suite.servers.module import Hook
from quantum_suite.services.limits.memory import MemoryRateLimiter

pytestmark = pytest.mark.anyio

NOBODY = Credentials(transport="http", loopback=False)


def hooks(error: Exception | None = None, *roles: Role, calls_per_minute: int = 600) -> Hooks:
    async def take(body: Any, principal: Principal, call: str) -> Mapping[str, Any]:
        if error is not None:
            raise error
        return {"body": body, "by": principal.id, "call": call[:5]}

    async def authenticate(_: Credentials) -> Principal:
        if not roles:
            raise Unauthenticated("Who is there?")
        return Principal("key:a", frozenset(roles))

    def find(module: str, name: str) -> Hook | None:
        return Hook("take", take) if (module, name) == ("m", "take") else None

    return Hooks(find, authenticate, MemoryRateLimiter(), Limits(calls_per_minute=calls_per_minute))


async def body() -> Any:
    return {"a": 1}


async def unread() -> Any:
    raise AssertionError("nothing is read of who is not let in")


async def test_what_is_taken_gets_body_caller_and_call() -> None:
    status, said, _ = await hooks(None, Role.ADMIN).answer("/hooks/m/take", NOBODY, body)
    assert (status, orjson.loads(said)) == (200, {"body": {"a": 1}, "by": "key:a", "call": "call_"})


@pytest.mark.parametrize(("roles", "status"), [((), 401), ((Role.VIEWER,), 403)])
async def test_nothing_is_read_of_who_may_not_post(roles: tuple[Role, ...], status: int) -> None:
    assert (await hooks(None, *roles).answer("/hooks/m/take", NOBODY, unread))[0] == status


@pytest.mark.parametrize("path", ["/hooks/m/other", "/hooks/n/take", "/hooks/", "/hooks/m/take/more"])
async def test_what_is_not_there_is_not_found(path: str) -> None:
    assert (await hooks(None, Role.OPERATOR).answer(path, NOBODY, unread))[0] == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CallerError("wrong"), 400),
        (Conflict("too fast"), 503),
        (Unavailable("away"), 503),
        (Damaged("broken"), 500),
        (KeyError("a bug"), 500),
    ],
)
async def test_failures_say_whether_sending_again_may_help(error: Exception, status: int) -> None:
    found, said, _ = await hooks(error, Role.OPERATOR).answer("/hooks/m/take", NOBODY, body)
    assert found == status
    assert isinstance(error, SuiteError) is (orjson.loads(said)["message"] == str(error))


async def test_who_has_spent_their_calls_is_told_when_to_come_back() -> None:
    posting = hooks(None, Role.OPERATOR, calls_per_minute=6)
    assert (await posting.answer("/hooks/m/take", NOBODY, body))[0] == 200
    status, _, after = await posting.answer("/hooks/m/take", NOBODY, unread)
    assert status == 429
    assert after is not None
    assert after > 1
