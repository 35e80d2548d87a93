"""What the models that run in a process of the suite's own have in common."""

import array
import base64
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.knowledge.worker_process import WorkerProcess

_TEXTS_A_REQUEST = 64
_TEXT_CHARACTERS = 8_000
"""More than any model reads of a text."""
_NICENESS = 10
"""Of the process that embeds documents (nice(2))."""


class WorkerEmbedder:
    """Embeds in two processes: one for queries, which stays warm and never waits behind an index being built, and
    one for documents, which gives way to others and ends when told to rest. Both start on first use.

    `module` is run with `arguments` and, last, the niceness it takes on.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        engine: str,
        model: str,
        dimensions: int,
        packages: Sequence[str],
        extra: str,
    ) -> None:
        self._queries = WorkerProcess(module, [*arguments, "0"], engine=engine)
        self._documents = WorkerProcess(module, [*arguments, str(_NICENESS)], engine=engine, answer_seconds=600)
        self._engine = engine
        self._model = model
        self._dimensions = dimensions
        self._packages = packages
        self._extra = extra

    @property
    def model(self) -> str:
        """The model's name and version."""
        return self._model

    @property
    def dimensions(self) -> int:
        """The vectors' length."""
        return self._dimensions

    @property
    def query_process(self) -> int | None:
        """Process id of the worker for queries; None where none was started."""
        return self._queries.pid

    @property
    def document_process(self) -> int | None:
        """Process id of the worker for documents; None where none was started, or it rests."""
        return self._documents.pid

    def check(self) -> None:
        """Raise EngineMissing, with the command that installs it, unless the packages are there. Imports none."""
        missing = [name for name in self._packages if importlib.util.find_spec(name) is None]
        if missing:
            raise EngineMissing(
                f"{self._engine} is not installed ({', '.join(missing)}).",
                f'Run `pip install "quantum-suite[{self._extra}]"`.',
                engine=self._engine,
            )

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return a vector a text, in order, normalised; of a long text its beginning counts.

        Raises EngineError: a process that died is started again by the next call.
        """
        self.check()
        worker = self._queries if query else self._documents
        vectors: list[list[float]] = []
        for part in _parts(texts):
            answer = await worker.ask({"texts": [_clean(text) for text in part], "query": query})
            vectors += self._unpacked(str(answer["vectors"]), len(part))
        return vectors

    async def rest(self) -> None:
        """Free the memory that embedding documents takes."""
        await self._documents.rest()

    async def aclose(self) -> None:
        """End the processes. Idempotent."""
        await self._queries.aclose()
        await self._documents.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _unpacked(self, text: str, count: int) -> list[list[float]]:
        numbers = array.array("f")
        numbers.frombytes(base64.b64decode(text))
        if sys.byteorder != "little":
            numbers.byteswap()
        if len(numbers) != count * self._dimensions:
            raise EngineError(
                f"{self._engine} returned {len(numbers)} numbers for {count} texts, not {self._dimensions} each.",
                "Configure the model's own number of dimensions.",
                engine=self._engine,
            )
        size = self._dimensions
        return [numbers[start : start + size].tolist() for start in range(0, len(numbers), size)]


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + _TEXTS_A_REQUEST] for start in range(0, len(texts), _TEXTS_A_REQUEST))


def _clean(text: str) -> str:
    """Return what a tokenizer takes: bounded, and without halves of characters, which UTF-8 has no form for."""
    return text[:_TEXT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
