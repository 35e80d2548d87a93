"""Who is calling."""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a principal is trusted with; each role includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    `id` is stable and safe to log (`local` for the person at this machine, `key:<name>` for an API key).
    `workspaces` are the directories this principal may have tools look at, as absolute paths; None means the
    suite's configured default applies.
    """

    id: str
    roles: frozenset[Role] = field(default_factory=frozenset)
    workspaces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """What a tool may know of the call it serves: who asked, and the id that ties logs, audit and result."""

    principal: Principal
    call_id: str
    run: str | None = None
    """The workflow run that made the call; None for calls of clients."""


LOCAL = Principal(id="local", roles=frozenset({Role.ADMIN}))
"""The person at this machine: stdio, and loopback HTTP where the settings trust it."""
