"""How settings choose what embeds text, and where vectors are kept."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantum_suite.core.errors import ConfigurationError, EngineError, Unavailable
from quantum_suite.services.knowledge.embedding.hashing import HashingEmbedder
from quantum_suite.services.knowledge.embedding.opening import open_embedding
from quantum_suite.services.knowledge.embedding.query_cache import QueryCache
from quantum_suite.services.knowledge.embedding_text import embedding_text
from quantum_suite.services.knowledge.interface import VectorRecord
from quantum_suite.services.knowledge.vectors.opening import open_vectors

pytestmark = pytest.mark.anyio


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Have these packages look as if they were not installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in packages else real(name, *more)
    )


@pytest.mark.parametrize(
    ("setting", "model", "dimensions"),
    [
        ("onnx-minilm", "all-MiniLM-L6-v2-int8-8199be6f-128t", 384),
        ("hashing", "hashing-256", 256),
        ("openai+https://host/v1?model=text-embedding-3-small&dimensions=512&shorten=yes", "host/", 512),
        (
            "openai+http://127.0.0.1:11434/v1?model=nomic&dimensions=768&max_characters=2000",
            "127.0.0.1/nomic",
            768,
        ),
    ],
)
async def test_a_setting_opens_what_it_names_without_loading_it(setting: str, model: str, dimensions: int) -> None:
    async with open_embedding(setting, {}) as embedding:
        assert embedding.embedder is not None
        assert embedding.embedder.model.startswith(model)
        assert embedding.embedder.dimensions == dimensions
        assert embedding.reason == ""


async def test_none_says_how_it_is_turned_on() -> None:
    async with open_embedding("none", {}) as embedding:
        assert embedding.embedder is None
        assert "onnx-minilm turns it on" in embedding.reason


@pytest.mark.parametrize(
    ("setting", "package", "extra"),
    [
        ("onnx-minilm", "onnxruntime", "knowledge"),
        ("sentence-transformers:x?dimensions=3", "sentence_transformers", "sentence-transformers"),
    ],
)
async def test_missing_packages_are_a_reason_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, setting: str, package: str, extra: str
) -> None:
    without(monkeypatch, package)
    async with open_embedding(setting, {}) as embedding:
        assert embedding.embedder is None
        assert package in embedding.reason
        assert f'pip install "quantum-suite[{extra}]"' in embedding.reason


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("", "no way to embed"),
        ("word2vec", "no way to embed"),
        ("sentence-transformers:", "no way to embed"),
        ("sentence-transformers:/no/folder", "dimensions=N"),
        ("sentence-transformers:/no/folder?size=3", "no option 'size'"),
        ("openai+https://host/v1?dimensions=3", "model=NAME"),
        ("openai+https:///v1?model=m&dimensions=3", "needs a host"),
        ("openai+https://host/v1?model=m", "needs dimensions=N"),
        ("openai+https://host/v1?model=m&dimensions=-3", "no whole number over 0"),
        ("openai+https://host/v1?model=m&dimensions=3&shorten=perhaps", "neither yes nor no"),
        ("openai+https://host/v1?model=m&dimensions=3&key=abc", "no option 'key'"),
        ("openai+https://host/v1?model=m&dimensions=3&key_env=NOT_SET", "NOT_SET"),
        ("openai+https://user:sk-hidden@host/v1?model=m&dimensions=3", "key_env=NAME"),
    ],
)
async def test_a_setting_that_cannot_be_used_says_what_is_wrong(setting: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        async with open_embedding(setting, {}):
            pass
    assert "sk-hidden" not in str(raised.value)


async def test_a_model_folder_says_how_long_its_vectors_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384}))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: real("json" if name == "sentence_transformers" else name, *more),
    )
    async with open_embedding(f"sentence-transformers:{tmp_path}", {}) as embedding:
        assert embedding.embedder is not None
        assert embedding.embedder.dimensions == 384
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "config.json").write_text(json.dumps({"out_features": 128}))
    async with open_embedding(f"sentence-transformers:{tmp_path}", {}) as embedding:
        assert embedding.embedder is not None
        assert embedding.embedder.dimensions == 128


async def test_a_model_that_cannot_be_loaded_is_an_error_of_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    if real("sentence_transformers") is None:
        # The check is passed, and the process finds the package missing: it says so and ends nothing else.
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: real("json"))
    async with open_embedding(f"sentence-transformers:{tmp_path}?dimensions=3", {}) as embedding:
        assert embedding.embedder is not None
        with pytest.raises((EngineError, ConfigurationError)):
            await embedding.embedder.embed(["text"])


async def test_the_same_query_is_embedded_once_and_documents_always() -> None:
    asked: list[str] = []

    class Counting(HashingEmbedder):
        async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
            asked.extend(texts)
            return await super().embed(texts, query=query)

    cache = QueryCache(Counting(16), size=2)
    first = await cache.embed(["a", "b", "a"], query=True)
    assert await cache.embed(["a"], query=True) == [first[0]]
    assert asked == ["a", "b"]
    await cache.embed(["c"], query=True)
    await cache.embed(["b"], query=True)
    assert asked == ["a", "b", "c", "b"]
    await cache.embed(["c"])
    assert asked[-1] == "c"
    await cache.rest()


@pytest.mark.parametrize("setting", ["memory:", "sqlite:", "sqlite:///{}/own.db"])
async def test_vectors_are_kept_where_the_setting_says(tmp_path: Path, setting: str) -> None:
    async with open_vectors(setting.format(str(tmp_path)[1:]), tmp_path / "default") as vectors:
        assert vectors.store is not None
        await vectors.store.put("c", [VectorRecord("x", [1.0, 0.0], "a")])
        assert await vectors.store.ids("c") == {"x"}
    assert (tmp_path / "own.db").exists() == ("own" in setting)
    assert (tmp_path / "default" / "vectors.db").exists() == (setting == "sqlite:")


async def test_vectors_are_kept_in_chroma_where_it_is_installed_else_in_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_vectors("auto", tmp_path) as vectors:
        assert type(vectors.store).__name__ == "ChromaVectorStore"
    without(monkeypatch, "chromadb")
    async with open_vectors("auto", tmp_path) as vectors:
        assert type(vectors.store).__name__ == "SqliteVectorStore"
    without(monkeypatch, "chromadb", "numpy")
    for setting in ("auto", "chroma:", "chroma+http://127.0.0.1:1", "sqlite:"):
        async with open_vectors(setting, tmp_path) as vectors:
            assert vectors.store is None
            assert 'pip install "quantum-suite[knowledge]"' in vectors.reason


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("faiss:", "no place for vectors"),
        ("chroma+http:", "no place for vectors"),
        ("sqlite://host/file", "names a host"),
        ("chroma:relative", "no full path"),
    ],
)
async def test_a_place_that_cannot_be_used_says_what_is_wrong(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        async with open_vectors(setting, tmp_path):
            pass


async def test_a_database_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        async with open_vectors("postgresql://nobody:hidden@127.0.0.1:1/none", tmp_path):
            pass


def test_a_chunk_is_embedded_with_what_its_source_does_not_say() -> None:
    source = 'def pay(self, amount):\n    """Take money."""\n    return amount'
    assert embedding_text("a.py", "pay", "Take money.", source, is_document=False) == source
    method = embedding_text("a.py", "Till.pay", "Take money.", source, is_document=False)
    assert method == f"Till\n{source}"
    go = embedding_text("a.go", "Pay", "Pay takes money.\nOr not.", "func Pay() {}", is_document=False)
    assert go == "Pay takes money.\nOr not.\nfunc Pay() {}"
    section = embedding_text("docs/a.md", "Guide > Money", "", "How to pay.", is_document=True)
    assert section == "docs/a.md\nGuide > Money\nHow to pay."
    assert len(embedding_text("a.py", "x", "", "y" * 10_000, is_document=False)) == 2_000
