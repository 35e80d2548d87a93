"""The process that reads files, parses them and writes them into the index.

It may be killed at any moment: a parser can hang, and what it writes is committed whole or not at all. Before each
file it notes which it is, so that whoever kills it knows which file is to blame.
"""

import os
import resource
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quantum_suite.services.knowledge.files.content import digest_of, read_content
from quantum_suite.services.knowledge.files.stamps import Seen, Stamp, stamp_of
from quantum_suite.services.knowledge.index.database import MADE_BY, IndexDatabase, next_generation
from quantum_suite.services.knowledge.index.ranks import rank_symbols
from quantum_suite.services.knowledge.index.writing import (
    ReadFile,
    chunk_words,
    forget,
    note_common_words,
    save,
    tidy,
    touch,
)
from quantum_suite.services.knowledge.parsing.decoding import MAX_FILE_BYTES, NotText
from quantum_suite.services.knowledge.parsing.parse_file import parse_file
from quantum_suite.services.knowledge.worker_loop import Answer, serve

MAX_MEMORY_BYTES = 4 * 1024**3
"""Of addresses, not of use: a parser that grows without end meets it."""


class IndexWorker:
    """Answers the requests of `Parsers`, within one process."""

    def __init__(self) -> None:
        self._databases: dict[str, IndexDatabase] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        database = self._database(request["database"])
        match request["do"]:
            case "index":
                return self._index(database, request)
            case "refuse":
                return self._refuse(database, request)
            case "forget":
                return self._forget(database, request["paths"])
            case "finish":
                return self._finish(database)
            case other:
                raise ValueError(f"Nothing is known of '{other}'.")

    def _database(self, path: str) -> IndexDatabase:
        database = self._databases.get(path)
        if database is None or not Path(path).exists():
            if database is not None:
                database.close()
            database = self._databases[path] = IndexDatabase(Path(path))
        return database

    def _refuse(self, database: IndexDatabase, request: Mapping[str, Any]) -> dict[str, Any]:
        """Note that a file cannot be indexed. It is tried again when it has changed."""
        path, reason = request["path"], request["reason"]
        seen = _seen(Path(request["root"]), path)
        file = ReadFile(path, request["language"], seen, b"", 0, None, reason)
        database.write_now(lambda db: _changed(db, lambda: save(db, [(file, ())])))
        return {}

    def _forget(self, database: IndexDatabase, paths: Sequence[str]) -> dict[str, Any]:
        database.write_now(lambda db: _changed(db, lambda: forget(db, paths)))
        return {}

    def _finish(self, database: IndexDatabase) -> dict[str, Any]:
        def work(db: sqlite3.Connection) -> int:
            tidy(db)
            note_common_words(db)
            symbols = rank_symbols(db)
            next_generation(db)
            return symbols

        return {"symbols": database.write_now(work)}

    def _index(self, database: IndexDatabase, request: Mapping[str, Any]) -> dict[str, Any]:
        root = Path(request["root"])
        files: Sequence[tuple[str, str]] = request["files"]
        known = database.read_now(
            lambda db: {
                path: (bytes(row[0]), row[1])
                for path, _ in files
                if (row := db.execute("SELECT digest, made_by FROM files WHERE path = ?", (path,)).fetchone())
            }
        )
        note = os.open(request["note"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        read: list[ReadFile] = []
        touched: list[ReadFile] = []
        gone: list[str] = []
        try:
            for path, language in files:
                _note(note, path)
                old = known.get(path) if path not in request.get("anew", ()) else None
                file = _read(root, path, language, old)
                if file is None:
                    gone.append(path)
                elif file.parsed is None and file.reason is None:
                    touched.append(file)
                else:
                    read.append(file)
            words = [(file, [chunk_words(c) for c in file.parsed.chunks] if file.parsed else []) for file in read]
            _note(note, "")
        finally:
            os.close(note)

        def write(db: sqlite3.Connection) -> None:
            save(db, words)
            for file in touched:
                touch(db, file.path, file.seen)
            forget(db, gone)

        database.write_now(lambda db: _changed(db, lambda: write(db)))
        return {"files": len(files), "lines": sum(file.lines for file in read)}


def _changed(db: sqlite3.Connection, work: Callable[[], None]) -> None:
    work()
    next_generation(db)


def _seen(root: Path, path: str) -> Seen:
    now = time.time_ns()
    try:
        return Seen(stamp_of((root / path).lstat()), now)
    except OSError:
        return Seen(Stamp(0, 0, 0, 0), 0)


def _note(descriptor: int, path: str) -> None:
    data = path.encode()
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)


def _read(root: Path, path: str, language: str, known: tuple[bytes, int] | None) -> ReadFile | None:
    """Read a file; None when it is gone. One with the known content comes without parts and without a reason."""
    try:
        data, seen = read_content(root, path)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return ReadFile(path, language, _seen(root, path), b"", 0, None, reason)
    digest = digest_of(data)
    if len(data) > MAX_FILE_BYTES:
        return ReadFile(path, language, seen, digest, 0, None, "grew beyond what is indexed while it was read")
    if known == (digest, MADE_BY):
        return ReadFile(path, language, seen, digest, 0, None, None)
    try:
        parsed = parse_file(path, language, data)
    except NotText as error:
        return ReadFile(path, language, seen, digest, 0, None, str(error))
    except (MemoryError, RecursionError) as error:
        return ReadFile(path, language, seen, digest, 0, None, f"the parser gave up: {type(error).__name__}")
    return ReadFile(path, language, seen, digest, data.count(b"\n"), parsed, None)


def start() -> Answer:
    """Bound this process's memory and return what answers its requests."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MAX_MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    return IndexWorker().answer


if __name__ == "__main__":
    serve(start)
