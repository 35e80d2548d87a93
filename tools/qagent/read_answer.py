"""Reads a change out of a model's answer: a patch, or whole definitions in fences."""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.rendering import to_unified_diff

_FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<body>.*?)^[ \t]*(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_PATH = re.compile(r"[\w./-]+\.py\b")
_PATCH_LINE = re.compile(r"^(?:---|diff) ", re.MULTILINE)
_LARGEST_SOURCE = 1024 * 1024

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a definition stands: lines from 0, the end excluded."""

    path: str
    start: int
    end: int
    indent: str
    members: frozenset[str] = frozenset()
    """Of a class: what is defined in it."""


def patch_in(answer: str, root: Path, files: Sequence[str]) -> str:
    """Return the patch an answer holds, to be judged like any other.

    A diff or search and replace blocks are taken out of their fences and returned as they are. Where there are
    none, the Python definitions in the answer's fences replace those of the same name in the file named before
    the fence, else in `files` (paths below `root`), each standing there once; imports they bring are added. An
    answer that fits in no such way is returned as it is, for the judge to say what is wrong with it.
    """
    bodies = [match["body"] for match in _FENCED.finditer(answer)]
    patches = [body for body in bodies if "<<<<<<<" in body or _PATCH_LINE.search(body)]
    if patches and "<<<<<<<" not in _FENCED.sub("", answer):
        return "\n".join(patches)
    if patches or "<<<<<<<" in answer or _PATCH_LINE.search(answer):
        return answer
    return _definitions_patch(answer, root, files) or answer


def _definitions_patch(answer: str, root: Path, files: Sequence[str]) -> str | None:
    sources = {path: text for path in files if (text := _read(root, path)) is not None}
    changed = dict(sources)
    for path, body in _blocks(answer, files):
        tree = _parsed(textwrap.dedent(body))
        if tree is None:
            return None
        lines = textwrap.dedent(body).splitlines()
        for node in _definitions(tree):
            place = _place_of(node.name, [path] if path else list(changed), changed)
            if place is None or not place.members <= _members(node):
                return None  # Replaced by this one, a class would lose what the answer left out.
            new = textwrap.indent("\n".join(lines[_first_line(node) - 1 : node.end_lineno]), place.indent)
            changed[place.path] = _replaced(changed[place.path], place, new)
            changed[place.path] = _with_imports(changed[place.path], tree)
    changes = [
        FileChange(path, sources[path].encode(), text.encode())
        for path, text in changed.items()
        if text != sources[path]
    ]
    return to_unified_diff(ChangeSet(tuple(changes))) if changes else None


def _blocks(answer: str, files: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    """Yield each fence's text with the file that its first line or the line before it names, where one does."""
    for match in _FENCED.finditer(answer):
        before = answer[: match.start()].rstrip().rpartition("\n")[2]
        named = [path for path in _PATH.findall(f"{match['info']} {before}") if path in files]
        yield (named[0] if len(named) == 1 else None), match["body"]


def _read(root: Path, path: str) -> str | None:
    place = root / path
    try:
        if place.suffix != ".py" or place.is_symlink() or place.stat().st_size > _LARGEST_SOURCE:
            return None
        return place.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _definitions(tree: ast.Module) -> list[Definition]:
    return [node for node in tree.body if isinstance(node, Definition)]


def _first_line(node: Definition) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _place_of(name: str, paths: Sequence[str], sources: dict[str, str]) -> _Place | None:
    """Return the only place among files where a name is defined at the top, else the only method of that name."""
    tops: list[_Place] = []
    methods: list[_Place] = []
    for path in paths:
        tree = _parsed(sources[path]) if path in sources else None
        for node in _definitions(tree) if tree is not None else ():
            if node.name == name:
                tops.append(_placed(path, node))
            elif isinstance(node, ast.ClassDef):
                methods += [
                    _placed(path, one) for one in node.body if isinstance(one, Definition) and one.name == name
                ]
    found = tops or methods
    return found[0] if len(found) == 1 else None


def _placed(path: str, node: Definition) -> _Place:
    end = node.end_lineno or node.lineno
    return _Place(path, _first_line(node) - 1, end, " " * node.col_offset, _members(node))


def _members(node: Definition) -> frozenset[str]:
    if not isinstance(node, ast.ClassDef):
        return frozenset()
    return frozenset(one.name for one in node.body if isinstance(one, Definition))


def _replaced(source: str, place: _Place, new: str) -> str:
    lines = source.splitlines(keepends=True)
    ended = lines[place.end - 1].endswith("\n")
    return "".join([*lines[: place.start], new + ("\n" if ended else ""), *lines[place.end :]])


def _with_imports(source: str, answer: ast.Module) -> str:
    """Add the answer's imports that the file does not have, after those it has."""
    tree = _parsed(source)
    if tree is None:
        return source
    there = {ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    missing = [
        text
        for node in answer.body
        if isinstance(node, ast.Import | ast.ImportFrom) and (text := ast.unparse(node)) not in there
    ]
    if not missing:
        return source
    at = 0
    for number, node in enumerate(tree.body):
        is_docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_docstring or isinstance(node, ast.Import | ast.ImportFrom):
            at = node.end_lineno or node.lineno
    lines = source.splitlines(keepends=True)
    return "".join([*lines[:at], *(f"{text}\n" for text in missing), *lines[at:]])
