"""Vectors from an endpoint: a real model server, and one that misbehaves on request."""

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from reference.backends import running
from reference.embedding_server import DIMENSIONS, EmbeddingServer
from reference.listeners import HttpListener, Received, http_listener, response

from quantum_suite.core.errors import EngineError, Unavailable
from quantum_suite.services.knowledge.embedding.openai_compatible import Endpoint, OpenAiCompatibleEmbedder
from quantum_suite.services.outbound import OutboundClient, open_outbound

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(backends_directory: Path) -> Iterator[EmbeddingServer]:
    server = EmbeddingServer(backends_directory / "embeddings")
    with running(server):
        yield server


@pytest.fixture
async def client() -> AsyncIterator[OutboundClient]:
    async with open_outbound(attempts=3, first_retry_seconds=0.01, timeout_seconds=60) as client:
        yield client


@pytest.fixture
async def listener() -> AsyncIterator[HttpListener]:
    async with http_listener() as listener:
        yield listener


def embedder_at(
    url: str, client: OutboundClient, dimensions: int = 2, **options: object
) -> OpenAiCompatibleEmbedder:
    return OpenAiCompatibleEmbedder(Endpoint(f"{url}/v1", "small", dimensions, **options), client)  # type: ignore[arg-type]  # a test's options


def answered(vector: Callable[[str], list[float]]) -> Callable[[Received], bytes]:
    """Answer as an endpoint does, in an order of its own."""

    def answer(request: Received) -> bytes:
        texts = json.loads(request.body)["input"]
        data = [{"index": number, "embedding": vector(text)} for number, text in enumerate(texts)]
        return response(200, "", json.dumps({"object": "list", "data": data[::-1]}).encode())

    return answer


def refused(status: int, message: str, headers: str = "") -> bytes:
    return response(status, headers, json.dumps({"error": {"message": message}}).encode())


async def test_a_real_model_server_gives_normalised_vectors_in_order(
    server: EmbeddingServer, client: OutboundClient
) -> None:
    embedder = embedder_at(server.url, client, DIMENSIONS)
    texts = ["read a file", "def read(path): return open(path).read()", "", "漢字 \ud800"] * 3
    vectors = await embedder.embed(texts)
    assert [len(vector) for vector in vectors] == [DIMENSIONS] * 12
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-6) for vector in vectors)
    for first, again in zip(vectors[:4], vectors[8:], strict=True):
        assert sum(a * b for a, b in zip(first, again, strict=True)) > 0.99


async def test_what_a_real_model_server_finds_too_long_is_cut_and_the_others_are_whole(
    server: EmbeddingServer, client: OutboundClient
) -> None:
    embedder = embedder_at(server.url, client, DIMENSIONS, max_characters=4_000)
    texts = ["first", "words " * 2_000, "last"]
    vectors = await embedder.embed(texts)
    [first] = await embedder.embed(["first"])
    assert len(vectors) == 3
    assert sum(a * b for a, b in zip(first, vectors[0], strict=True)) > 0.99


async def test_dimensions_that_are_not_the_models_are_told(
    server: EmbeddingServer, client: OutboundClient
) -> None:
    with pytest.raises(EngineError, match=f"vectors of {DIMENSIONS} numbers, not 7.*dimensions={DIMENSIONS}"):
        await embedder_at(server.url, client, 7).embed(["text"])


async def test_a_server_that_is_killed_is_away_and_back_when_it_is_started_again(
    backends_directory: Path, client: OutboundClient
) -> None:
    server = EmbeddingServer(backends_directory / "killed-embeddings")
    with running(server):
        embedder = embedder_at(server.url, client, DIMENSIONS)
        assert len(await embedder.embed(["text"])) == 1
        server.kill()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await embedder.embed(["text"])
        server.start()
        assert len(await embedder.embed(["text"])) == 1


async def test_texts_are_sent_in_batches_and_come_back_in_order(
    client: OutboundClient, listener: HttpListener
) -> None:
    listener.answer = answered(lambda text: [float(text.split()[1]) + 1.0, 1.0])
    embedder = embedder_at(f"http://127.0.0.1:{listener.port}", client)
    vectors = await embedder.embed([f"text {number}" for number in range(70)])
    assert [round(first / second) for first, second in vectors] == list(range(1, 71))
    assert [len(json.loads(request.body)["input"]) for request in listener.received] == [32, 32, 6]


async def test_the_key_the_model_and_the_prefixes_are_sent(client: OutboundClient, listener: HttpListener) -> None:
    listener.answer = answered(lambda text: [1.0, 0.0])
    embedder = embedder_at(
        f"http://127.0.0.1:{listener.port}",
        client,
        api_key="sk-secret",
        query_prefix="query: ",
        document_prefix="passage: ",
        shorten=True,
    )
    await embedder.embed(["a"], query=True)
    await embedder.embed(["b"])
    asked, told = [json.loads(request.body) for request in listener.received]
    assert (asked["input"], told["input"]) == (["query: a"], ["passage: b"])
    assert (asked["model"], asked["dimensions"]) == ("small", 2)
    assert listener.received[0].headers["authorization"] == "Bearer sk-secret"
    assert listener.received[0].target == "/v1/embeddings"
    assert "sk-secret" not in repr(embedder) + embedder.model


async def test_a_busy_endpoint_is_asked_again_after_the_time_it_names(
    client: OutboundClient, listener: HttpListener
) -> None:
    good = answered(lambda text: [1.0, 0.0])
    times: list[float] = []

    def busy_once(request: Received) -> bytes:
        times.append(time.monotonic())
        return refused(429, "slow down", "retry-after: 1\r\n") if len(times) == 1 else good(request)

    listener.answer = busy_once
    assert await embedder_at(f"http://127.0.0.1:{listener.port}", client).embed(["a"]) == [[1.0, 0.0]]
    assert times[1] - times[0] >= 1


async def test_an_endpoint_that_stays_busy_is_unavailable(client: OutboundClient, listener: HttpListener) -> None:
    listener.answer = lambda _: refused(503, "later")
    with pytest.raises(Unavailable, match="answered 503"):
        await embedder_at(f"http://127.0.0.1:{listener.port}", client).embed(["a"])
    assert len(listener.received) == 3


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        (refused(401, "Incorrect API key"), EngineError, r"refused the key \(401\): Incorrect API key.*key_env"),
        (refused(404, "no such model"), EngineError, "answered 404: no such model.*the model's name, small"),
        (refused(400, "bad input"), EngineError, "answered 400: bad input"),
        (refused(500, "out of memory"), Unavailable, "failed: out of memory"),
        (response(200, "", b"<html>"), EngineError, "did not answer with vectors"),
        (response(200, "", b'{"data": []}'), EngineError, "answered with 0 vectors to 1 texts"),
        (response(200, "", b'{"data": [{"index": 0, "embedding": [0, 0]}]}'), EngineError, "without a direction"),
        (
            response(200, "", b'{"data": [{"index": 0, "embedding": ["x", 0]}]}'),
            EngineError,
            "did not answer with",
        ),
        (response(200, "", b'{"data": [{"index": 0, "embedding": null}]}'), EngineError, "did not answer with"),
        (refused(413, "input too large"), EngineError, "answered 413: input too large"),
    ],
)
async def test_an_answer_that_cannot_be_used_says_what_is_wrong(
    client: OutboundClient, listener: HttpListener, reply: bytes, kind: type[Exception], said: str
) -> None:
    listener.answer = lambda _: reply
    with pytest.raises(kind, match=said):
        await embedder_at(f"http://127.0.0.1:{listener.port}", client).embed(["a"])
    assert len(listener.received) == 1
