"""What is written about a definition: Python's docstrings, and the comment right above in other languages."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantum_suite.services.knowledge.parsing.definitions import Definition

if TYPE_CHECKING:
    from tree_sitter import Node

_MARKERS = re.compile(r"^\s*(?:/\*[*!]?|\*+/|\*(?!/)|//[/!]?|#+|--)[ \t]?")
_END = re.compile(r"\s*\*+/\s*$")
_PREFIX = re.compile(r"(?i)^[rbuf]*")
DOCSTRING_CHARS = 4_000


@dataclass(frozen=True, slots=True)
class _Comment:
    start_line: int
    text: str


class Comments:
    """The comments of a file, found by the line they end on; those on adjacent lines are one."""

    def __init__(self, comments: Iterable["Node"], attributes: Iterable["Node"], source: bytes) -> None:
        self._ending: dict[int, _Comment] = {}
        for node in sorted(comments, key=lambda node: node.start_byte):
            start, column = node.start_point
            text = source[node.start_byte : node.end_byte].decode("utf-8", "replace")
            end = start + text.rstrip("\n").count("\n")
            line_start = source.rfind(b"\n", 0, node.start_byte) + 1
            if source[line_start : node.start_byte].strip():
                continue  # It stands behind code, and is about that.
            above = self._ending.pop(start - 1, None) if column >= 0 else None
            whole = f"{above.text}\n{text.rstrip()}" if above is not None else text.rstrip()
            self._ending[end] = _Comment(above.start_line if above is not None else start, whole)
        self._attributes = {_last(node): node.start_point[0] for node in attributes}

    def above(self, line: int) -> tuple[str, int]:
        """Return the comment that ends right above `line` and where it begins; ("", -1) when there is none."""
        before = line - 1
        while before in self._attributes:
            before = self._attributes[before] - 1
        comment = self._ending.get(before)
        if comment is None:
            return "", -1
        return clean_comment(comment.text), comment.start_line


def _last(node: "Node") -> int:
    line, column = node.end_point
    return line - 1 if column == 0 and line > node.start_point[0] else line


def clean_comment(text: str) -> str:
    """Return a comment without its markers."""
    lines = [_END.sub("", _MARKERS.sub("", line)).rstrip() for line in text.split("\n")]
    return "\n".join(lines).strip()[:DOCSTRING_CHARS]


def python_docstring(block: "Node | None", source: bytes) -> str:
    """Return the string a Python block begins with; empty when it begins with something else."""
    if block is None:
        return ""
    first = next((child for child in block.named_children if child.type != "comment"), None)
    if first is None or first.type != "expression_statement" or first.named_child_count != 1:
        return ""
    string = first.named_children[0]
    if string.type != "string":
        return ""
    text = _PREFIX.sub("", source[string.start_byte : string.end_byte].decode("utf-8", "replace"))
    quote = text[:3] if text[:3] in ('"""', "'''") else text[:1]
    return inspect.cleandoc(text[len(quote) :].removesuffix(quote))[:DOCSTRING_CHARS]


def describe(definitions: Iterable[Definition], language: str, comments: Comments, source: bytes) -> None:
    """Give each definition what is written about it."""
    for one in definitions:
        if language == "python":
            if one.is_callable or one.kind == "class":
                one.docstring = python_docstring(one.body, source)
            continue
        one.docstring, one.doc_line = comments.above(one.start_line)
