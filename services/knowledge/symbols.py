"""Definitions by name, and where they are used."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anyio.to_thread

from quantum_suite.core.errors import CallerError
from quantum_suite.services.knowledge.index.reading import Use, UsingFile, symbols_where, uses_of
from quantum_suite.services.knowledge.index.ties import is_tied, read_imports
from quantum_suite.services.knowledge.interface import Reference, Symbol
from quantum_suite.services.knowledge.parsing.decoding import MAX_FILE_BYTES, NotText, decode
from quantum_suite.services.knowledge.source_lines import masked_lines
from quantum_suite.services.knowledge.words.subtokens import parts_of
from quantum_suite.services.knowledge.workspace import Workspace

_LINE_CHARS = 200
_MANY = 500
_NAME_CHARS = 300


async def find_symbol(workspace: Workspace, name: str, limit: int) -> list[Symbol]:
    """Return definitions: of exactly this name, then by qualified name's end, then by prefix and parts."""
    dotted = _dotted(name)
    await workspace.refresh()
    return await workspace.database.read(lambda db: _found(db, dotted, limit))


async def find_references(workspace: Workspace, name: str, limit: int) -> list[Reference]:
    """Return where a symbol is used, certain uses first, then by path and line."""
    dotted = _dotted(name)
    await workspace.refresh()
    last = dotted.rpartition(".")[2]

    def read(db: sqlite3.Connection) -> tuple[list[Symbol], list[UsingFile]]:
        return symbols_where(db, "s.name = ?", (last,), _MANY), uses_of(db, last)

    symbols, files = await workspace.database.read(read)
    meant = [one for one in symbols if _ends_with(one.qualified_name, dotted)]
    uses = sorted(_judged(last, symbols, meant, files), key=lambda item: (not item[1], item[0].path, item[0].line))
    return await anyio.to_thread.run_sync(_shown, workspace.folder.root, uses[:limit])


def _dotted(name: str) -> str:
    dotted = name.strip().replace("::", ".").replace("#", ".").replace("->", ".").removesuffix("()").strip(".")
    if not dotted or len(dotted) > _NAME_CHARS:
        raise CallerError(
            "The name is empty." if not dotted else "The name is too long.",
            "Give a name such as parse_file, or a qualified one such as Parser.parse_file.",
            argument="name",
        )
    return dotted


def _found(db: sqlite3.Connection, name: str, limit: int) -> list[Symbol]:
    last = name.rpartition(".")[2]
    found: dict[tuple[str, int, str], Symbol] = {}

    def add(symbols: Sequence[Symbol]) -> None:
        for one in symbols:
            found.setdefault((one.path, one.line, one.qualified_name), one)

    same = symbols_where(db, "s.folded = ?", (last.lower(),), _MANY)
    add([one for one in same if one.qualified_name == name or one.name == name])
    add([one for one in same if _ends_with(one.qualified_name, name)])
    add([one for one in same if one.qualified_name.lower().endswith(name.lower())])
    if len(found) < limit and "." not in name:
        first = name.lower()
        add(symbols_where(db, "s.folded >= ? AND s.folded < ?", (first, first + "\U0010ffff"), limit))
    if len(found) < limit and "." not in name:
        words = parts_of(name)[1:] or parts_of(name)
        condition = " AND ".join("instr(s.folded, ?) > 0" for _ in words)
        add(symbols_where(db, condition, words, limit))
    return list(found.values())[:limit]


def _ends_with(qualified_name: str, name: str) -> bool:
    return qualified_name == name or qualified_name.endswith(f".{name}")


def _judged(
    name: str, symbols: Sequence[Symbol], meant: Sequence[Symbol], files: Sequence[UsingFile]
) -> Iterator[tuple[Use, bool]]:
    """Yield each use and whether it certainly means one of `meant`, and no other of the same name."""
    paths = {one.path for one in symbols}
    asked = {(one.path, one.qualified_name) for one in meant}
    for file in files:
        imports = read_imports(file.imports)
        tied = {path for path in paths if is_tied(name, file.path, file.language, imports, path)}
        candidates = {(one.path, one.qualified_name) for one in symbols if one.path in tied}
        certain = bool(candidates) and candidates <= asked
        for use in file.uses:
            yield use, certain


def _shown(root: Path, uses: Sequence[tuple[Use, bool]]) -> list[Reference]:
    lines: Mapping[str, list[str]] = {path: _lines(root, path) for path in {use.path for use, _ in uses}}
    shown = []
    for use, certain in uses:
        text = lines[use.path][use.line - 1] if use.line <= len(lines[use.path]) else ""
        # The index counts bytes, people count characters.
        column = len(text.encode("utf-8", "replace")[: use.column].decode("utf-8", "replace")) + 1
        shown.append(Reference(use.path, use.line, column, text.strip()[:_LINE_CHARS], use.within, certain))
    return shown


def _lines(root: Path, path: str) -> list[str]:
    try:
        with (root / path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        return masked_lines(decode(data).text).split("\n")
    except (OSError, NotText):
        return []
