"""Which upstream a resource link came from: resources that are linked need not be listed (MCP, tools page)."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from quantum_suite.hub.call import Json

MOST_PRINCIPALS = 1_000
MOST_URIS = 1_000


class Links:
    """The links each principal was given, the latest `MOST_URIS` of them. Nobody's links serve anybody else.

    The first upstream to link a URI keeps it: another that names the same URI later cannot redirect it.
    """

    def __init__(self) -> None:
        self._given: OrderedDict[str, OrderedDict[str, str]] = OrderedDict()

    def owner(self, principal_id: str, uri: str) -> str | None:
        """Return the upstream that linked `uri` to this principal."""
        given = self._given.get(principal_id)
        return None if given is None else given.get(uri)

    def remember(self, principal_id: str, result: Json, upstream: str) -> None:
        """Note the links in the result of a tool or a prompt."""
        for uri in _linked(result):
            given = self._given.setdefault(principal_id, OrderedDict())
            self._given.move_to_end(principal_id)
            given.setdefault(uri, upstream)
            given.move_to_end(uri)
            if len(given) > MOST_URIS:
                given.popitem(last=False)
            if len(self._given) > MOST_PRINCIPALS:
                self._given.popitem(last=False)


def _linked(result: Json) -> Iterator[str]:
    for block in _blocks(result):
        if isinstance(block, dict) and block.get("type") == "resource_link" and isinstance(block.get("uri"), str):
            yield block["uri"]


def _blocks(result: Json) -> Iterator[Any]:
    content, messages = result.get("content"), result.get("messages")
    if isinstance(content, list):
        yield from content
    if isinstance(messages, list):
        yield from (message.get("content") for message in messages if isinstance(message, dict))
