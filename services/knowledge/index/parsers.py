"""The processes that parse, shared by all indexes: killed when they hang, and the file that did it is named."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from quantum_suite.core.errors import EngineError
from quantum_suite.services.knowledge.files.listing import ListedFile
from quantum_suite.services.knowledge.worker_process import WorkerProcess

ENGINE = "parser"
_MODULE = "quantum_suite.services.knowledge.index.worker"
_FINISH_SECONDS = 900.0
_TRIES = 2


@dataclass(frozen=True, slots=True)
class IndexFolder:
    """Where an index lives, and what it is of."""

    root: Path
    directory: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.directory / "index.sqlite3"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the index."""
        return self.directory / "index.lock"

    @property
    def vectors_lock(self) -> Path:
        """Held by whoever makes vectors."""
        return self.directory / "vectors.lock"


@dataclass(slots=True)
class Batch:
    """Files that are parsed and written together."""

    files: list[ListedFile]
    anew: frozenset[str] = field(default=frozenset())
    """Those that are parsed even if their content is the known one."""


class Parsers:
    """A fixed number of worker processes, each started on first use."""

    def __init__(self, count: int = 2, *, batch_seconds: float = 60.0) -> None:
        """A worker that needs longer than `batch_seconds` for a batch is killed."""
        self._batch_seconds = batch_seconds
        self._workers = [WorkerProcess(_MODULE, engine=ENGINE, answer_seconds=batch_seconds) for _ in range(count)]
        self._finisher = WorkerProcess(_MODULE, engine=ENGINE, answer_seconds=_FINISH_SECONDS)
        self._free = list(range(count))
        self._places = anyio.Semaphore(count)

    @property
    def count(self) -> int:
        """Return how many parse at once."""
        return len(self._workers)

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [pid for worker in (*self._workers, self._finisher) if (pid := worker.pid) is not None]

    async def index(self, folder: IndexFolder, batch: Batch) -> None:
        """Bring files up to date in the index. One that ends its parser is noted as not indexed, with the reason.

        Raises EngineError when parsers cannot be started, Unavailable when the index cannot be written.
        """
        left = batch.files
        async with self._places:
            number = self._free.pop()
            try:
                while left:
                    left = await self._attempt(number, folder, left, batch.anew)
            finally:
                self._free.append(number)

    async def forget(self, folder: IndexFolder, paths: Sequence[str]) -> None:
        """Take files out of the index."""
        await self._finisher.ask({"do": "forget", "database": str(folder.database), "paths": list(paths)})

    async def finish(self, folder: IndexFolder) -> None:
        """Rank the symbols and tidy up."""
        await self._finisher.ask({"do": "finish", "database": str(folder.database)})

    async def rest(self) -> None:
        """End the processes but one, which is kept for files that are edited."""
        for worker in (*self._workers[1:], self._finisher):
            await worker.rest()

    async def aclose(self) -> None:
        """End the processes. Idempotent, not cancellable."""
        for worker in (*self._workers, self._finisher):
            await worker.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _attempt(
        self, number: int, folder: IndexFolder, files: list[ListedFile], anew: frozenset[str]
    ) -> list[ListedFile]:
        """Index files; returns those that are left because the parser ended on another of them."""
        note = folder.directory / f"parsing-{os.getpid()}-{number}"
        request = {
            "do": "index",
            "database": str(folder.database),
            "root": str(folder.root),
            "files": [(file.path, file.language) for file in files],
            "anew": [file.path for file in files if file.path in anew],
            "note": str(note),
        }
        try:
            for attempt in range(_TRIES):
                began = anyio.current_time()
                try:
                    await self._workers[number].ask(request)
                except EngineError as error:
                    culprit = _noted(note)
                    blamed = next((file for file in files if file.path == culprit), None)
                    if blamed is not None:
                        await self._refuse(folder, blamed, self._reason(error, anyio.current_time() - began))
                        return [file for file in files if file is not blamed]
                    if attempt + 1 == _TRIES:
                        raise
                else:
                    return []
        finally:
            note.unlink(missing_ok=True)
        return []

    async def _refuse(self, folder: IndexFolder, file: ListedFile, reason: str) -> None:
        await self._finisher.ask(
            {
                "do": "refuse",
                "database": str(folder.database),
                "root": str(folder.root),
                "path": file.path,
                "language": file.language,
                "reason": reason,
            }
        )

    def _reason(self, error: EngineError, seconds: float) -> str:
        if seconds >= self._batch_seconds:
            return f"the parser was still busy with it after {self._batch_seconds:g} seconds and was stopped"
        return f"the parser ended on it: {error.message.removeprefix(f'{ENGINE}: ')}"[:300]


def _noted(note: Path) -> str:
    try:
        return note.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
