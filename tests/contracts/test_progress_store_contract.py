"""What every store of consumers' progress does."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from reference.backends import Postgres, running

from quantum_suite.core.errors import Fenced, Unavailable
from quantum_suite.core.events import Fence, Position
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.projections.interface import ParkedEvent, ProgressStore
from quantum_suite.services.projections.memory import MemoryProgressStore
from quantum_suite.services.projections.postgres import PostgresProgressStore
from quantum_suite.services.projections.sqlite import SqliteProgressStore

pytestmark = pytest.mark.anyio

FENCE = Fence("consumer/mail", 3)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ProgressStore]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryProgressStore(inbox_size=5)
        elif request.param == "sqlite":
            yield stack.enter_context(SqliteProgressStore(tmp_path / "progress.sqlite3", inbox_size=5))
        else:
            url = request.getfixturevalue("postgres_url")
            database = await stack.enter_async_context(open_postgres(url))
            yield PostgresProgressStore(database, inbox_size=5)


def a_parked(position: str = "p7", consumer: str = "mail", minutes: int = 0) -> ParkedEvent:
    return ParkedEvent(
        consumer=consumer,
        position=Position(position),
        event_id=f"evt_{position}",
        event_type="demo.thing.happened.v1",
        stream="demo.thing/1",
        version=7,
        problem="KeyError: 'x'",
        attempts=1,
        parked_at=NOON + timedelta(minutes=minutes),
    )


async def test_a_new_consumer_stands_nowhere(store: ProgressStore) -> None:
    assert await store.checkpoint("mail") is None
    assert await store.seen("mail", ["a"]) == set()
    assert await store.parked() == []


async def test_advancing_moves_the_checkpoint_and_fills_the_inbox(store: ProgressStore) -> None:
    await store.advance("mail", Position("p1"), ["a", "b"], FENCE)
    await store.advance("mail", Position("p2"), ["b", "c"], FENCE)
    assert await store.checkpoint("mail") == "p2"
    assert await store.seen("mail", ["a", "c", "z"]) == {"a", "c"}


async def test_a_checkpoint_moves_on_without_any_event(store: ProgressStore) -> None:
    await store.advance("mail", Position("p9"), [], FENCE)
    assert await store.checkpoint("mail") == "p9"


async def test_consumers_know_nothing_of_each_other(store: ProgressStore) -> None:
    await store.advance("mail", Position("p1"), ["a"], FENCE)
    assert await store.checkpoint("other") is None
    assert await store.seen("other", ["a"]) == set()
    await store.reset("other")
    assert await store.checkpoint("mail") == "p1"


async def test_the_inbox_keeps_the_newest_events_alone(store: ProgressStore) -> None:
    for number in range(8):
        await store.advance("mail", Position(f"p{number}"), [f"e{number}"], FENCE)
        await store.advance("other", Position(f"p{number}"), [f"e{number}"], FENCE)
    everything = [f"e{number}" for number in range(8)]
    assert await store.seen("mail", everything) == {"e3", "e4", "e5", "e6", "e7"}
    assert await store.seen("other", everything) == {"e3", "e4", "e5", "e6", "e7"}


async def test_a_newer_token_shuts_the_older_holder_out(store: ProgressStore) -> None:
    await store.advance("mail", Position("p1"), ["a"], FENCE)
    await store.advance("mail", Position("p2"), ["b"], Fence(FENCE.name, 4))
    with pytest.raises(Fenced):
        await store.advance("mail", Position("p1"), ["late"], FENCE)
    with pytest.raises(Fenced):
        await store.park(a_parked(), FENCE)
    assert await store.checkpoint("mail") == "p2"
    assert await store.seen("mail", ["late"]) == set()
    assert await store.parked() == []


async def test_fences_of_other_names_do_not_matter(store: ProgressStore) -> None:
    await store.advance("mail", Position("p1"), [], Fence("consumer/other", 99))
    await store.advance("mail", Position("p2"), [], FENCE)
    assert await store.checkpoint("mail") == "p2"


async def test_parked_events_are_listed_oldest_first_and_by_consumer(store: ProgressStore) -> None:
    await store.park(a_parked("p9"), FENCE)
    await store.park(a_parked("p1", minutes=1), FENCE)
    await store.park(a_parked("p9", consumer="other", minutes=2), FENCE)
    assert await store.parked() == [
        a_parked("p9"),
        a_parked("p1", minutes=1),
        a_parked("p9", consumer="other", minutes=2),
    ]
    assert [parked.position for parked in await store.parked("mail")] == ["p9", "p1"]
    assert await store.parked(limit=1) == [a_parked("p9")]


async def test_parking_again_counts_an_attempt_and_keeps_the_place(store: ProgressStore) -> None:
    await store.park(a_parked("p1"), FENCE)
    await store.park(a_parked("p2", minutes=1), FENCE)
    await store.park(a_parked("p1", minutes=9), FENCE)
    first, second = await store.parked("mail")
    assert await store.find_parked("mail", Position("p1")) == first
    assert await store.find_parked("other", Position("p1")) is None
    assert (first.position, first.attempts, first.parked_at) == ("p1", 2, NOON)
    assert (second.position, second.attempts) == ("p2", 1)


async def test_unparking_is_idempotent(store: ProgressStore) -> None:
    await store.park(a_parked("p1"), FENCE)
    await store.unpark("mail", Position("p1"))
    await store.unpark("mail", Position("p1"))
    assert await store.parked() == []


async def test_reset_forgets_place_inbox_and_parked_events(store: ProgressStore) -> None:
    await store.advance("mail", Position("p1"), ["a"], FENCE)
    await store.park(a_parked(), FENCE)
    await store.reset("mail")
    assert await store.checkpoint("mail") is None
    assert await store.seen("mail", ["a"]) == set()
    assert await store.parked() == []


async def test_text_from_outside_is_kept_as_it_is(store: ProgressStore) -> None:
    nasty = "x'; DROP TABLE progress; --\u2028\N{GRINNING FACE}"
    await store.advance(nasty, Position(nasty), [nasty], Fence(nasty, 1))
    assert await store.checkpoint(nasty) == nasty
    assert await store.seen(nasty, [nasty]) == {nasty}


async def test_many_consumers_advance_side_by_side(store: ProgressStore) -> None:
    async def advance(name: str) -> None:
        for number in range(5):
            await store.advance(name, Position(f"p{number}"), [f"e{number}"], Fence(f"consumer/{name}", 1))

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(advance, f"c{number}")
    assert {await store.checkpoint(f"c{number}") for number in range(8)} == {"p4"}


async def test_another_process_sees_what_was_noted(tmp_path: Path) -> None:
    make: Callable[[], SqliteProgressStore] = lambda: SqliteProgressStore(tmp_path / "p.sqlite3")  # noqa: E731  # twice below
    with make() as first, make() as second:
        await first.advance("mail", Position("p1"), ["a"], Fence("l", 2))
        assert await second.checkpoint("mail") == "p1"
        with pytest.raises(Fenced):
            await second.advance("mail", Position("p0"), [], Fence("l", 1))


async def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a directory should be")
    with SqliteProgressStore(tmp_path / "taken" / "p.sqlite3") as store, pytest.raises(Unavailable):
        await store.checkpoint("mail")


async def test_a_server_that_was_killed_delays_and_loses_nothing(backends_directory: Path) -> None:
    server = Postgres(backends_directory / "progress-postgres")
    with running(server):
        async with open_postgres(server.url) as database:
            store = PostgresProgressStore(database)
            await store.advance("mail", Position("p1"), ["a"], FENCE)
            server.kill()
            with pytest.raises(Unavailable):
                await store.advance("mail", Position("p2"), ["b"], FENCE)
            server.start()
            await store.advance("mail", Position("p3"), ["c"], FENCE)
            assert await store.seen("mail", ["a", "b", "c"]) == {"a", "c"}
