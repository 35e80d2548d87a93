"""Who wants to hear of changes, and telling them.

A listener is one `subscriptions/listen` request (modern era) or one session (handshake era). What happens is
coalesced per listener until it is sent: a slow listener costs a bounded set, never a growing queue, and still
learns of everything that changed.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio

from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import Json

ListKind = Literal["tools", "prompts", "resources"]

LIST_KINDS: tuple[ListKind, ...] = ("tools", "prompts", "resources")
MAX_URIS = 1_000
MAX_URI_LENGTH = 4_096
MAX_URIS_TOGETHER = 5_000
"""Resources one principal follows at once, all its listeners together."""
_MAX_PENDING = 2 * MAX_URIS


@dataclass(slots=True, eq=False)
class Listener:
    """One party that asked to be told.

    `kinds` are the lists it follows, `uris` the resources. `deliver` sends one notification and may take its time.
    """

    principal: Principal
    kinds: frozenset[ListKind]
    uris: set[str]
    deliver: Callable[[str, Json], Awaitable[None]]
    _pending: dict[str, tuple[str, Json]] = field(default_factory=dict, init=False)
    _wake: anyio.Event = field(default_factory=anyio.Event, init=False)

    def note(self, key: str, method: str, params: Json) -> None:
        """Remember to send this; a second note under the same key before it is sent is the same news."""
        self._pending.setdefault(key, (method, params))
        self._wake.set()

    def note_updated(self, uri: str) -> None:
        """Remember to say that a resource changed, if it is followed, or part of one that is.

        There may be any number of parts; when many wait to be told of, the followed resource stands for them.
        """
        if uri not in self.uris:
            parent = next((one for one in self.uris if uri.startswith(one.rstrip("/") + "/")), None)
            if parent is None:
                return
            uri = uri if len(self._pending) < _MAX_PENDING else parent
        self.note(f"resource {uri}", "notifications/resources/updated", {"uri": uri})

    async def run(self) -> None:
        """Send what is noted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            pending, self._pending = self._pending, {}
            for method, params in pending.values():
                await self.deliver(method, params)


class Subscriptions:
    """All listeners of this hub."""

    def __init__(self, on_interest: Callable[[], None]) -> None:
        """`on_interest` is called when the set of followed resources may have changed."""
        self._listeners: set[Listener] = set()
        self._on_interest = on_interest

    @contextmanager
    def add(self, listener: Listener) -> Iterator[None]:
        """Keep `listener` registered while the context is open."""
        self._listeners.add(listener)
        self._on_interest()
        try:
            yield
        finally:
            self._listeners.discard(listener)
            self._on_interest()

    def has_room(self, principal_id: str, uris: int) -> bool:
        """Whether a principal may follow `uris` resources more."""
        followed = sum(len(one.uris) for one in self._listeners if one.principal.id == principal_id)
        return followed + uris <= MAX_URIS_TOGETHER

    def interest_changed(self) -> None:
        """Say that some listener's `uris` were changed in place."""
        self._on_interest()

    def followed(self) -> dict[str, set[str]]:
        """Return each followed URI with the ids of the principals that follow it."""
        followers: dict[str, set[str]] = {}
        for listener in self._listeners:
            for uri in listener.uris:
                followers.setdefault(uri, set()).add(listener.principal.id)
        return followers

    def list_changed(self, kind: ListKind) -> None:
        """Tell everybody who follows the list."""
        for listener in self._listeners:
            if kind in listener.kinds:
                listener.note(f"list {kind}", f"notifications/{kind}/list_changed", {})

    def all_lists_changed(self) -> None:
        """Tell everybody who follows a list: who may see what changed."""
        for kind in LIST_KINDS:
            self.list_changed(kind)

    def resource_updated(self, uri: str, identity: str | None) -> None:
        """Tell who follows the resource, or one it is part of (MCP 2025-11-25, resources, "Subscriptions").

        `identity` restricts it to one principal: the news came over that principal's own link.
        """
        for listener in self._listeners:
            if identity is None or listener.principal.id == identity:
                listener.note_updated(uri)
