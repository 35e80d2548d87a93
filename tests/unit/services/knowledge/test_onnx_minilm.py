"""The model that comes with the suite, in its real process."""

import base64
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator

import anyio
import pytest

from quantum_suite.core.errors import EngineError, EngineMissing, Unavailable
from quantum_suite.services.knowledge.embedding.minilm_worker import batches
from quantum_suite.services.knowledge.embedding.onnx_minilm import DIMENSIONS, DOCUMENT_TOKENS, OnnxMiniLmEmbedder
from quantum_suite.services.knowledge.embedding.worker_embedder import WorkerEmbedder

pytestmark = pytest.mark.anyio

TEXTS = [
    "def read_file(path):\n    return open(path).read()",
    "load the contents of a file",
    "multiply two matrices",
    "",
    "\ud800 half of a character, and 漢字",
    "word " * 5_000,
]
WITHOUT_NETWORK = """
import runpy, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        sys.stderr.write(f"NETWORK {event} {arguments}")
        sys.stderr.flush()
        import os
        os._exit(3)
sys.addaudithook(refuse)
sys.argv = ["minilm_worker", "1", "0"]
runpy.run_module("quantum_suite.services.knowledge.embedding.minilm_worker", run_name="__main__")
"""


@pytest.fixture(scope="module")
async def embedder() -> AsyncIterator[OnnxMiniLmEmbedder]:
    async with OnnxMiniLmEmbedder(threads=1) as embedder:
        yield embedder


async def test_every_text_gets_a_vector_of_384_numbers_and_length_1(embedder: OnnxMiniLmEmbedder) -> None:
    vectors = await embedder.embed(TEXTS)
    assert len(vectors) == len(TEXTS)
    assert embedder.dimensions == DIMENSIONS == 384
    for vector in vectors:
        assert len(vector) == 384
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


async def test_what_means_the_same_is_nearer_than_what_does_not(embedder: OnnxMiniLmEmbedder) -> None:
    code, same, other = await embedder.embed(TEXTS[:3])
    assert cosine(code, same) > cosine(code, other) + 0.2


async def test_the_same_text_gives_the_same_vector_alone_and_among_others(embedder: OnnxMiniLmEmbedder) -> None:
    together = await embedder.embed(TEXTS)
    again = await embedder.embed(TEXTS)
    assert again == together
    [alone] = await embedder.embed([TEXTS[1]])
    # Weights and activations of 8 bits: rounding depends a little on what is computed beside it.
    assert cosine(alone, together[1]) > 0.98


async def test_of_a_document_128_tokens_are_read_and_of_a_query_256(embedder: OnnxMiniLmEmbedder) -> None:
    assert embedder.model.endswith(f"-{DOCUMENT_TOKENS}t"), "another cut is another model, and embeds anew"
    beginning = "parse the header of a request " * 21  # 126 tokens, and one at each end.
    for query, same in ((False, True), (True, False)):
        [one, other] = await embedder.embed([beginning + "then sort", beginning + "matrices"], query=query)
        assert (cosine(one, other) > 0.9999) is same


async def test_queries_are_answered_while_documents_are_embedded(embedder: OnnxMiniLmEmbedder) -> None:
    finished = False

    async def documents() -> None:
        nonlocal finished
        await embedder.embed(["a long text about nothing " * 60] * 640)
        finished = True

    await embedder.embed(["warm"], query=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(documents)
        await anyio.wait_all_tasks_blocked()
        assert len(await embedder.embed(["where is the configuration read"], query=True)) == 1
        assert not finished
        tasks.cancel_scope.cancel()


async def test_no_texts_are_no_vectors(embedder: OnnxMiniLmEmbedder) -> None:
    assert await embedder.embed([]) == []


async def test_a_process_that_is_killed_is_an_error_that_says_so_and_the_next_call_works() -> None:
    async with OnnxMiniLmEmbedder(threads=1) as embedder:
        [before] = await embedder.embed(["some text"], query=True)
        pid = embedder.query_process
        assert pid is not None

        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(EngineError, match="Signal 9 ended it") as raised:
                    await embedder.embed(["word " * 4_000] * 64, query=True)
                assert raised.value.engine == "onnx-minilm"

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            os.kill(pid, signal.SIGKILL)
        assert await embedder.embed(["some text"], query=True) == [before]
        assert embedder.query_process != pid


async def test_a_caller_that_is_cancelled_leaves_it_usable(embedder: OnnxMiniLmEmbedder) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await embedder.embed(TEXTS)
    assert len(await embedder.embed(TEXTS[:2])) == 2


async def test_resting_frees_the_process_for_documents_and_the_next_call_starts_another(
    embedder: OnnxMiniLmEmbedder,
) -> None:
    await embedder.embed(["one"])
    first = embedder.document_process
    await embedder.rest()
    assert embedder.document_process is None
    await embedder.embed(["two"])
    assert embedder.document_process not in (None, first)


async def test_once_closed_it_says_so() -> None:
    embedder = OnnxMiniLmEmbedder(threads=1)
    await embedder.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await embedder.embed(["late"])


async def test_missing_packages_are_named_with_the_command_that_installs_them() -> None:
    embedder = WorkerEmbedder(
        "nothing",
        [],
        engine="some-model",
        model="m",
        dimensions=3,
        packages=["json", "no_such_package"],
        extra="x",
    )
    with pytest.raises(EngineMissing, match=r"no_such_package\).*pip install \"quantum-suite\[x\]\"") as raised:
        await embedder.embed(["text"])
    assert "json" not in str(raised.value)


def test_nothing_is_asked_of_the_network() -> None:
    apart = ["bwrap", "--dev-bind", "/", "/", "--unshare-net"] if shutil.which("bwrap") else []
    request = json.dumps({"id": 1, "texts": ["def add(a, b): return a + b"]})
    done = subprocess.run(
        [*apart, sys.executable, "-c", WITHOUT_NETWORK], input=request, capture_output=True, text=True, timeout=100
    )
    assert "NETWORK" not in done.stderr
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    vector = struct.unpack("<384f", base64.b64decode(answer["vectors"]))
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


def test_batches_hold_every_text_once_are_bounded_and_waste_little() -> None:
    lengths = [(7 * n * n) % 256 + 1 for n in range(500)]
    made = batches(lengths)
    assert sorted(row for rows in made for row in rows) == list(range(500))
    for rows in made:
        assert len(rows) <= 8
        assert len(rows) * max(lengths[row] for row in rows) <= 512
    padded = sum(len(rows) * max(lengths[row] for row in rows) for rows in made)
    assert padded < 1.2 * sum(lengths)


def cosine(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))
