"""Files put into the index, and taken out of it. Runs in worker processes, each call within a transaction."""

import json
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from quantum_suite.services.knowledge.files.stamps import Seen
from quantum_suite.services.knowledge.index.database import MADE_BY, fact, set_fact, words_table
from quantum_suite.services.knowledge.interface import Chunk, ParsedFile
from quantum_suite.services.knowledge.parsing.languages import is_document
from quantum_suite.services.knowledge.words.subtokens import split_text

_MANY_CHUNKS = 20_000
_COMMON = 0.12
PLACE = struct.Struct("<III")
"""A use of a name: line from 1, column in bytes from 0, 1 + the ordinal of the symbol around it, or 0."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file as a worker read it: parsed, or with the reason why not."""

    path: str
    language: str
    seen: Seen
    digest: bytes
    lines: int
    parsed: ParsedFile | None
    reason: str | None


def save(db: sqlite3.Connection, files: Iterable[tuple[ReadFile, Sequence[tuple[str, str, str]]]]) -> None:
    """Put files into the index in place of what it knew of them; each comes with the words of its chunks."""
    for file, words in files:
        models = _forget(db, file.path)
        file_id = _add_file(db, file)
        if file.parsed is not None:
            _add_chunks(db, file_id, file.parsed, words, models)
            _add_symbols(db, file_id, file.parsed)
            db.executemany(
                "INSERT INTO uses VALUES (?, ?, ?)",
                ((name, file_id, places) for name, places in _uses(file.parsed)),
            )


def forget(db: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Take files out of the index."""
    for path in paths:
        _forget(db, path)


def touch(db: sqlite3.Connection, path: str, seen: Seen) -> None:
    """Note that a file was seen again with the content it is indexed with."""
    stamp = seen.stamp
    db.execute(
        "UPDATE files SET size = ?, modified_ns = ?, changed_ns = ?, inode = ?, seen_ns = ? WHERE path = ?",
        (stamp.size, stamp.modified_ns, stamp.changed_ns, stamp.inode, seen.seen_ns, path),
    )


def tidy(db: sqlite3.Connection) -> None:
    """Drop the uses of names in files that are gone, once they are many."""
    (dead,) = db.execute("SELECT coalesce(max(id), 0) - count(*) FROM files").fetchone()
    tidied = int(fact(db, "tidied") or 0)
    (alive,) = db.execute("SELECT count(*) FROM files").fetchone()
    if (dead - tidied) * 4 > alive:
        db.execute("DELETE FROM uses WHERE file NOT IN (SELECT id FROM files)")
        set_fact(db, "tidied", str(dead))


def note_common_words(db: sqlite3.Connection) -> None:
    """Note the words that stand in so many chunks that they say little, and cost much to look for."""
    for document in (False, True):
        table = words_table(document=document)
        (chunks,) = db.execute("SELECT count(*) FROM chunks WHERE is_document = ?", (int(document),)).fetchone()
        common: dict[str, int] = {}
        if chunks >= _MANY_CHUNKS:
            db.execute(f"CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab('main', '{table}', 'row')")
            found = db.execute("SELECT term, doc FROM temp.vocabulary WHERE doc > ?", (int(_COMMON * chunks),))
            common = dict(found.fetchall())
            db.execute("DROP TABLE temp.vocabulary")
        set_fact(db, f"common_{table}", json.dumps(common))


def chunk_words(chunk: Chunk) -> tuple[str, str, str]:
    """Return what a chunk is found by: words of its name and place, of what is written about it, of itself."""
    return _words(chunk.path, chunk.qualified_name, chunk.signature, chunk.docstring, chunk.text)


def _words(path: str, qualified_name: str, signature: str, docstring: str, text: str) -> tuple[str, str, str]:
    return split_text(f"{path} {qualified_name}"), split_text(f"{signature}\n{docstring}"), split_text(text)


def _forget(db: sqlite3.Connection, path: str) -> dict[str, str]:
    """Take a file out; returns which of its chunks have a vector, and of which model."""
    row = db.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
    if row is None:
        return {}
    (file_id,) = row
    chunks = db.execute(
        "SELECT id, key, qualified_name, signature, docstring, text, is_document, model FROM chunks"
        " WHERE file = ?",
        (file_id,),
    ).fetchall()
    # The words of a chunk are not kept: to take them out, they are told again, and come from the same function.
    for id_, _, name, signature, docs, text, is_doc, _ in chunks:
        table = words_table(document=bool(is_doc))
        db.execute(
            f"INSERT INTO {table} ({table}, rowid, name, docs, body) VALUES ('delete', ?, ?, ?, ?)",  # noqa: S608  # constant names
            (id_, *_words(path, name, signature, docs, text)),
        )
    with_vector = [(key, is_doc, model) for _, key, _, _, _, _, is_doc, model in chunks if model is not None]
    db.executemany(
        "INSERT OR REPLACE INTO orphans VALUES (?, ?)", ((key, is_doc) for key, is_doc, _ in with_vector)
    )
    db.execute("DELETE FROM chunks WHERE file = ?", (file_id,))
    db.execute("DELETE FROM symbols WHERE file = ?", (file_id,))
    # Uses stay behind until the index is tidied: ids of files are never given twice, so nobody finds them.
    db.execute("DELETE FROM files WHERE id = ?", (file_id,))
    return {key: model for key, _, model in with_vector}


def _add_file(db: sqlite3.Connection, file: ReadFile) -> int:
    stamp = file.seen.stamp
    parsed = file.parsed
    cursor = db.execute(
        "INSERT INTO files (path, language, size, modified_ns, changed_ns, inode, seen_ns, digest, lines, errors,"
        " imports, reason, made_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            file.path,
            parsed.language if parsed is not None else file.language,
            stamp.size,
            stamp.modified_ns,
            stamp.changed_ns,
            stamp.inode,
            file.seen.seen_ns,
            file.digest,
            file.lines,
            parsed.errors if parsed is not None else 0,
            json.dumps(parsed.imports) if parsed is not None else "[]",
            file.reason,
            MADE_BY,
        ),
    )
    return cursor.lastrowid or 0


def _add_chunks(
    db: sqlite3.Connection,
    file_id: int,
    parsed: ParsedFile,
    words: Sequence[tuple[str, str, str]],
    models: dict[str, str],
) -> None:
    document = is_document(parsed.language)
    add_words = f"INSERT INTO {words_table(document=document)} (rowid, name, docs, body) VALUES (?, ?, ?, ?)"  # noqa: S608  # constant names
    for chunk, found_by in zip(parsed.chunks, words, strict=True):
        cursor = db.execute(
            "INSERT INTO chunks (key, file, kind, name, qualified_name, signature, docstring, start_line,"
            " end_line, text, is_document, model) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                chunk.id,
                file_id,
                chunk.kind,
                chunk.name,
                chunk.qualified_name,
                chunk.signature,
                chunk.docstring,
                chunk.start_line,
                chunk.end_line,
                chunk.text,
                int(document),
                models.get(chunk.id),
            ),
        )
        db.execute(add_words, (cursor.lastrowid, *found_by))
    if models:
        kept = [(chunk.id,) for chunk in parsed.chunks if chunk.id in models]
        db.executemany("DELETE FROM orphans WHERE key = ?", kept)


def _add_symbols(db: sqlite3.Connection, file_id: int, parsed: ParsedFile) -> None:
    db.executemany(
        "INSERT INTO symbols (file, ordinal, name, folded, qualified_name, kind, line, end_line, signature)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                file_id,
                number,
                one.name,
                one.name.lower(),
                one.qualified_name,
                one.kind,
                one.line,
                one.end_line,
                one.signature,
            )
            for number, one in enumerate(parsed.symbols)
        ),
    )


def _uses(parsed: ParsedFile) -> Iterator[tuple[str, bytes]]:
    ordinals: dict[str, int] = {}
    for number, symbol in enumerate(parsed.symbols):
        ordinals.setdefault(symbol.qualified_name, number + 1)
    grouped: dict[str, list[bytes]] = {}
    pack = PLACE.pack
    for name, line, column, within in parsed.references:
        grouped.setdefault(name, []).append(pack(line, column, ordinals.get(within, 0)))
    for name in sorted(grouped):
        yield name, b"".join(grouped[name])
