"""The lists a client sees: what its principal may use, in name order, page by page."""

import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

import anyio.lowlevel

from quantum_suite.core.principals import Principal
from quantum_suite.hub.call import INVALID_PARAMS, Call, Json, RpcError
from quantum_suite.hub.catalogue import Catalogue, Entry, TemplateEntry
from quantum_suite.hub.envelope import HUB_META
from quantum_suite.hub.target import Target
from quantum_suite.hub.tasks.extension import HANDSHAKE_REVISION

ListMethod = Literal["tools/list", "prompts/list", "resources/list", "resources/templates/list"]

PAGE_SIZE = 200
_AT_ONCE = 25
_MOST_KEPT = 256
TTL_MS = 5_000
"""Short: a client that does not listen for changes still learns of them soon."""

_KEYS: dict[str, str] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}

Sees = Callable[[Principal, Target], bool]


class Lists:
    """Answers the four list methods. Filtered lists are kept per principal until the catalogue changes."""

    def __init__(self, sees: Sees) -> None:
        self._sees = sees
        self._revision = -1
        self._age = 0
        self._kept: OrderedDict[tuple[str, Principal], list[tuple[str, Json]]] = OrderedDict()

    def forget(self) -> None:
        """Decide anew: the policies changed."""
        self._kept.clear()
        self._age += 1

    async def answer(self, call: Call, principal: Principal, catalogue: Catalogue, revision: int) -> Json:
        """Return one page; raises `RpcError` with `INVALID_PARAMS` for a cursor that is not one of ours."""
        if revision != self._revision:
            self._revision = revision
            self._kept.clear()
        key = (call.method, principal)
        visible = self._kept.get(key)
        if visible is None:
            age = self._age
            visible = await self._visible(call.method, principal, catalogue)
            if revision == self._revision and age == self._age:
                self._kept[key] = visible
                if len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        start = _after(visible, call.params.get("cursor"))
        page = visible[start : start + PAGE_SIZE]
        result: Json = {_KEYS[call.method]: [_for_era(shown, call) for _, shown in page]}
        if start + PAGE_SIZE < len(visible):
            result["nextCursor"] = base64.urlsafe_b64encode(page[-1][0].encode()).decode()
        if call.era == "modern":
            result |= {"resultType": "complete", "ttlMs": TTL_MS, "cacheScope": "private", "_meta": HUB_META}
        return result

    async def upstreams(self, principal: Principal, catalogue: Catalogue) -> frozenset[str]:
        """Return the upstreams of which the principal may use anything at all."""
        reached: set[str] = set()
        for entries in (catalogue.tools, catalogue.prompts, catalogue.resources, catalogue.templates):
            offered: list[Entry | TemplateEntry] = [*entries.values()]
            for number, entry in enumerate(offered):
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await anyio.lowlevel.checkpoint()
                if entry.target.upstream not in reached and self._sees(principal, entry.target):
                    reached.add(entry.target.upstream)
        return frozenset(reached)

    async def _visible(self, method: str, principal: Principal, catalogue: Catalogue) -> list[tuple[str, Json]]:
        entries: Mapping[str, Entry] | Mapping[str, TemplateEntry]
        match method:
            case "tools/list":
                entries = catalogue.tools
            case "prompts/list":
                entries = catalogue.prompts
            case "resources/list":
                entries = catalogue.resources
            case _:
                entries = catalogue.templates
        visible: list[tuple[str, Json]] = []
        offered: list[tuple[str, Entry | TemplateEntry]] = [*entries.items()]
        for number, (name, entry) in enumerate(offered):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()  # a decision costs tenths of a millisecond the first time
            if entry.present and self._sees(principal, entry.target):
                visible.append((name, entry.shown))
        return visible


def _after(visible: list[tuple[str, Json]], cursor: object) -> int:
    """Return where the page after `cursor` starts. A cursor is the last name sent, so it survives changes."""
    if cursor is None:
        return 0
    try:
        last = base64.b64decode(str(cursor), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise RpcError(INVALID_PARAMS, "cursor is not one this server gave out; leave it away to begin.") from None
    return next((index for index, (name, _) in enumerate(visible) if name > last), len(visible))


def _for_era(shown: Json, call: Call) -> Json:
    """Before 2026-07-28 an output schema had to describe an object; only 2025-11-25 has `execution`."""
    schema = shown.get("outputSchema")
    left_out = set()
    if call.era == "handshake" and isinstance(schema, dict) and schema.get("type") != "object":
        left_out.add("outputSchema")
    if "execution" in shown and call.protocol_version != HANDSHAKE_REVISION:
        left_out.add("execution")
    return {key: value for key, value in shown.items() if key not in left_out} if left_out else shown
