"""A program taken apart by its definitions."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from quantum_suite.core.masking import mask_text
from quantum_suite.services.knowledge.interface import ParsedFile, Symbol
from quantum_suite.services.knowledge.parsing.definitions import Definition, find_definitions
from quantum_suite.services.knowledge.parsing.docstrings import Comments, describe, python_docstring
from quantum_suite.services.knowledge.parsing.languages import Grammar, load_grammar
from quantum_suite.services.knowledge.parsing.names import bind_locals, uses
from quantum_suite.services.knowledge.parsing.pieces import MAX_CHUNK_CHARS, Piece, chunks

if TYPE_CHECKING:
    from tree_sitter import Node

_WHITESPACE = re.compile(r"\s+")
_IMPORTS = 200
_IMPORT_CHARS = 200
_LONGEST_NAME = 120
_HIDDEN_KINDS = frozenset({"scope"})
_SHOWN_AS = {"tsx": "typescript"}


def parse_program(path: str, language: str, text: str) -> ParsedFile:
    """Take a program apart. Never fails on wrong code: what the parser cannot make sense of is counted."""
    from tree_sitter import Parser, QueryCursor  # heavy: loaded where files are parsed, and nowhere else

    grammar = load_grammar(language)
    source = text.encode("utf-8", "replace")
    root = Parser(grammar.language).parse(source).root_node
    captures = QueryCursor(grammar.names).captures(root)
    definitions = find_definitions(grammar, root, source, MAX_CHUNK_CHARS)
    comments = Comments(captures.get("comment", ()), captures.get("attribute", ()), source)
    describe(definitions, language, comments, source)
    bind_locals(definitions, captures, source)
    imports = _imports(captures.get("import", ()), source)
    shown = _SHOWN_AS.get(language, language)
    return ParsedFile(
        path=path,
        language=shown,
        chunks=tuple(chunks(path, shown, imports, _pieces(path, grammar, root, definitions, source))),
        symbols=tuple(_symbol(path, one) for one in definitions if one.kind not in _HIDDEN_KINDS),
        references=tuple(
            (name, line + 1, column, within.qualified_name if within is not None else "")
            for name, line, column, within in uses(definitions, captures, source)
            if len(name) <= _LONGEST_NAME and not name.isdigit()
        ),
        imports=imports,
        errors=_errors(grammar, root),
    )


def _errors(grammar: Grammar, root: "Node") -> int:
    from tree_sitter import QueryCursor  # heavy: loaded where files are parsed, and nowhere else

    if not root.has_error:
        return 0
    return max(1, len(QueryCursor(grammar.errors).captures(root).get("error", ())))


def _imports(nodes: Sequence["Node"], source: bytes) -> tuple[str, ...]:
    texts = (
        _WHITESPACE.sub(" ", source[node.start_byte : node.end_byte].decode("utf-8", "replace")).strip(" ;")
        for node in sorted(nodes, key=lambda node: node.start_byte)[:_IMPORTS]
    )
    return tuple(dict.fromkeys(mask_text(text)[:_IMPORT_CHARS] for text in texts))


def _symbol(path: str, one: Definition) -> Symbol:
    return Symbol(
        name=one.name,
        qualified_name=one.qualified_name,
        kind=one.kind,
        path=path,
        line=one.start_line + 1,
        end_line=one.end_line + 1,
        signature=mask_text(one.signature),
    )


def _pieces(
    path: str, grammar: Grammar, root: "Node", definitions: Sequence[Definition], source: bytes
) -> Iterator[Piece]:
    lines = source.decode("utf-8", "replace").split("\n")
    covered = [False] * (len(lines) + 1)
    with_chunks = [one for one in definitions if one.chunk_kind is not None]
    inner: dict[int, list[Definition]] = {}
    for one in with_chunks:
        around = one.container
        while around is not None and around.chunk_kind is None:
            around = around.container
        if around is not None:
            inner.setdefault(id(around), []).append(one)
        first = one.doc_line if one.doc_line >= 0 else one.start_line
        covered[first : one.end_line + 1] = [True] * (one.end_line + 1 - first)
    module = [number for number in range(len(lines)) if not covered[number]]
    if (piece := _module_piece(path, grammar, root, lines, module, source)) is not None:
        yield piece
    for one in with_chunks:
        yield _piece(one, inner.get(id(one), ()), lines)


def _module_piece(
    path: str, grammar: Grammar, root: "Node", lines: list[str], numbers: list[int], source: bytes
) -> Piece | None:
    """Return what a file holds outside its definitions: constants, imports, a script's commands."""
    while numbers and not lines[numbers[0]].strip():
        numbers = numbers[1:]
    while numbers and not lines[numbers[-1]].strip():
        numbers = numbers[:-1]
    numbers = [one for place, one in enumerate(numbers) if lines[one].strip() or _is_single(lines, numbers, place)]
    if not any(any(map(str.isalnum, lines[number])) for number in numbers):
        return None
    name = path.rsplit("/", 1)[-1]
    return Piece(
        kind="module",
        name=name,
        qualified_name=name,
        signature=path,
        docstring=python_docstring(root, source) if grammar.spec.name == "python" else "",
        start_line=numbers[0] + 1,
        end_line=numbers[-1] + 1,
        text="\n".join(lines[number] for number in numbers),
        line_numbers=tuple(number + 1 for number in numbers),
    )


def _is_single(lines: list[str], numbers: list[int], place: int) -> bool:
    """Whether an empty line follows one that is not: of many in a row, one is kept."""
    return place > 0 and bool(lines[numbers[place - 1]].strip())


def _piece(one: Definition, inner: Sequence[Definition], lines: list[str]) -> Piece:
    """Return the chunk of a definition; of those that have chunks of their own it holds the first lines."""
    left_out: set[int] = set()
    for other in inner:
        first = other.start_line + 1
        if other.body is not None:
            row = other.body.start_point[0]
            first = max(first, row + 1 if _opens_line(other, lines) else row)
        left_out.update(range(first, other.end_line + 1))
    numbers = [number for number in range(one.start_line, one.end_line + 1) if number not in left_out]
    kind = one.chunk_kind
    assert kind is not None  # only those with chunks come here
    return Piece(
        kind=kind,
        name=one.name,
        qualified_name=one.qualified_name,
        signature=one.signature,
        docstring=one.docstring,
        start_line=one.start_line + 1,
        end_line=one.end_line + 1,
        text="\n".join(lines[number] for number in numbers if number < len(lines)),
        line_numbers=tuple(number + 1 for number in numbers),
    )


def _opens_line(one: Definition, lines: list[str]) -> bool:
    """Whether the body begins behind something on its line, as `{` does."""
    assert one.body is not None  # asked of definitions with a body alone
    row, column = one.body.start_point
    line = lines[row].encode("utf-8", "replace")[:column] if row < len(lines) else b""
    return bool(line.strip())
