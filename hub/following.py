"""Clients following changes: `subscriptions/listen`, `resources/subscribe`, and a session's standalone stream."""

from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import (
    INVALID_PARAMS,
    LEGACY_RESOURCE_NOT_FOUND,
    META_SUBSCRIPTION_ID,
    Call,
    Json,
    RpcError,
    Session,
)
from quantum_suite.hub.envelope import HUB_META
from quantum_suite.hub.subscriptions import LIST_KINDS, MAX_URIS, Listener, ListKind, Subscriptions

Readable = Callable[[Principal, str], bool]
"""Whether a resource of this URI exists for the principal."""


class Following:
    """Ties clients to `Subscriptions` for as long as they follow."""

    def __init__(self, subscriptions: Subscriptions, readable: Readable, tasks: TaskGroup) -> None:
        self._subscriptions = subscriptions
        self._readable = readable
        self._tasks = tasks
        self._sessions: dict[str, tuple[Listener, anyio.CancelScope]] = {}
        self._ended = anyio.Event()

    def end(self) -> None:
        """End every `subscriptions/listen` gracefully: each gets its result."""
        self._ended.set()

    # -- modern -----------------------------------------------------------------------------------------------

    async def listen(self, call: Call) -> Json:
        """Answer `subscriptions/listen`: acknowledge, then tell what changes, until either side ends it."""
        kinds, uris = self._filter(call)
        tag = {META_SUBSCRIPTION_ID: call.request_id}

        async def deliver(method: str, params: Json) -> None:
            await call.peer.notify(method, {**params, "_meta": tag})

        agreed: Json = {f"{kind}ListChanged": True for kind in LIST_KINDS if kind in kinds}
        if uris:
            agreed["resourceSubscriptions"] = sorted(uris)
        listener = Listener(_of(call), kinds, uris, deliver)
        await deliver("notifications/subscriptions/acknowledged", {"notifications": agreed})
        with self._subscriptions.add(listener):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.run)
                await self._ended.wait()
                tasks.cancel_scope.cancel()
        return {"resultType": "complete", "_meta": {**HUB_META, **tag}}

    def _filter(self, call: Call) -> tuple[frozenset[ListKind], set[str]]:
        wanted = call.params.get("notifications")
        if not isinstance(wanted, dict):
            raise RpcError(INVALID_PARAMS, "params.notifications must be an object that says what to follow.")
        asked = wanted.get("resourceSubscriptions", [])
        if not isinstance(asked, list) or not all(isinstance(uri, str) for uri in asked):
            raise RpcError(INVALID_PARAMS, "notifications.resourceSubscriptions must be a list of URIs.")
        if len(asked) > MAX_URIS:
            raise RpcError(INVALID_PARAMS, f"At most {MAX_URIS} resources can be followed by one request.")
        kinds = frozenset(kind for kind in LIST_KINDS if wanted.get(f"{kind}ListChanged") is True)
        principal = _of(call)
        return kinds, {uri for uri in asked if self._readable(principal, uri)}

    # -- handshake --------------------------------------------------------------------------------------------

    def session_opened(self, session: Session) -> None:
        """Tell the session of list changes from now on."""
        listener = Listener(session.principal, frozenset(LIST_KINDS), session.subscriptions, session.peer.notify)
        scope = anyio.CancelScope()
        self._sessions[session.id] = (listener, scope)
        self._tasks.start_soon(self._tell, listener, scope)

    def session_closed(self, session: Session) -> None:
        """Stop telling the session."""
        kept = self._sessions.pop(session.id, None)
        if kept is not None:
            kept[1].cancel()

    async def _tell(self, listener: Listener, scope: anyio.CancelScope) -> None:
        with scope, self._subscriptions.add(listener):
            await listener.run()

    async def subscribe(self, call: Call) -> Json:
        """Answer `resources/subscribe`."""
        uri = call.params.get("uri")
        if not isinstance(uri, str) or not uri:
            raise RpcError(INVALID_PARAMS, "params.uri must be a non-empty string.")
        if not self._readable(_of(call), uri):
            raise RpcError(LEGACY_RESOURCE_NOT_FOUND, f"Resource not found: {uri}", {"uri": uri})
        if call.session is not None:
            if len(call.session.subscriptions) >= MAX_URIS:
                raise RpcError(INVALID_PARAMS, f"At most {MAX_URIS} resources can be followed by one session.")
            call.session.subscriptions.add(uri)
            self._subscriptions.interest_changed()
        return {}

    async def unsubscribe(self, call: Call) -> Json:
        """Answer `resources/unsubscribe`; a resource that was not followed is no error."""
        if call.session is not None:
            call.session.subscriptions.discard(str(call.params.get("uri")))
            self._subscriptions.interest_changed()
        return {}


def _of(call: Call) -> Principal:
    if call.principal is None:
        raise RpcError(INVALID_PARAMS, "Nobody is known to follow anything.")
    return call.principal
