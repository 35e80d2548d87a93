"""Who somebody is now, for work that was begun in their name and goes on without them."""

from collections.abc import Iterable
from pathlib import PurePath

import anyio.to_thread

from quantum_suite.core.errors import Unauthenticated
from quantum_suite.core.principals import LOCAL, Principal, Role
from quantum_suite.hub.access.keys import KeyStore

_KEY = "key:"
_RANK = {role: rank for rank, role in enumerate(Role)}


class Owners:
    """Looks principals up anew: what was taken from them since, their work has lost too."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    async def current(self, known: Principal) -> Principal:
        """Return the principal with the rights it had when it was `known` and still has.

        Raises Unauthenticated when its key was revoked or has expired, and Unavailable when keys cannot be looked
        up now. A key that took the name of a revoked one stands for the same principal.
        """
        return _lesser(known, await self.now(known.id))

    async def now(self, principal_id: str) -> Principal:
        """Return a principal with all the rights it has now; raises as `current` does."""
        if principal_id == LOCAL.id:
            return LOCAL
        if principal_id.startswith(_KEY):
            name = principal_id.removeprefix(_KEY)
            records = await anyio.to_thread.run_sync(self._keys.list)
            for record in records:
                if record.name == name and record.active:
                    return record.principal
        raise Unauthenticated(
            f"{principal_id} may do nothing here any more: its key was revoked or has expired.",
            "`quantum keys list` shows the keys.",
        )


def _lesser(then: Principal, now: Principal) -> Principal:
    return Principal(now.id, _both(then.roles, now.roles), _shared(then.workspaces, now.workspaces))


def _both(then: Iterable[Role], now: Iterable[Role]) -> frozenset[Role]:
    """The lesser of the highest roles: each includes the ones before it."""
    rank = min(max((_RANK[role] for role in roles), default=-1) for roles in (then, now))
    return frozenset(role for role in Role if _RANK[role] == rank)


def _shared(then: tuple[str, ...] | None, now: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if then is None or now is None:
        return now if then is None else then
    inside = [one for one in then if any(PurePath(one).is_relative_to(other) for other in now)]
    inside += [one for one in now if any(PurePath(one).is_relative_to(other) for other in then)]
    return tuple(dict.fromkeys(inside))
