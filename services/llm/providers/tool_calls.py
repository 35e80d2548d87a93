"""Tool calls that arrive in pieces."""

from typing import Any

import orjson

from quantum_suite.core.ids import new_id
from quantum_suite.services.llm.interface import ToolCall
from quantum_suite.services.llm.providers.http import Reply, garbled


class PartialToolCall:
    """Gathers one call: the name comes first, the arguments as pieces of JSON."""

    def __init__(self, call_id: str = "", name: str = "") -> None:
        self.id = call_id
        self.name = name
        self.arguments: list[str] = []

    def whole(self, reply: Reply) -> ToolCall:
        """Return the call; raises Garbled for one without a name or with arguments that are no JSON object."""
        text = "".join(self.arguments).strip() or "{}"
        try:
            arguments = orjson.loads(text)
        except ValueError:
            arguments = None
        return whole_call(reply, self.id, self.name, arguments)


def whole_call(reply: Reply, call_id: str, name: str, arguments: Any) -> ToolCall:
    """Return a tool call from its parts; raises Garbled for what is none."""
    if not name or not isinstance(arguments, dict):
        raise garbled(reply, f"a call of the tool '{name}' that cannot be read")
    return ToolCall(call_id or new_id("call"), name, arguments)
