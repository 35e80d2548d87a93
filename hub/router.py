"""Finds the upstream that owns a name and carries the call there; answers what is the hub's own to answer.

The last handler of the pipeline: by the time a call comes here it is authenticated and allowed.
"""

from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from quantum_suite.core.principals import Caller, Principal
from quantum_suite.hub import greeting
from quantum_suite.hub.call import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    LEGACY_RESOURCE_NOT_FOUND,
    METHOD_NOT_FOUND,
    Call,
    Era,
    Handler,
    Json,
    Peer,
    RpcError,
    Session,
)
from quantum_suite.hub.envelope import handshake_params, modern_params
from quantum_suite.hub.following import Following
from quantum_suite.hub.links import Links
from quantum_suite.hub.lists import Lists
from quantum_suite.hub.param_checks import checked_headers
from quantum_suite.hub.registry import Registry
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.extension import asks_for_tasks, without_tasks
from quantum_suite.hub.translation.answering import answer_inputs
from quantum_suite.hub.translation.parking import ParkingLot
from quantum_suite.hub.translation.results import error_for, to_handshake, to_modern
from quantum_suite.hub.translation.server_tasks import made_task
from quantum_suite.hub.upstream import Upstream
from quantum_suite.hub.upstreams.interface import LinkKey
from quantum_suite.hub.way import Way

_LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_QUESTIONS = frozenset({"elicitation", "sampling", "roots"})

STARTING_SECONDS = 10.0
"""How long a call waits for the upstream its name points to, while that is still starting."""


class Router:
    """Routes calls by what the catalogue says."""

    def __init__(
        self,
        registry: Registry,
        lists: Lists,
        following: Following,
        parking: ParkingLot,
        tasks: Mapping[str, Handler] | None = None,
    ) -> None:
        """`tasks` answers the methods of tasks, by their names."""
        self._registry = registry
        self._lists = lists
        self._following = following
        self._parking = parking
        self._links = Links()
        self._own: dict[str, Handler] = {
            "server/discover": self._discover,
            "initialize": self._initialize,
            "ping": self._ping,
            "tools/list": self._list,
            "prompts/list": self._list,
            "resources/list": self._list,
            "resources/templates/list": self._list,
            "tools/call": self._call_tool,
            "prompts/get": self._get_prompt,
            "resources/read": self._read_resource,
            "completion/complete": self._complete,
            "logging/setLevel": self._set_level,
            "resources/subscribe": following.subscribe,
            "resources/unsubscribe": following.unsubscribe,
            "subscriptions/listen": following.listen,
            **(tasks or {}),
        }

    # -- what names stand for ---------------------------------------------------------------------------------

    def find(self, call: Call) -> Target | None:
        """Return what the call's name stands for; None for unknown names and calls without one."""
        catalogue, params = self._registry.catalogue, call.params
        match call.method:
            case "tools/call":
                entry = catalogue.tools.get(_text(params, "name"))
                return entry.target if entry else None
            case "prompts/get":
                entry = catalogue.prompts.get(_text(params, "name"))
                return entry.target if entry else None
            case "resources/read" | "resources/subscribe" | "resources/unsubscribe":
                return self._resource(call, _text(params, "uri"))
            case "completion/complete":
                return self._completed(call, params.get("ref"))
        return None

    def awaits(self, call: Call, found: Target | None) -> bool:
        """Whether what was found belongs to an upstream that is still starting, or what was not found may."""
        if found is not None:
            return self._registry.is_starting(found.upstream)
        match call.method:
            case "tools/call" | "prompts/get":
                return self._registry.starting(_text(call.params, "name"))
            case "resources/read" | "resources/subscribe" | "completion/complete":
                return self._registry.starting(None)
        return False

    async def arrival(self, call: Call) -> Target | None:
        """Wait until no upstream that is still starting matters to the call, `STARTING_SECONDS` at most."""
        target = self.find(call)
        with anyio.move_on_after(STARTING_SECONDS):
            while self.awaits(call, target):
                await self._registry.next_change()
                target = self.find(call)
        return target

    def _resource(self, call: Call, uri: str) -> Target | None:
        if (target := self._registry.catalogue.resource(uri)) is not None:
            return target
        owner = self._links.owner(_principal(call).id, uri)
        return Target("resource", uri, owner, uri, read_only=True) if owner is not None else None

    def _completed(self, call: Call, ref: Any) -> Target | None:
        if not isinstance(ref, dict):
            return None
        catalogue = self._registry.catalogue
        if ref.get("type") == "ref/prompt":
            entry = catalogue.prompts.get(_text(ref, "name"))
            return entry.target if entry else None
        uri = _text(ref, "uri")
        template = catalogue.templates.get(uri)
        return template.target if template is not None else self._resource(call, uri)

    # -- the pipeline's last handler --------------------------------------------------------------------------

    async def handle(self, call: Call) -> Json:
        """Answer the call."""
        own = self._own.get(call.method)
        if own is None or call.method in (_HANDSHAKE_ONLY if call.era == "modern" else _MODERN_ONLY):
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {call.method}")
        return await own(call)

    async def _discover(self, call: Call) -> Json:
        return greeting.discover(await self._reached(call))

    async def _initialize(self, call: Call) -> Json:
        return greeting.initialize(call, await self._reached(call))

    async def _reached(self, call: Call) -> list[Upstream]:
        """Return the upstreams the caller may know of."""
        reached = await self._lists.upstreams(_principal(call), self._registry.catalogue)
        return [upstream for upstream in self._registry.upstreams() if upstream.name in reached]

    async def _ping(self, call: Call) -> Json:
        return {}

    async def _list(self, call: Call) -> Json:
        return await self._lists.answer(call, _principal(call), self._registry.catalogue, self._registry.revision)

    async def _call_tool(self, call: Call) -> Json:
        name = _required(call.params, "name")
        if call.target is None:
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")
        headers = checked_headers(call, call.target)
        result = await self._forward(
            call, call.target, {**call.params, "name": call.target.upstream_name}, headers
        )
        self._links.remember(_principal(call).id, result, call.target.upstream)
        return result

    async def _get_prompt(self, call: Call) -> Json:
        name = _required(call.params, "name")
        if call.target is None:
            raise RpcError(INVALID_PARAMS, f"Unknown prompt: {name}")
        result = await self._forward(call, call.target, {**call.params, "name": call.target.upstream_name})
        self._links.remember(_principal(call).id, result, call.target.upstream)
        return result

    async def _read_resource(self, call: Call) -> Json:
        uri = _required(call.params, "uri")
        if call.target is None:
            raise missing_resource(call, uri)
        return await self._forward(call, call.target, call.params)

    async def _complete(self, call: Call) -> Json:
        if call.target is None:
            raise RpcError(INVALID_PARAMS, "ref names no prompt or resource template of this server.")
        params = call.params
        if call.target.kind == "prompt":
            params = {**params, "ref": {**params["ref"], "name": call.target.upstream_name}}
        return await self._forward(call, call.target, params)

    async def _set_level(self, call: Call) -> Json:
        level = call.params.get("level")
        if level not in _LOG_LEVELS:
            raise RpcError(INVALID_PARAMS, f"level must be one of: {', '.join(_LOG_LEVELS)}.")
        if call.session is not None:
            call.session.log_level = str(level)
            for upstream in self._registry.upstreams():
                await upstream.set_log_level(session_key(call.session), str(level))
        return {}

    # -- carrying ---------------------------------------------------------------------------------------------

    async def _forward(
        self, call: Call, target: Target, params: Json, headers: dict[str, str] | None = None
    ) -> Json:
        upstream = self._registry.get(target.upstream)
        if upstream is None:
            raise RpcError(INVALID_PARAMS, f"'{target.name}' is no longer offered.")
        try:
            if call.era == "modern":
                return await self._from_modern(call, target, upstream, params, headers)
            return await self._from_handshake(call, target, upstream, params, headers)
        except RpcError as error:
            raise error_for(call.era, call.method, error) from None

    async def _from_modern(
        self, call: Call, target: Target, upstream: Upstream, params: Json, headers: dict[str, str] | None
    ) -> Json:
        if await upstream.speaks("modern"):
            return await self._modern_to_modern(call, target, upstream, params, headers)
        way = self._way(call, target, upstream, "handshake", headers)

        async def start(peer: Peer) -> Json:
            if call.server_task is not None:
                return await way.follow(call.server_task, peer, ours=False)
            return await way.carry_handshake(handshake_params(params), peer)

        asks = bool(_QUESTIONS & call.client_capabilities.keys())
        result = await (self._parking.carry(call, start) if asks else start(call.peer))
        if result.get("resultType") in ("input_required", "task"):
            return result
        return to_modern(call.method, result, upstream.hello.server_info if upstream.hello else {})

    async def _modern_to_modern(
        self, call: Call, target: Target, upstream: Upstream, params: Json, headers: dict[str, str] | None
    ) -> Json:
        way = self._way(call, target, upstream, "modern", headers)

        async def follow(peer: Peer) -> Json:
            return await way.follow(call.server_task or {}, peer, ours=False)

        async def wait(peer: Peer) -> Json:
            return await way.wait_modern(params, peer)

        if call.server_task is not None:
            return await self._parking.carry(call, follow)
        if self._parking.holds(params.get("requestState")):
            return await self._parking.carry(call, wait)
        try:
            result = await way.send(params, call.peer)
        except RpcError as error:
            if call.takes_task or not asks_for_tasks(error):
                raise
            return await self._parking.carry(call, wait)
        return made_task(result) or result if call.takes_task else result

    async def _from_handshake(
        self, call: Call, target: Target, upstream: Upstream, params: Json, headers: dict[str, str] | None
    ) -> Json:
        if await upstream.speaks("handshake"):
            way = self._way(call, target, upstream, "handshake", headers)
            if call.session is not None and call.session.log_level is not None:
                await upstream.set_log_level(way.key, call.session.log_level)
            return await way.carry_handshake(params, call.peer)
        way = self._way(call, target, upstream, "modern", headers)
        enveloped = modern_params(call, params)

        async def send(attempt: Json) -> Json:
            return await way.send(attempt, call.peer)

        try:
            result = await answer_inputs(send, enveloped, call.peer)
        except RpcError as error:
            if not asks_for_tasks(error):
                raise
            result = await way.wait_modern(enveloped, call.peer)
        return to_handshake(result)

    def _way(
        self, call: Call, target: Target, upstream: Upstream, era: Era, headers: dict[str, str] | None
    ) -> Way:
        principal = _principal(call)
        key = (
            LinkKey("modern", upstream.identity(principal.id))
            if era == "modern"
            else LinkKey("handshake", principal.id, _canonical(without_tasks(call.client_capabilities)))
        )
        return Way(upstream, key, call, target, Caller(principal, call.id, call.run), headers)

    async def let_go(self, call: Call, target: Target, server_task: Json | None) -> None:
        """Cancel what a call left open: a task its server made, and what is parked under its `requestState`.

        In that order: a question that is dropped first reads like an answer. Raises Unavailable when the server
        is away.
        """
        upstream = self._registry.get(target.upstream)
        if server_task is not None and upstream is not None:
            era: Era = "modern" if await upstream.speaks("modern") else "handshake"
            await self._way(call, target, upstream, era, None).server_task(server_task).cancel(call.peer)
        self._parking.drop(call.params.get("requestState"))


_HANDSHAKE_ONLY = frozenset(
    {
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/result",
        "tasks/list",
    }
)
_MODERN_ONLY = frozenset({"server/discover", "subscriptions/listen", "tasks/update"})


def session_key(session: Session) -> LinkKey:
    """Return the key of the links that calls on this session take to handshake servers."""
    return LinkKey("handshake", session.principal.id, _canonical(without_tasks(session.capabilities)))


def missing_resource(call: Call, uri: str) -> RpcError:
    """Return the error for a resource nobody offers, with the code of the call's era."""
    code = INVALID_PARAMS if call.era == "modern" else LEGACY_RESOURCE_NOT_FOUND
    return RpcError(code, f"Resource not found: {uri}", {"uri": uri})


def _canonical(capabilities: Json) -> str:
    return orjson.dumps(capabilities, option=orjson.OPT_SORT_KEYS).decode()


def _text(params: Json, key: str) -> str:
    value = params.get(key)
    return value if isinstance(value, str) else ""


def _required(params: Json, key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str) or not value:
        raise RpcError(INVALID_PARAMS, f"params.{key} must be a non-empty string.")
    return value


def _principal(call: Call) -> Principal:
    if call.principal is None:
        raise RpcError(INTERNAL_ERROR, "The call reached the router without a principal.")
    return call.principal
