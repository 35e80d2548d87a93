"""Vectors of an index's chunks: a batch is stored whatever becomes of the next, and models are kept apart."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import EngineError, Unavailable
from quantum_suite.services.knowledge import embed_chunks
from quantum_suite.services.knowledge.embed_chunks import ChunkEmbedder, Meaning, collection_name
from quantum_suite.services.knowledge.embedding.hashing import HashingEmbedder
from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.interface import VectorRecord
from quantum_suite.services.knowledge.vectors.memory import MemoryVectorStore
from quantum_suite.services.knowledge.workspace import Workspace

pytestmark = pytest.mark.anyio

FUNCTIONS = 5


class Limited(HashingEmbedder):
    """Embeds so many times, then fails; under a name of its own."""

    def __init__(self, times: int, name: str = "limited") -> None:
        super().__init__()
        self.left, self.name = times, name

    @property
    def model(self) -> str:
        return self.name

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if not self.left:
            raise EngineError("It is out of order.", engine="limited")
        self.left -= 1
        return await super().embed(texts, query=query)


class Full(MemoryVectorStore):
    """Has no room."""

    async def put(self, collection: str, records: Sequence[VectorRecord]) -> None:
        raise Unavailable("The disk is full.")


async def indexed(workspace: Workspace) -> Workspace:
    for number in range(FUNCTIONS):
        (workspace.folder.root / f"m{number}.py").write_text(f"def one_{number}(): pass\n")
    await workspace.update(None)
    return workspace


async def test_what_was_embedded_is_stored_though_the_next_batch_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_chunks, "BATCH", 2)
    (tmp_path / "work").mkdir()
    async with Parsers(1) as parsers, anyio.create_task_group() as tasks:
        embedder, store = Limited(1), MemoryVectorStore()
        workspace = await indexed(
            Workspace(tmp_path / "work", tmp_path / "index", parsers, Meaning(embedder, store), tasks)
        )
        maker = ChunkEmbedder(workspace.folder, workspace.database, embedder, store)
        with pytest.raises(EngineError, match="out of order"):
            await maker.run()
        collection = collection_name(workspace.folder, "limited", documents=False)
        assert len(await store.ids(collection)) == 2
        assert (await workspace.status()).vectors == 2
        embedder.left = 100
        await maker.run()
        assert len(await store.ids(collection)) == FUNCTIONS
        assert (await workspace.status()).state == "ready"
        workspace.close()


async def test_a_store_without_room_is_the_error_and_no_chunk_is_said_to_have_a_vector(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    async with Parsers(1) as parsers, anyio.create_task_group() as tasks:
        embedder, store = Limited(100), Full()
        workspace = await indexed(
            Workspace(tmp_path / "work", tmp_path / "index", parsers, Meaning(embedder, store), tasks)
        )
        with pytest.raises(Unavailable, match="disk is full"):
            await ChunkEmbedder(workspace.folder, workspace.database, embedder, store).run()
        assert (await workspace.status()).vectors == 0
        workspace.close()


async def test_another_model_embeds_everything_anew_beside_what_there_was(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    async with Parsers(1) as parsers, anyio.create_task_group() as tasks:
        store = MemoryVectorStore()
        for name in ("model-256t", "model-128t"):
            embedder = Limited(100, name)
            workspace = await indexed(
                Workspace(tmp_path / "work", tmp_path / "index", parsers, Meaning(embedder, store), tasks)
            )
            await ChunkEmbedder(workspace.folder, workspace.database, embedder, store).run()
            assert embedder.left < 100
            assert (await workspace.status()).vectors == FUNCTIONS
            assert len(await store.ids(collection_name(workspace.folder, name, documents=False))) == FUNCTIONS
            workspace.close()
