"""Lines of files in workspaces: how they are named, and their secrets masked in place."""

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.errors import NotFound
from quantum_suite.core.masking import MASK, secret_spans
from quantum_suite.core.uris import ResourceUri

MAX_LINES = 500
"""Shown at once."""
_VIEW = re.compile(r"lines-([1-9]\d{0,8})-([1-9]\d{0,8})")


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """Lines of a file, from 1, inclusive."""

    path: str
    first: int
    last: int


def source_uri(path: Path, first: int, last: int) -> str:
    """Return the URI of lines of the file at the full path `path`."""
    name = base64.urlsafe_b64encode(str(path).encode("utf-8", "surrogateescape")).decode().rstrip("=")
    return str(ResourceUri("knowledge", "files", name, f"lines-{first}-{last}"))


def span_of(name: str, view: str | None) -> SourceSpan:
    """Return what a URI's id and view stand for; raises NotFound for what stands for nothing."""
    try:
        raw = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4))
        path = raw.decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError) as error:
        raise NotFound(f"There is no file '{name[:100]}'.", "Use the links that search_code returns.") from error
    if view is None:
        return SourceSpan(path, 1, MAX_LINES)
    match = _VIEW.fullmatch(view)
    if match is None or int(match[1]) > int(match[2]):
        raise NotFound(f"A file has no view '{view[:50]}'.", "The form is lines-<first>-<last>, from 1.")
    return SourceSpan(path, int(match[1]), int(match[2]))


def masked_lines(text: str) -> str:
    """Return text with secrets masked and as many lines as before: a key may span some."""
    parts, end = [], 0
    for first, last in secret_spans(text):
        parts += [text[end:first], MASK, "\n" * text.count("\n", first, last)]
        end = last
    return "".join([*parts, text[end:]])
