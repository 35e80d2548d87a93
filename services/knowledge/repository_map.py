"""The symbols of a code base that matter most, within a budget of tokens."""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantum_suite.core.errors import CallerError
from quantum_suite.services.knowledge.index.reading import SYMBOL_COLUMNS
from quantum_suite.services.knowledge.interface import RepositoryMap, Symbol
from quantum_suite.services.knowledge.workspace import Workspace

MIN_BUDGET, MAX_BUDGET = 100, 50_000
_CHARS_A_TOKEN = 4
_LINE_CHARS = 160
_CANDIDATES = 20_000
_GIVE_UP = 50
"""So many symbols in a row that do not fit, and the map is full."""
_SHOWN_KINDS = "'class', 'interface', 'struct', 'trait', 'enum', 'module', 'type', 'function', 'method', 'macro'"
_FOCUS, _USED, _USING = 1.0, 0.5, 0.25
"""What a symbol gains in a focused file, by being used there, and in files that use what is focused on."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: int
    file: int
    symbol: Symbol


async def repository_map(workspace: Workspace, token_budget: int, focus: Sequence[str]) -> RepositoryMap:
    """Return the map. Raises CallerError for a budget out of bounds or a focus that is nowhere."""
    if not MIN_BUDGET <= token_budget <= MAX_BUDGET:
        raise CallerError(
            f"token_budget is {token_budget}.", f"Give {MIN_BUDGET} to {MAX_BUDGET}.", argument="token_budget"
        )
    await workspace.refresh()
    return await workspace.database.read(lambda db: _drawn(db, token_budget, focus))


def _drawn(db: sqlite3.Connection, token_budget: int, focus: Sequence[str]) -> RepositoryMap:
    (total,) = db.execute(f"SELECT count(*) FROM symbols WHERE kind IN ({_SHOWN_KINDS})").fetchone()  # noqa: S608  # constant
    gains = _gains(db, focus) if focus else {}
    candidates = _candidates(db, gains)
    ranked = sorted(
        candidates, key=lambda one: (-one.symbol.rank - gains.get(one.id, 0.0), one.symbol.path, one.symbol.line)
    )
    chosen = _chosen(ranked, token_budget * _CHARS_A_TOKEN)
    text = _text(chosen)
    return RepositoryMap(
        text=text,
        tokens=-(-len(text) // _CHARS_A_TOKEN),
        files=len({one.symbol.path for one in chosen}),
        symbols=len(chosen),
        omitted_symbols=total - len(chosen),
    )


def _candidates(db: sqlite3.Connection, gains: Mapping[int, float]) -> list[_Candidate]:
    rows = db.execute(
        f"SELECT s.id, s.file, {SYMBOL_COLUMNS} FROM symbols s JOIN files f ON f.id = s.file"  # noqa: S608  # constants
        f" WHERE s.kind IN ({_SHOWN_KINDS}) ORDER BY s.rank DESC LIMIT ?",
        (_CANDIDATES,),
    ).fetchall()
    found = {row[0]: row for row in rows}
    for one in gains.keys() - found.keys():
        row = db.execute(
            f"SELECT s.id, s.file, {SYMBOL_COLUMNS} FROM symbols s JOIN files f ON f.id = s.file"  # noqa: S608  # constants
            f" WHERE s.id = ? AND s.kind IN ({_SHOWN_KINDS})",
            (one,),
        ).fetchone()
        if row is not None:
            found[one] = row
    return [_Candidate(row[0], row[1], Symbol(*row[2:])) for row in found.values()]


def _gains(db: sqlite3.Connection, focus: Sequence[str]) -> dict[int, float]:
    files, names = _focused(db, focus)
    gains: dict[int, float] = defaultdict(float)
    for file in files:
        for id_, name in db.execute("SELECT id, name FROM symbols WHERE file = ?", (file,)).fetchall():
            gains[id_] += _FOCUS if not names or name in names else _USED
    for file in files:
        used = db.execute(
            "SELECT s.id, (SELECT count(*) FROM symbols o WHERE o.folded = s.folded) FROM uses u"
            " JOIN symbols s ON s.folded = lower(u.name) AND s.name = u.name WHERE u.file = ? LIMIT 5000",
            (file,),
        ).fetchall()
        for id_, same in used:
            gains[id_] += _USED / same
    for name in names:
        for (file,) in db.execute("SELECT file FROM uses WHERE name = ? LIMIT 200", (name,)).fetchall():
            for (id_,) in db.execute("SELECT id FROM symbols WHERE file = ? LIMIT 50", (file,)).fetchall():
                gains[id_] += _USING / 50
    return gains


def _focused(db: sqlite3.Connection, focus: Sequence[str]) -> tuple[set[int], set[str]]:
    """Return the files that are meant, and the names of the symbols that are."""
    files: set[int] = set()
    names: set[str] = set()
    for one in focus:
        place = one.removeprefix("./").rstrip("/")
        found = db.execute(
            "SELECT id FROM files WHERE path = ? OR substr(path, 1, ?) = ? LIMIT 200",
            (place, len(place) + 1, f"{place}/"),
        ).fetchall()
        if not found:
            name = one.replace("::", ".").rpartition(".")[2]
            found = db.execute("SELECT DISTINCT file FROM symbols WHERE name = ? LIMIT 50", (name,)).fetchall()
            names.add(name)
        if not found:
            raise CallerError(
                f"'{one[:100]}' is neither an indexed file or folder nor a symbol.",
                "Give paths relative to the workspace, or names as find_symbol returns them.",
                argument="focus",
            )
        files.update(file for (file,) in found)
    return files, names


def _chosen(ranked: Sequence[_Candidate], budget: int) -> list[_Candidate]:
    """Return the first that fit: each costs its line, and its file's once."""
    chosen: list[_Candidate] = []
    paths: set[str] = set()
    left, failed = budget, 0
    for one in ranked:
        cost = len(_line(one.symbol)) + (0 if one.symbol.path in paths else len(one.symbol.path) + 2)
        if cost > left:
            failed += 1
            if failed >= _GIVE_UP:
                break
            continue
        failed = 0
        left -= cost
        paths.add(one.symbol.path)
        chosen.append(one)
    return chosen


def _text(chosen: Sequence[_Candidate]) -> str:
    """Return files in the order of their best symbol, symbols in the order of their lines."""
    by_path: dict[str, list[Symbol]] = {}
    for one in chosen:
        by_path.setdefault(one.symbol.path, []).append(one.symbol)
    parts = []
    for path, symbols in by_path.items():
        parts.append(f"{path}\n" + "".join(_line(one) for one in sorted(symbols, key=lambda one: one.line)))
    return "\n".join(parts)


def _line(symbol: Symbol) -> str:
    depth = symbol.qualified_name.count(".")
    return f"{'  ' * min(depth + 1, 5)}{symbol.signature[:_LINE_CHARS] or symbol.name}  :{symbol.line}\n"
