"""What every store of vectors guarantees, on every adapter, also when its processes are killed."""

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from reference import vector_writer
from reference.backends import Backend, Postgres, running
from reference.chroma import ChromaServer
from reference.vector_writer import BATCH, opened, record

from quantum_suite.core.errors import CallerError, EngineError, Unavailable
from quantum_suite.services.knowledge.interface import VectorRecord, VectorStore
from quantum_suite.services.knowledge.vectors.chroma import ChromaVectorStore
from quantum_suite.services.knowledge.vectors.memory import MemoryVectorStore

pytestmark = pytest.mark.anyio

SHARED = ["sqlite", "chroma", "chroma-server", "pgvector"]
BOUND_SECONDS = 50.0
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """Where a store keeps its data."""

    kind: str
    where: str


@pytest.fixture(scope="module")
def chroma_server(backends_directory: Path) -> Iterator[ChromaServer]:
    server = ChromaServer(backends_directory / "chroma")
    with running(server):
        yield server


@pytest.fixture(scope="module", params=["memory", *SHARED])
async def opened_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VectorStore]:
    """One store of each kind for all that only use it: a process of Chroma takes seconds to start."""
    if request.param == "memory":
        yield MemoryVectorStore()
        return
    place = place_of(request, request.param, tmp_path_factory.mktemp("store"))
    async with opened(place.kind, place.where) as store:
        yield store


@pytest.fixture
async def store(opened_store: VectorStore) -> VectorStore:
    """The store of that kind, empty."""
    for collection in ("c", "other", "nowhere"):
        await opened_store.drop(collection)
    return opened_store


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_of(request, request.param, tmp_path)


def place_of(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Place:
    if kind == "pgvector":
        return Place(kind, request.getfixturevalue("postgres_server").new_database(f"vectors_{next(_numbers)}"))
    if kind == "chroma-server":
        return Place(kind, request.getfixturevalue("chroma_server").url)
    return Place(kind, str(tmp_path / ("vectors.db" if kind == "sqlite" else "chroma")))


async def test_the_nearest_are_those_of_the_highest_cosine_best_first(store: VectorStore) -> None:
    chance = random.Random(7)
    records = [VectorRecord(f"{n}", [chance.gauss(0, 1) for _ in range(24)], "a.py") for n in range(300)]
    asked = [chance.gauss(0, 1) for _ in range(24)]
    await store.put("c", records)
    found = await store.nearest("c", asked, 10)
    expected = sorted(((cosine(asked, r.vector), r.id) for r in records), reverse=True)[:10]
    assert [one for one, _ in found] == [one for _, one in expected]
    assert [score for _, score in found] == pytest.approx([score for score, _ in expected], abs=1e-5)


async def test_similarity_does_not_depend_on_the_lengths_of_vectors(store: VectorStore) -> None:
    await store.put("c", [VectorRecord("near", [10.0, 0.0], "a"), VectorRecord("far", [0.0, 0.1], "a")])
    assert await store.nearest("c", [0.5, 0.0], 2) == [
        ("near", pytest.approx(1, abs=1e-6)),
        ("far", pytest.approx(0, abs=1e-6)),
    ]


async def test_putting_an_id_again_replaces_its_vector(store: VectorStore) -> None:
    await store.put("c", [VectorRecord("x", [1.0, 0.0], "a")])
    await store.put("c", [VectorRecord("x", [1.0, 0.0], "a"), VectorRecord("x", [0.0, 1.0], "b")])
    assert await store.ids("c") == {"x"}
    assert await store.nearest("c", [0.0, 1.0], 5) == [("x", pytest.approx(1, abs=1e-6))]


async def test_what_is_deleted_is_found_no_more_and_unknown_ids_are_ignored(store: VectorStore) -> None:
    await store.put("c", [VectorRecord(f"{n}", [1.0, float(n)], "a") for n in range(5)])
    await store.delete("c", ["1", "3", "no such"])
    await store.delete("nowhere", ["1"])
    await store.delete("c", [])
    assert await store.ids("c") == {"0", "2", "4"}
    assert {one for one, _ in await store.nearest("c", [1.0, 1.0], 10)} == {"0", "2", "4"}


async def test_collections_know_nothing_of_each_other(store: VectorStore) -> None:
    await store.put("c", [VectorRecord("x", [1.0, 0.0], "a")])
    await store.put("other", [VectorRecord("x", [0.0, 1.0, 0.0], "a"), VectorRecord("y", [1.0, 0.0, 0.0], "a")])
    await store.drop("other")
    assert await store.ids("other") == set()
    assert await store.nearest("other", [0.0, 1.0, 0.0], 3) == []
    assert await store.ids("c") == {"x"}


async def test_a_dropped_collection_can_be_filled_anew_with_vectors_of_another_length(store: VectorStore) -> None:
    await store.put("c", [VectorRecord("x", [1.0, 0.0], "a")])
    await store.drop("c")
    await store.drop("never there")
    await store.put("c", [VectorRecord("y", [1.0, 0.0, 0.0], "a")])
    assert await store.nearest("c", [1.0, 0.0, 0.0], 3) == [("y", pytest.approx(1, abs=1e-6))]


async def test_what_does_not_exist_is_empty_and_putting_nothing_makes_nothing(store: VectorStore) -> None:
    await store.put("c", [])
    assert await store.ids("c") == set()
    assert await store.nearest("c", [1.0, 0.0], 3) == []


@pytest.mark.parametrize("bad", [[1.0, 0.0, 0.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]])
async def test_a_vector_that_does_not_fit_is_refused_and_nothing_of_its_batch_is_kept(
    store: VectorStore, bad: list[float]
) -> None:
    await store.put("c", [VectorRecord("x", [1.0, 0.0], "a")])
    with pytest.raises(CallerError):
        await store.put("c", [VectorRecord("y", [0.0, 1.0], "a"), VectorRecord("z", bad, "a")])
    assert await store.ids("c") == {"x"}


async def test_odd_names_are_kept_as_they_are(store: VectorStore) -> None:
    odd = ["a b", "ü/漢字.py#1", "'; DROP TABLE vectors; --", "%s{}"]
    await store.put("c", [VectorRecord(name, [1.0, float(n)], name) for n, name in enumerate(odd)])
    assert await store.ids("c") == set(odd)
    await store.delete("c", odd[1:])
    assert await store.ids("c") == {"a b"}


async def test_many_callers_at_once_lose_nothing(store: VectorStore) -> None:
    async def write(start: int) -> None:
        for number in range(start, start + 40, 10):
            await store.put("c", [record(n) for n in range(number, number + 10)])

    async with anyio.create_task_group() as group:
        for start in range(0, 200, 40):
            group.start_soon(write, start)
        group.start_soon(store.nearest, "c", record(1).vector, 5)
    assert await store.ids("c") == {f"r{n}" for n in range(200)}


async def test_a_caller_that_is_cancelled_leaves_the_store_usable(store: VectorStore) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.put("c", [record(1)])
    await store.put("c", [record(2)])
    assert "r2" in await store.ids("c")


async def test_what_was_acknowledged_outlasts_the_death_of_its_writer(place: Place) -> None:
    async with opened(place.kind, place.where) as store:
        await store.drop("c")
    for _ in range(2):
        with writer(place) as process:
            acknowledged = await read_batches(process, 8)
            os.kill(process.pid, signal.SIGKILL)
        await check_whole(place, acknowledged)


async def test_what_was_acknowledged_outlasts_the_death_of_its_server(backends_directory: Path) -> None:
    servers: list[tuple[str, Backend]] = [
        ("chroma-server", ChromaServer(backends_directory / "killed-chroma")),
        ("pgvector", Postgres(backends_directory / "killed-postgres")),
    ]
    for kind, server in servers:
        with running(server):
            where = server.new_database("vectors") if isinstance(server, Postgres) else server.url
            async with opened(kind, where) as store:
                for batch in range(5):
                    await store.put("c", [record(n) for n in range(batch * BATCH, (batch + 1) * BATCH)])
                server.kill()
                with pytest.raises(Unavailable):
                    await store.nearest("c", record(0).vector, 1)
                server.start()
                await eventually_whole(store, 4)


async def test_the_owner_of_an_embedded_chroma_that_is_killed_is_followed_by_another(tmp_path: Path) -> None:
    async with ChromaVectorStore.embedded(tmp_path / "chroma") as store:
        await store.put("c", [record(n) for n in range(BATCH)])
        owner = store.owner
        assert owner is not None
        os.kill(owner, signal.SIGKILL)
        with anyio.fail_after(BOUND_SECONDS):
            while True:
                try:
                    await store.put("c", [record(n) for n in range(BATCH, 2 * BATCH)])
                    break
                except EngineError:
                    continue
        assert store.owner != owner
        await eventually_whole(store, 1)


async def test_a_second_process_is_told_who_owns_an_embedded_chroma_and_hurts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "chroma"
    async with ChromaVectorStore.embedded(folder) as first:
        await first.put("c", [record(n) for n in range(BATCH)])
        async with ChromaVectorStore.embedded(folder) as second:
            with pytest.raises(Unavailable, match=rf"in use by process {first.owner} .*suite.*{os.getpid()}"):
                await second.put("c", [record(99)])
        await first.put("c", [record(n) for n in range(BATCH, 2 * BATCH)])
    async with ChromaVectorStore.embedded(folder) as third:
        await eventually_whole(third, 1)


async def test_of_four_processes_that_write_one_chroma_at_once_one_does_and_the_store_stays_whole(
    tmp_path: Path,
) -> None:
    place = Place("chroma", str(tmp_path / "chroma"))
    with ExitStack() as stack:
        processes = [stack.enter_context(writer(place)) for _ in range(4)]
        acknowledged: dict[int, int] = {}
        refused: list[str] = []

        async def follow(process: "subprocess.Popen[bytes]") -> None:
            assert process.stdout is not None
            while max(acknowledged.values(), default=-1) < 10 or len(refused) < 3:
                line = await anyio.to_thread.run_sync(process.stdout.readline)
                if not line:
                    assert process.stderr is not None
                    refused.append((await anyio.to_thread.run_sync(process.stderr.read)).decode())
                    return
                acknowledged[process.pid] = int(line)

        with anyio.fail_after(3 * BOUND_SECONDS):
            async with anyio.create_task_group() as tasks:
                for process in processes:
                    tasks.start_soon(follow, process)
        (last,) = acknowledged.values()
    assert all("in use by process" in text for text in refused)
    await check_whole(place, last)


def cosine(first: list[float], second: list[float]) -> float:
    size = sum(a * a for a in first) ** 0.5 * sum(b * b for b in second) ** 0.5
    return sum(a * b for a, b in zip(first, second, strict=True)) / size


@contextmanager
def writer(place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, vector_writer.__file__, place.kind, place.where]
    environment = {**os.environ, "PYTHONPATH": str(Path(vector_writer.__file__).parent.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=BOUND_SECONDS)


async def read_batches(process: "subprocess.Popen[bytes]", count: int) -> int:
    """Wait for so many acknowledgements; returns the last."""
    assert process.stdout is not None
    last = -1
    with anyio.fail_after(BOUND_SECONDS):
        while last < count - 1:
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            assert line, "the writer ended by itself"
            last = int(line)
    return last


async def check_whole(place: Place, last_batch: int) -> None:
    async with opened(place.kind, place.where) as store:
        await eventually_whole(store, last_batch)


async def eventually_whole(store: VectorStore, last_batch: int) -> None:
    """Check that every record up to a batch is there and found by its own vector."""
    with anyio.fail_after(BOUND_SECONDS):
        while True:
            try:
                kept = await store.ids("c")
                break
            except Unavailable:
                await anyio.sleep(0.05)
    wanted = {f"r{number}" for number in range((last_batch + 1) * BATCH)}
    assert wanted <= kept
    for number in range(0, (last_batch + 1) * BATCH, 11):
        [(found, similarity)] = await store.nearest("c", record(number).vector, 1)
        assert (found, round(similarity, 4)) == (f"r{number}", 1.0)
