"""Clients following changes: `subscriptions/listen`, `resources/subscribe`, and a session's standalone stream."""

from collections.abc import Callable

import anyio.lowlevel
from anyio.abc import TaskGroup

from quantum_suite.core.errors import RateLimited, Unauthenticated
from quantum_suite.core.principals import Principal
from quantum_suite.hub.access.revocation import Authenticate, until_refused
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
from quantum_suite.hub.subscriptions import (
    LIST_KINDS,
    MAX_URI_LENGTH,
    MAX_URIS,
    MAX_URIS_TOGETHER,
    Listener,
    ListKind,
    Subscriptions,
)
from quantum_suite.hub.tasks.news import TaskNews

_AT_ONCE = 25

Readable = Callable[[Principal, str], bool]
"""Whether a resource of this URI exists for the principal."""


class Following:
    """Ties clients to `Subscriptions` for as long as they follow."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        readable: Readable,
        tasks: TaskGroup,
        authenticate: Authenticate,
        news: TaskNews,
    ) -> None:
        """`authenticate` is asked again and again whether who listens still may; `news` knows of tasks."""
        self._news = news
        self._authenticate = authenticate
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
        """Answer `subscriptions/listen`: acknowledge, then tell what changes, until either side ends it.

        Raises Unauthenticated when the key of the one who listens is revoked or expires meanwhile.
        """
        kinds, uris = await self._filter(call)
        task_ids = await self._news.agreed(call)
        tag = {META_SUBSCRIPTION_ID: call.request_id}

        async def deliver(method: str, params: Json) -> None:
            await call.peer.notify(method, {**params, "_meta": tag})

        agreed: Json = {f"{kind}ListChanged": True for kind in LIST_KINDS if kind in kinds}
        if uris:
            agreed["resourceSubscriptions"] = sorted(uris)
        if task_ids:
            agreed["taskIds"] = task_ids
        listener = Listener(_of(call), kinds, uris, deliver)
        await deliver("notifications/subscriptions/acknowledged", {"notifications": agreed})
        refused = False

        async def end_when_refused(scope: anyio.CancelScope) -> None:
            nonlocal refused
            await until_refused(self._authenticate, call.credentials, _of(call))
            refused = True
            scope.cancel()

        with self._subscriptions.add(listener):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.run)
                tasks.start_soon(self._news.tell, _of(call), task_ids, deliver)
                tasks.start_soon(end_when_refused, tasks.cancel_scope)
                await self._ended.wait()
                tasks.cancel_scope.cancel()
        if refused:
            raise Unauthenticated("The API key is no longer valid.", "`quantum keys create` makes one.")
        return {"resultType": "complete", "_meta": {**HUB_META, **tag}}

    async def _filter(self, call: Call) -> tuple[frozenset[ListKind], set[str]]:
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
        uris: set[str] = set()
        for number, uri in enumerate(asked):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()  # a decision costs tenths of a millisecond the first time
            if len(uri) <= MAX_URI_LENGTH and self._readable(principal, uri):
                uris.add(uri)
        if uris:
            self._check_room(principal, len(uris))
        return kinds, uris

    def _check_room(self, principal: Principal, more: int) -> None:
        if not self._subscriptions.has_room(principal.id, more):
            raise RateLimited(
                f"{principal.id} would follow more than {MAX_URIS_TOGETHER} resources at once.",
                "End a subscription first.",
                retry_after_seconds=60,
            )

    # -- handshake --------------------------------------------------------------------------------------------

    def session_opened(self, session: Session) -> None:
        """Tell the session of list changes from now on."""
        listener = Listener(session.principal, frozenset(LIST_KINDS), session.subscriptions, session.peer.notify)
        scope = anyio.CancelScope()
        self._sessions[session.id] = (listener, scope)
        self._tasks.start_soon(self._tell, listener, scope)

    def session_closed(self, session: Session) -> None:
        """Stop telling the session."""
        self._news.session_closed(session)
        kept = self._sessions.pop(session.id, None)
        if kept is not None:
            kept[1].cancel()

    async def _tell(self, listener: Listener, scope: anyio.CancelScope) -> None:
        with scope, self._subscriptions.add(listener):
            await listener.run()

    async def subscribe(self, call: Call) -> Json:
        """Answer `resources/subscribe`."""
        uri = call.params.get("uri")
        if not isinstance(uri, str) or not uri or len(uri) > MAX_URI_LENGTH:
            raise RpcError(INVALID_PARAMS, f"params.uri must be a string of 1 to {MAX_URI_LENGTH} characters.")
        if not self._readable(_of(call), uri):
            raise RpcError(LEGACY_RESOURCE_NOT_FOUND, f"Resource not found: {uri}", {"uri": uri})
        if call.session is not None:
            if len(call.session.subscriptions) >= MAX_URIS:
                raise RpcError(INVALID_PARAMS, f"At most {MAX_URIS} resources can be followed by one session.")
            self._check_room(_of(call), 1)
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
