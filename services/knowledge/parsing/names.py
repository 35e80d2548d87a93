"""Where names are used: every use but those of a function's own parameters and variables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from quantum_suite.services.knowledge.parsing.definitions import Definition

if TYPE_CHECKING:
    from tree_sitter import Node

Captures = Mapping[str, list["Node"]]


class _Around:
    """Follows which definitions stand around a place, for places in rising order."""

    def __init__(self, definitions: Sequence[Definition]) -> None:
        self._definitions = definitions
        self._next = 0
        self._open: list[Definition] = []

    def at(self, place: int) -> Definition | None:
        while self._next < len(self._definitions) and self._definitions[self._next].start <= place:
            one = self._definitions[self._next]
            while self._open and self._open[-1].end <= one.start:
                self._open.pop()
            self._open.append(one)
            self._next += 1
        while self._open and self._open[-1].end <= place:
            self._open.pop()
        return self._open[-1] if self._open else None


def bind_locals(definitions: Sequence[Definition], captures: Captures, source: bytes) -> None:
    """Tell each function the names of its parameters and variables."""
    around = _Around(definitions)
    for node in sorted(captures.get("local", ()), key=_start):
        one = around.at(node.start_byte)
        function = one.function() if one is not None else None
        if function is not None:
            function.locals.add(_text(source, node))
    around = _Around(definitions)
    for node in sorted(captures.get("global", ()), key=_start):
        one = around.at(node.start_byte)
        function = one.function() if one is not None else None
        if function is not None:
            function.locals.discard(_text(source, node))


def uses(
    definitions: Sequence[Definition], captures: Captures, source: bytes
) -> Iterator[tuple[str, int, int, Definition | None]]:
    """Yield (name, line, column, definition around it) in order; lines and columns (in bytes) count from 0."""
    member = {node.start_byte for node in captures.get("member", ())}
    dropped = {node.start_byte for node in captures.get("skip", ())}
    for one in definitions:
        dropped |= one.name_starts
    spans = [(node.start_byte, node.end_byte) for node in captures.get("skiprange", ())]
    nodes = {node.start_byte: node for kind in ("reference", "member") for node in captures.get(kind, ())}
    around = _Around(definitions)
    decoded: dict[bytes, str] = {}
    for start in sorted(nodes):
        within = around.at(start)
        if start in dropped or any(first <= start < last for first, last in spans):
            continue
        node = nodes[start]
        raw = source[start : node.end_byte]
        name = decoded.get(raw)
        if name is None:
            name = decoded[raw] = raw.decode("utf-8", "replace")
        if start not in member and _is_local(name, within):
            continue
        line, column = node.start_point
        yield name, line, column, within


def _is_local(name: str, within: Definition | None) -> bool:
    around = within
    while around is not None:
        if name in around.locals:
            return True
        around = around.container
    return False


def _start(node: "Node") -> int:
    return node.start_byte


def _text(source: bytes, node: "Node") -> str:
    return source[node.start_byte : node.end_byte].decode("utf-8", "replace")
