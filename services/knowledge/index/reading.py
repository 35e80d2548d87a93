"""What the index is asked: its files, chunks by words, symbols, and uses of names. Each call reads within one
transaction."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quantum_suite.services.knowledge.files.stamps import Seen, Stamp
from quantum_suite.services.knowledge.index.database import fact, words_table
from quantum_suite.services.knowledge.index.writing import PLACE
from quantum_suite.services.knowledge.interface import Chunk, Symbol
from quantum_suite.services.knowledge.words.subtokens import query_words

_NAME_WEIGHT, _DOCS_WEIGHT, _BODY_WEIGHT = 4.0, 2.0, 1.0
_MOST_WORDS = 24
_MOST_COMMON = 2
_SCORED_CHUNKS = 4_000
"""Chunks a question has scored, about: a BM25 score takes 2 us, to step over a chunk 0.1 us."""
_IN_BATCH = 400


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as the index has it."""

    seen: Seen
    reason: str | None
    made_by: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an index holds."""

    files: int
    chunks: int
    symbols: int
    languages: dict[str, int]
    not_indexed: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which chunks a search is about."""

    documents: bool
    path_prefix: str = ""
    language: str | None = None

    def condition(self) -> tuple[str, list[object]]:
        """Return the SQL for the tables `chunks` c and `files` f, and its values."""
        parts, values = ["c.is_document = ?"], [int(self.documents)]
        conditions: list[object] = [*values]
        if self.path_prefix:
            parts.append("substr(f.path, 1, ?) = ?")
            conditions += [len(self.path_prefix), self.path_prefix]
        if self.language is not None:
            parts.append("f.language = ?")
            conditions.append(self.language)
        return " AND ".join(parts), conditions

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves out chunks of its kind."""
        return bool(self.path_prefix) or self.language is not None


def generation(db: sqlite3.Connection) -> int:
    """Return a number that rises with every change of files, chunks and symbols; -1 where nothing was indexed."""
    return int(fact(db, "generation") or 0) if fact(db, "root") is not None else -1


def known_files(db: sqlite3.Connection) -> dict[str, KnownFile]:
    """Return every file the index knows, by path."""
    rows = db.execute(
        "SELECT path, size, modified_ns, changed_ns, inode, seen_ns, reason, made_by, digest FROM files"
    )
    return {
        path: KnownFile(Seen(Stamp(size, modified, changed, inode), seen), reason, made_by, digest)
        for path, size, modified, changed, inode, seen, reason, made_by, digest in rows
    }


def counts(db: sqlite3.Connection) -> Counts:
    """Return how much the index holds."""
    languages = dict(
        db.execute(
            "SELECT language, count(*) FROM files WHERE reason IS NULL GROUP BY language ORDER BY 2 DESC, 1"
        )
    )
    (chunks,) = db.execute("SELECT count(*) FROM chunks").fetchone()
    (symbols,) = db.execute("SELECT count(*) FROM symbols").fetchone()
    refused = db.execute("SELECT path, reason FROM files WHERE reason IS NOT NULL ORDER BY path").fetchall()
    return Counts(sum(languages.values()), chunks, symbols, languages, refused)


def without_vector(db: sqlite3.Connection) -> int:
    """Return how many chunks have no vector."""
    return int(db.execute("SELECT count(*) FROM chunks WHERE model IS NULL").fetchone()[0])


def by_words(db: sqlite3.Connection, query: str, scope: Scope, limit: int) -> list[tuple[str, float]]:
    """Return (chunk, BM25 score), best first; higher is better."""
    table = words_table(document=scope.documents)
    words = _telling(query_words(query)[:_MOST_WORDS], json.loads(fact(db, f"common_{table}") or "{}"))
    if not words:
        return []
    ranking = f"bm25({table}, {_NAME_WEIGHT}, {_DOCS_WEIGHT}, {_BODY_WEIGHT})"
    if not scope.is_narrow:
        among, asked = "", [_any_of(words)]
        if (rarest := _rarest(db, table, words)) != words:
            # The plus keeps SQLite from asking the index once for each chunk.
            among = f" AND +rowid IN (SELECT rowid FROM {table} WHERE {table} MATCH ?)"  # noqa: S608  # constant names
            asked.append(_any_of(rarest))
        rows = db.execute(
            f"SELECT c.key, w.score FROM (SELECT rowid AS id, {ranking} AS score FROM {table}"  # noqa: S608  # constant names
            f" WHERE {table} MATCH ?{among} ORDER BY score LIMIT ?) w JOIN chunks c ON c.id = w.id"
            " ORDER BY w.score",
            (*asked, limit),
        )
        return [(key, -score) for key, score in rows]
    condition, values = scope.condition()
    rows = db.execute(
        f"SELECT c.key, {ranking} AS score FROM {table} w JOIN chunks c ON c.id = w.rowid"  # noqa: S608  # constant names
        f" JOIN files f ON f.id = c.file WHERE {table} MATCH ? AND {condition} ORDER BY score LIMIT ?",
        (_any_of(words), *values, limit),
    )
    return [(key, -score) for key, score in rows]


def _rarest(db: sqlite3.Connection, table: str, words: list[str]) -> list[str]:
    """Return the words a chunk must have one of to be scored: the rarest, as many as bound what is scored.

    Who is scored is scored by all the words; what has none of the rarest would hardly come among the first.
    """
    count = f"SELECT count(*) FROM {table} WHERE {table} MATCH ?"  # noqa: S608  # constant names
    chunks = {word: int(db.execute(count, (_any_of([word]),)).fetchone()[0]) for word in words}
    total, chosen = 0, set[str]()
    for word in sorted((word for word in words if chunks[word]), key=lambda word: chunks[word]):
        total += chunks[word]
        if chosen and total > _SCORED_CHUNKS:
            return [word for word in words if word in chosen]
        chosen.add(word)
    return words


def _any_of(words: Sequence[str]) -> str:
    """Return what FTS5 is asked to find chunks with one of the words."""
    return " OR ".join(f'"{word}"' for word in words)


def _telling(words: list[str], common: Mapping[str, int]) -> list[str]:
    """Return the words worth looking for: common ones only where there are no others, and few of them."""
    # The index knows the stems of words; a common stem is a common word's beginning.
    found = {word: _occurrences(word, common) for word in words}
    rare = [word for word in words if not found[word]]
    return rare or sorted(words, key=lambda word: found[word])[:_MOST_COMMON]


def _occurrences(word: str, common: Mapping[str, int]) -> int:
    return max(
        (common[word[:end]] for end in range(len(word), max(2, len(word) - 4), -1) if word[:end] in common),
        default=0,
    )


def by_symbol(db: sqlite3.Connection, names: Iterable[str], scope: Scope, limit: int) -> list[str]:
    """Return the chunks that define one of `names` (plain or qualified), best rank first."""
    condition, values = scope.condition()
    found: list[tuple[float, str]] = []
    for name in names:
        last = name.rpartition(".")[2]
        rows = db.execute(
            "SELECT max(s.rank), c.key FROM symbols s JOIN chunks c ON c.file = s.file AND c.name = s.name"  # noqa: S608  # built from constants
            " AND c.qualified_name = s.qualified_name JOIN files f ON f.id = c.file"
            f" WHERE s.folded = ? AND (s.qualified_name = ? OR s.qualified_name LIKE ? ESCAPE '\\' OR ? = ?)"
            f" AND {condition} GROUP BY c.key ORDER BY 1 DESC LIMIT ?",
            (last.lower(), name, f"%.{_literally(name)}", name, last, *values, limit),
        )
        found += rows.fetchall()
    return list(dict.fromkeys(key for _, key in sorted(found, reverse=True)))[:limit]


def chunks_of(db: sqlite3.Connection, keys: Sequence[str], scope: Scope | None = None) -> dict[str, Chunk]:
    """Return chunks by their ids; those outside `scope` and those that are gone are left out."""
    condition, values = scope.condition() if scope is not None else ("1", [])
    found: dict[str, Chunk] = {}
    for start in range(0, len(keys), _IN_BATCH):
        part = list(keys[start : start + _IN_BATCH])
        marks = ", ".join("?" * len(part))
        rows = db.execute(
            f"SELECT c.key, f.path, f.language, c.kind, c.name, c.qualified_name, c.signature, c.docstring,"  # noqa: S608  # marks only
            f" f.imports, c.start_line, c.end_line, c.text FROM chunks c JOIN files f ON f.id = c.file"
            f" WHERE c.key IN ({marks}) AND {condition}",
            (*part, *values),
        )
        for key, path, language, kind, name, qualified, signature, docs, imports, first, last, text in rows:
            known = tuple(json.loads(imports))
            found[key] = Chunk(
                key, path, language, kind, name, qualified, signature, docs, known, first, last, text
            )
    return found


def keys_in_scope(db: sqlite3.Connection, keys: Sequence[str], scope: Scope) -> set[str]:
    """Return which of the chunks are there and within `scope`."""
    condition, values = scope.condition()
    found: set[str] = set()
    for start in range(0, len(keys), _IN_BATCH):
        part = list(keys[start : start + _IN_BATCH])
        rows = db.execute(
            f"SELECT c.key FROM chunks c JOIN files f ON f.id = c.file"  # noqa: S608  # marks only
            f" WHERE c.key IN ({', '.join('?' * len(part))}) AND {condition}",
            (*part, *values),
        )
        found.update(key for (key,) in rows)
    return found


SYMBOL_COLUMNS = "s.name, s.qualified_name, s.kind, f.path, s.line, s.end_line, s.signature, s.rank"


def symbols_where(db: sqlite3.Connection, condition: str, values: Sequence[object], limit: int) -> list[Symbol]:
    """Return symbols that meet an SQL condition on `symbols` s and `files` f, best rank first."""
    rows = db.execute(
        f"SELECT {SYMBOL_COLUMNS} FROM symbols s JOIN files f ON f.id = s.file WHERE {condition}"  # noqa: S608  # conditions are constants of the callers
        " ORDER BY s.rank DESC, f.path, s.line LIMIT ?",
        (*values, limit),
    )
    return [Symbol(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Use:
    """Where a name is used, as the index has it: line from 1, column in bytes from 0."""

    path: str
    line: int
    column: int
    within: str


@dataclass(frozen=True, slots=True)
class UsingFile:
    """A file that uses a name."""

    path: str
    language: str
    imports: tuple[str, ...]
    uses: tuple[Use, ...]


def uses_of(db: sqlite3.Connection, name: str) -> list[UsingFile]:
    """Return every use of a name, file by file."""
    rows = db.execute(
        "SELECT f.id, f.path, f.language, f.imports, u.places FROM uses u JOIN files f ON f.id = u.file"
        " WHERE u.name = ? ORDER BY f.path",
        (name,),
    ).fetchall()
    found = []
    for file, path, language, imports, places in rows:
        names: Mapping[int, str] = dict(
            db.execute("SELECT ordinal, qualified_name FROM symbols WHERE file = ?", (file,))
        )
        uses = tuple(
            Use(path, line, column, names.get(around - 1, ""))
            for line, column, around in PLACE.iter_unpack(places)
        )
        found.append(UsingFile(path, language, tuple(json.loads(imports)), uses))
    return found


def _literally(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
