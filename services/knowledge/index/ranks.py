"""Which symbols matter: PageRank over who uses whom (Brin and Page, 1998).

A definition hands its rank on to those it uses. A name alone may mean several definitions: they share, those in
the same file or in a file that is imported before others; a name that means many says nothing and is left out.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from quantum_suite.services.knowledge.index.ties import Imports, place_words, read_imports
from quantum_suite.services.knowledge.index.writing import PLACE

_DAMPING = 0.85
_ROUNDS = 20
_ENOUGH = 1e-5
_MANY = 12
_BY_NAME_ALONE = 0.1
_FAMILIES = {"javascript": "typescript", "cpp": "c"}

Targets = dict[int, dict[int, float]]


@dataclass(frozen=True, slots=True)
class _Home:
    """A file, as far as names are tied by it."""

    family: str
    words: frozenset[str]
    imports: Imports | None


def rank_symbols(db: sqlite3.Connection) -> int:
    """Give every symbol its rank; they sum to 1. Returns how many there are."""
    symbols = db.execute("SELECT id, file, ordinal, name FROM symbols").fetchall()
    if not symbols:
        return 0
    ranks = _page_rank(len(symbols), _graph(db, symbols))
    db.executemany(
        "UPDATE symbols SET rank = ? WHERE id = ?", ((ranks[i], row[0]) for i, row in enumerate(symbols))
    )
    return len(symbols)


def _graph(db: sqlite3.Connection, symbols: list[tuple[int, int, int, str]]) -> Targets:
    """Return who hands on to whom, and how much; nodes are places in `symbols`."""
    node_at = {(file, ordinal): node for node, (_, file, ordinal, _) in enumerate(symbols)}
    by_name: dict[str, list[int]] = defaultdict(list)
    for node, (_, _, _, name) in enumerate(symbols):
        by_name[name].append(node)
    homes = {file: _home(*row) for file, *row in db.execute("SELECT id, path, language, imports FROM files")}
    targets: Targets = defaultdict(lambda: defaultdict(float))
    for name, nodes in by_name.items():
        uses = [
            (file, places, *_meant(name, file, nodes, symbols, homes))
            for file, places in db.execute("SELECT file, places FROM uses WHERE name = ?", (name,))
            if file in homes
        ]
        # A name that is used in many files and tied in few, as that of a builtin, is mostly something else.
        by_name_alone = _BY_NAME_ALONE * sum(tied for _, _, _, tied in uses) / max(1, len(uses))
        for file, places, meant, tied in uses:
            if not meant or len(meant) > _MANY:
                continue
            share = (1.0 if tied else by_name_alone) / len(meant)
            for _, _, around in PLACE.iter_unpack(places):
                source = node_at.get((file, around - 1), -1)
                for node in meant:
                    if node != source:
                        targets[source][node] += share
    return targets


def _home(path: str, language: str, imports: str) -> _Home:
    family = _FAMILIES.get(language, language)
    return _Home(family, place_words(path), read_imports(json.loads(imports)) if imports != "[]" else None)


def _meant(
    name: str, file: int, nodes: list[int], symbols: list[tuple[int, int, int, str]], homes: Mapping[int, _Home]
) -> tuple[list[int], bool]:
    """Return the definitions a name may mean in a file, and whether something ties it to them."""
    if here := [node for node in nodes if symbols[node][1] == file]:
        return here, True
    own = homes[file]
    same = [node for node in nodes if homes[symbols[node][1]].family == own.family]
    if own.imports is None:
        return same, False
    near = [node for node in same if own.imports.tie(name, homes[symbols[node][1]].words)]
    return (near, True) if near else (same, False)


def _page_rank(count: int, targets: Targets) -> list[float]:
    edges = [
        (source, [(node, weight / total) for node, weight in out.items()])
        for source, out in targets.items()
        if source >= 0 and (total := sum(out.values()))
    ]
    # What is used outside of any definition is used by the file: it counts as where a walk begins.
    outside = targets.get(-1, {})
    total = sum(outside.values())
    base = [0.5 / count + 0.5 * outside.get(node, 0.0) / total if total else 1.0 / count for node in range(count)]
    ranks = base
    for _ in range(_ROUNDS):
        following = [0.0] * count
        for source, out in edges:
            rank = ranks[source]
            for node, weight in out:
                following[node] += rank * weight
        kept = _DAMPING * sum(following)
        ranks_then = [_DAMPING * value + (1.0 - kept) * base[node] for node, value in enumerate(following)]
        moved = sum(abs(now - before) for now, before in zip(ranks_then, ranks, strict=True))
        ranks = ranks_then
        if moved < _ENOUGH:
            break
    whole = sum(ranks)
    return [rank / whole for rank in ranks]
