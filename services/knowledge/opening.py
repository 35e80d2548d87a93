"""Puts the knowledge service together."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from quantum_suite.services.knowledge.embed_chunks import Meaning
from quantum_suite.services.knowledge.embedding.opening import open_embedding
from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.service import LocalKnowledge
from quantum_suite.services.knowledge.vectors.opening import open_vectors

_PARSERS = 2


@asynccontextmanager
async def open_knowledge(
    directory: Path,
    *,
    embedding: str = "onnx-minilm",
    vectors: str = "auto",
    environ: Mapping[str, str],
    parsers: Parsers | None = None,
) -> AsyncIterator[LocalKnowledge]:
    """Open the indexes in `directory`. Cheap: no process is started and no file opened before the first call.

    `embedding` and `vectors` are settings, as `open_embedding` and `open_vectors` read them; with packages missing
    for them, search goes by words and symbols and says so. Raises ConfigurationError for a setting that cannot be
    used, and Unavailable when a database that holds vectors is away. On leaving, what is under way is cancelled:
    what it did stays.
    """
    async with AsyncExitStack() as stack:
        embedded_by = await stack.enter_async_context(open_embedding(embedding, environ))
        kept_in = await stack.enter_async_context(open_vectors(vectors, directory / "vectors"))
        meaning = Meaning(embedded_by.embedder, kept_in.store, embedded_by.reason or kept_in.reason)
        workers = await stack.enter_async_context(parsers if parsers is not None else Parsers(_PARSERS))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        knowledge = LocalKnowledge(directory, workers, meaning, tasks)
        stack.callback(knowledge.close)
        stack.callback(tasks.cancel_scope.cancel)
        yield knowledge
