"""Reads a change out of a model's answer: a patch, or whole definitions in fences."""

import ast
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.rendering import to_unified_diff

_FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<body>.*?)^[ \t]*(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_PATH = re.compile(r"[\w./-]+\.py\b")
_CODE = re.compile(r"(?:async )?def \w|class \w|@\w|import \w|from [\w.]+ import ")
_GOES_ON = re.compile(rf"[ \t)\]}}]|#(?!##)|{_CODE.pattern}")
_QUOTES = re.compile(r"^#{3,} \S+:\d+-\d+", re.MULTILINE)
"""Where the code shown to the model stands; it may answer in the same form."""
_NO_CODE = re.compile(r"^[ \t]*```|[ \t]{2}:\d+$")
"""What opens and closes fences; and lines of the map, which models quote: they read like definitions."""
_MOST_STARTS = 50
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
    none, the Python definitions in the answer's fences, or in its text without fences, replace those of the same
    name in the file named before them, else in `files` (paths below `root`), each standing there once; imports,
    constants and further definitions they bring along are added. An answer that fits in no such way is returned as
    it is, for the judge to say what is wrong with it.
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
        tree = _parsed(body)
        if tree is not None and not _put(tree, body.splitlines(), [path] if path else list(changed), changed):
            return None
    changes = [
        FileChange(path, sources[path].encode(), text.encode())
        for path, text in changed.items()
        if text != sources[path]
    ]
    return to_unified_diff(ChangeSet(tuple(changes))) if changes else None


def _put(tree: ast.Module, lines: Sequence[str], paths: Sequence[str], changed: dict[str, str]) -> bool:
    """Put a block's definitions into the files; return False where one of them is not safely put anywhere."""
    put: dict[str, str] = {}
    for node in _definitions(tree):
        places = _places_of(node.name, paths, changed)
        if not places:
            continue
        if len(places) > 1 or not places[0].members <= _members(node):
            # Which one is meant is not guessed, and a class would lose what the answer left out.
            return False
        place = places[0]
        changed[place.path] = _replaced(
            changed[place.path], place, textwrap.indent(_text_of(node, lines), place.indent)
        )
        put[node.name] = place.path
    if put:
        path = next(iter(put.values()))
        changed[path] = _with_imports(_with_new(changed[path], put, tree, lines), tree)
    return True


def _blocks(answer: str, files: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    """Yield the answer's pieces of code, each with the file that its fence or the line before it names, where one
    does: its fences, and the code within a fence that is not code alone, or in an answer without fences."""
    fenced = list(_FENCED.finditer(answer))
    for match in fenced:
        before = answer[: match.start()].rstrip().rpartition("\n")[2]
        path, body = _named(f"{match['info']} {before}", files), textwrap.dedent(match["body"])
        if _parsed(body) is not None and not _QUOTES.search(body):
            yield path, body
        else:
            yield from ((_named(line, files) or path, code) for line, code in _code_in(body))
    if not fenced:
        yield from ((_named(line, files), code) for line, code in _code_in(answer))


def _named(line: str, files: Sequence[str]) -> str | None:
    named = [path for path in _PATH.findall(line) if path in files]
    return named[0] if len(named) == 1 else None


def _code_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield each run of lines that are code, with the line before it."""
    lines = [line for line in text.splitlines() if not _NO_CODE.search(line)]
    end = 0
    for start in [number for number, line in enumerate(lines) if _CODE.match(line.lstrip())][:_MOST_STARTS]:
        if start < end:
            continue
        stop = _end_of_code(lines, start)
        code = textwrap.dedent("\n".join(lines[start:stop]))
        if _parsed(code) is not None:
            end = stop
            yield (lines[start - 1] if start else ""), code


def _end_of_code(lines: Sequence[str], start: int) -> int:
    """Return where what begins on a line stops: at a line that is further out, or no code at its depth."""
    depth = len(lines[start]) - len(lines[start].lstrip())
    end = start
    while end < len(lines):
        rest = lines[end][depth:]
        if lines[end].strip() and (lines[end][:depth].strip() or not _GOES_ON.match(rest)):
            break
        end += 1
    return end


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


def _text_of(node: ast.stmt, lines: Sequence[str]) -> str:
    start = _first_line(node) if isinstance(node, Definition) else node.lineno
    return "\n".join(lines[start - 1 : node.end_lineno])


def _places_of(name: str, paths: Sequence[str], sources: dict[str, str]) -> list[_Place]:
    """Return the places in files where a name is defined at the top, else the methods of that name."""
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
    return tops or methods


def _placed(path: str, node: Definition) -> _Place:
    end = node.end_lineno or node.lineno
    return _Place(path, _first_line(node) - 1, end, " " * node.col_offset, _members(node))


def _members(node: ast.stmt) -> frozenset[str]:
    if not isinstance(node, ast.ClassDef):
        return frozenset()
    return frozenset(one.name for one in node.body if isinstance(one, Definition))


def _replaced(source: str, place: _Place, new: str) -> str:
    lines = source.splitlines(keepends=True)
    ended = lines[place.end - 1].endswith("\n")
    return "".join([*lines[: place.start], new + ("\n" if ended else ""), *lines[place.end :]])


def _with_new(source: str, put: Collection[str], answer: ast.Module, lines: Sequence[str]) -> str:
    """Add the answer's definitions and constants that no file has, before the first of those that were put."""
    tree = _parsed(source)
    if tree is None:
        return source
    known = {*put, *(name for node in tree.body for name in _names_of(node))}
    new = [node for node in answer.body if (names := _names_of(node)) and not known & names]
    holders = [node for node in tree.body if not (_names_of(node) | _members(node)).isdisjoint(put)]
    if not new or not holders:
        return source
    holder = holders[0]
    at = (_first_line(holder) if isinstance(holder, Definition) else holder.lineno) - 1
    kept = source.splitlines(keepends=True)
    return "".join([*kept[:at], *(f"{_text_of(node, lines)}\n\n\n" for node in new), *kept[at:]])


def _names_of(node: ast.stmt) -> set[str]:
    """Return the names a statement at the top defines, but for those it imports."""
    if isinstance(node, Definition):
        return {node.name}
    targets = (
        node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    )
    return {target.id for target in targets if isinstance(target, ast.Name)}


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
