"""The definitions of a program: what each is called, where it stands, and what it stands in."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantum_suite.services.knowledge.interface import ChunkKind

if TYPE_CHECKING:
    from tree_sitter import Node

    from quantum_suite.services.knowledge.parsing.languages import Grammar

_CALLABLES = frozenset({"function", "method"})
_HOLDERS = frozenset({"class", "interface", "struct", "trait", "enum", "module", "scope"})
"""What makes a function in it a method."""
_ONLY_OUTSIDE = frozenset({"variable", "constant", "prototype", "field", "property"})
"""Within a function these are its own affair."""
_CHUNK_KINDS: Mapping[str, ChunkKind] = {
    "function": "function",
    "method": "method",
    **dict.fromkeys(("class", "interface", "struct", "trait", "enum", "module", "type"), "class"),
}
_WHITESPACE = re.compile(r"\s+")
_LAST_COMMENT = re.compile(r"(?:#[^\n]*\s*)+$")
_SIGNATURE_CHARS = 300
_NAME_CHARS = 120
_QUALIFIED_CHARS = 400


@dataclass(slots=True, eq=False)
class Definition:
    """A definition in its file. Lines count from 0 here, as the parser counts them."""

    kind: str
    name: str
    start: int
    end: int
    start_line: int
    end_line: int
    own_start: int
    """Behind decorators and the like."""
    name_starts: set[int]
    body: "Node | None"
    owner: str = ""
    """What it belongs to by its spelling: a receiver, a class before `::`."""
    container: "Definition | None" = None
    signature: str = ""
    docstring: str = ""
    doc_line: int = -1
    """Where its comment begins; -1 where it has none."""
    locals: set[str] = field(default_factory=set)
    is_long: bool = False
    """Too long for one chunk: the functions in it get chunks of their own."""
    qualified_name: str = ""

    @property
    def is_callable(self) -> bool:
        """Whether it is a function, by whatever name."""
        return self.kind in _CALLABLES

    @property
    def chunk_kind(self) -> ChunkKind | None:
        """Return the kind of its chunk; None when it is part of another's."""
        if self.is_callable and self.body is None and self.end_line == self.start_line and not self.docstring:
            return None
        return None if self._is_inside_function() else _CHUNK_KINDS.get(self.kind)

    def _is_inside_function(self) -> bool:
        around = self.container
        while around is not None:
            if around.is_callable and not around.is_long:
                return True
            around = around.container
        return False

    def function(self) -> "Definition | None":
        """Return itself or the nearest function around it."""
        around: Definition | None = self
        while around is not None and not around.is_callable:
            around = around.container
        return around


def find_definitions(grammar: "Grammar", root: "Node", source: bytes, long_chars: int) -> list[Definition]:
    """Return the definitions in order of their places, outer ones before those in them."""
    from tree_sitter import QueryCursor  # heavy: loaded where files are parsed, and nowhere else

    found: dict[tuple[int, int, str], Definition] = {}
    wrappers: dict[int, Node] = {}
    for _, captures in QueryCursor(grammar.definitions).matches(root):
        for wrapper in captures.get("wrapper", ()):
            outer = wrappers.get(wrapper.end_byte)
            if outer is None or wrapper.start_byte < outer.start_byte:
                wrappers[wrapper.end_byte] = wrapper
        kind = next((name for name in captures if name.startswith("definition.")), None)
        if kind is not None and "name" in captures:
            _add(found, kind.removeprefix("definition."), captures, source)
    ordered = sorted(found.values(), key=lambda one: (one.start, -one.end))
    return list(_placed(ordered, wrappers, grammar, source, long_chars))


def _add(
    found: dict[tuple[int, int, str], Definition], kind: str, captures: Mapping[str, list["Node"]], source: bytes
) -> None:
    node, name_node = captures[f"definition.{kind}"][0], captures["name"][0]
    bodies, owners = captures.get("body"), captures.get("owner")
    name = _text(source, name_node.start_byte, name_node.end_byte).strip("\"'`")
    owner = _text(source, owners[0].start_byte, owners[0].end_byte) if owners else ""
    if "::" in name:
        owner, _, name = _WHITESPACE.sub("", name).rpartition("::")
    starts = {name_node.start_byte, name_node.end_byte - len(name.encode())}
    found.setdefault(
        (node.start_byte, node.end_byte, name),
        Definition(
            kind=kind,
            name=name[:_NAME_CHARS],
            start=node.start_byte,
            end=node.end_byte,
            start_line=node.start_point[0],
            end_line=_last_line(node),
            own_start=node.start_byte,
            name_starts=starts,
            body=bodies[0] if bodies else None,
            owner=owner.replace("::", ".")[:_NAME_CHARS],
        ),
    )


def _last_line(node: "Node") -> int:
    line, column = node.end_point
    return line - 1 if column == 0 and line > node.start_point[0] else line


def _placed(
    ordered: Iterable[Definition],
    wrappers: Mapping[int, "Node"],
    grammar: "Grammar",
    source: bytes,
    long_chars: int,
) -> Iterator[Definition]:
    around: list[Definition] = []
    for one in ordered:
        while around and around[-1].end <= one.start:
            around.pop()
        one.container = around[-1] if around else None
        if one.kind in _ONLY_OUTSIDE and one.container is not None and one.container.function() is not None:
            continue
        if one.kind == "function" and (
            one.owner or (one.container is not None and one.container.kind in _HOLDERS)
        ):
            one.kind = "method"
        wrapper = wrappers.get(one.end)
        if wrapper is not None and wrapper.start_byte < one.start:
            one.start, one.start_line = wrapper.start_byte, wrapper.start_point[0]
        one.is_long = one.is_callable and one.end - one.start > long_chars
        outer = one.container.qualified_name if one.container is not None else ""
        one.qualified_name = ".".join(part for part in (outer, one.owner, one.name) if part)[-_QUALIFIED_CHARS:]
        one.signature = _signature(one, grammar, source)
        around.append(one)
        yield one


def _signature(one: Definition, grammar: "Grammar", source: bytes) -> str:
    if one.body is not None:
        text = _text(source, one.own_start, min(one.body.start_byte, one.own_start + 4 * _SIGNATURE_CHARS))
        if grammar.spec.name == "python":
            text = _LAST_COMMENT.sub("", text)
    else:
        text = _text(source, one.own_start, min(one.end, one.own_start + 4 * _SIGNATURE_CHARS))
        if not one.is_callable or grammar.spec.name == "ruby":
            text = text.split("\n", 1)[0]
    text = _WHITESPACE.sub(" ", text).strip().removesuffix("=>").strip()
    if grammar.spec.opened_by:
        text = text.removesuffix(grammar.spec.opened_by)
    return text.strip().rstrip(";")[:_SIGNATURE_CHARS]


def _text(source: bytes, start: int, end: int) -> str:
    return source[start:end].decode("utf-8", "replace")
