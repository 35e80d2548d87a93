"""What programs that do not speak MCP may post to the suite's modules: `POST /hooks/<module>/<hook>`, in JSON.

The caller is authenticated as everywhere (a bearer key; who is at this machine where that is trusted), needs the
hook's role, and is held to the same budget of calls.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import orjson

from quantum_suite.core.errors import (
    CallerError,
    Conflict,
    RateLimited,
    Refused,
    SuiteError,
    Unauthenticated,
    Unavailable,
)
from quantum_suite.core.ids import new_id
from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.call import Credentials
from quantum_suite.hub.settings import Limits
from quantum_suite.servers.module import Hook
from quantum_suite.services.limits.interface import Budget, RateLimiter

logger = logging.getLogger(__name__)

PREFIX = "/hooks/"

_RANKS = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
Answer = tuple[int, bytes, float | None]
"""Status, JSON, and the seconds after which the caller may try again."""


class Hooks:
    """Finds a module's hook, and answers posts to it. Nothing of a request is read before its sender is known."""

    def __init__(
        self,
        find: Callable[[str, str], Hook | None],
        authenticate: Callable[[Credentials], Awaitable[Principal]],
        limiter: RateLimiter,
        limits: Limits,
    ) -> None:
        """`find` takes a module's and a hook's name."""
        self._find = find
        self._authenticate = authenticate
        self._limiter = limiter
        self._budget = Budget(per_minute=limits.calls_per_minute, burst=max(1.0, limits.calls_per_minute / 6))
        self._deadline_seconds = limits.call_deadline_seconds

    async def answer(self, path: str, credentials: Credentials, read: Callable[[], Awaitable[Any]]) -> Answer:
        """Answer a post. `read` returns its body as JSON, within bounds; what it raises is passed on.

        5xx and 429 say that sending it again may help; every other failure is the sender's to mend.
        """
        call_id = new_id("call")
        try:
            principal = await self._authenticate(credentials)
            hook = self._find(*_names(path))
            if hook is None:
                return _failure(404, "not_found", f"There is no hook {path[:200]}.")
            await self._admit(principal, hook, path)
            with anyio.fail_after(self._deadline_seconds):
                return await _taken(hook, await read(), principal, call_id)
        except SuiteError as error:
            logger.warning("A post to %s was not taken: %s", path[:200], error)
            after = error.retry_after_seconds if isinstance(error, RateLimited) else None
            return (*_failure(_status(error), error.code, str(error))[:2], after)
        except TimeoutError:
            return _failure(503, "unavailable", "It took too long.")

    async def _admit(self, principal: Principal, hook: Hook, path: str) -> None:
        if max((_RANKS[role] for role in principal.roles), default=-1) < _RANKS[hook.role]:
            raise Refused(f"{principal.id} may not post to {path[:200]}.", f"It takes the role {hook.role.value}.")
        if wait := await self._limiter.take(f"calls:{principal.id}", self._budget):
            raise RateLimited(
                f"{principal.id} has spent its calls.",
                f"Try again in {wait:.1f} seconds.",
                retry_after_seconds=round(wait, 3),
            )


async def _taken(hook: Hook, body: Any, principal: Principal, call_id: str) -> Answer:
    try:
        return 200, orjson.dumps(await hook.take(body, principal, call_id)), None
    except SuiteError:
        raise
    except Exception:
        # Outside the tree of errors: a bug, whose traceback is for the log alone.
        logger.exception("the hook %s failed", hook.name, extra={"call_id": call_id})
        return _failure(500, "internal_error", f"Something went wrong here; the log has it under {call_id}.")


def _names(path: str) -> tuple[str, str]:
    module, _, hook = path.removeprefix(PREFIX).partition("/")
    return module, hook


def _status(error: SuiteError) -> int:
    match error:
        case Unauthenticated():
            return 401
        case RateLimited():
            return 429
        case Refused():
            return 403
        case Conflict() | Unavailable():
            return 503
        case CallerError():
            return 400
        case _:
            return 500


def _failure(status: int, code: str, message: str) -> Answer:
    return status, orjson.dumps({"error": code, "message": message}), None
