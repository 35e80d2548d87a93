"""Keys are checked quickly, and a revoked one is not let in."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from quantum_suite.core.errors import Unauthenticated, Unavailable
from quantum_suite.hub.access.key_verifier import KeyVerifier
from quantum_suite.hub.access.keys import KeyRecord
from quantum_suite.hub.access.memory_keys import MemoryKeyStore

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


class CountingStore(MemoryKeyStore):
    def __init__(self, clock: Clock) -> None:
        super().__init__(now=clock.now)
        self.found = 0
        self.touched: list[datetime] = []
        self.let_find = threading.Event()
        self.let_find.set()
        self.after_find: Callable[[], object] = lambda: None

    def find(self, token: str) -> KeyRecord | None:
        self.let_find.wait(10)
        self.found += 1
        record = super().find(token)
        self.after_find()
        return record

    def touch(self, key_id: str, used_at: datetime) -> None:
        self.touched.append(used_at)
        super().touch(key_id, used_at)


def verifier(store: MemoryKeyStore, clock: Clock, **options: int) -> KeyVerifier:
    return KeyVerifier(store, now=clock.now, monotonic=clock.monotonic, **options)


async def test_a_good_key_is_looked_up_once_in_a_few_seconds() -> None:
    clock = Clock()
    store = CountingStore(clock)
    made, token = store.create("ci", ["viewer"])
    keys = verifier(store, clock)
    for _ in range(5):
        assert await keys.verify(token) == made.principal
    assert store.found == 1
    clock.passed = 5.0
    await keys.verify(token)
    assert store.found == 2


async def test_a_wrong_key_is_refused_and_never_kept() -> None:
    clock = Clock()
    store = CountingStore(clock)
    keys = verifier(store, clock)
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="not valid"):
            await keys.verify("qs_000000000000_" + "A" * 43)
    assert store.found == 3


async def test_a_revocation_in_this_process_counts_at_once() -> None:
    clock = Clock()
    store = CountingStore(clock)
    _, token = store.create("ci", ["viewer"])
    keys = verifier(store, clock)
    await keys.verify(token)
    store.revoke("ci")
    with pytest.raises(Unauthenticated, match="'ci' was revoked"):
        await keys.verify(token)


async def test_a_revocation_elsewhere_counts_after_a_few_seconds() -> None:
    clock = Clock()
    store = CountingStore(clock)
    _, token = store.create("ci", ["viewer"])
    keys = verifier(store, clock)
    await keys.verify(token)
    elsewhere = store.generation
    store.revoke("ci")
    store._generation = elsewhere  # as if another process had done it
    await keys.verify(token)
    clock.passed = 5.0
    with pytest.raises(Unauthenticated):
        await keys.verify(token)


async def test_a_revocation_during_the_lookup_is_not_covered_by_its_answer() -> None:
    clock = Clock()
    store = CountingStore(clock)
    made, token = store.create("ci", ["viewer"])
    store.after_find = lambda: store.revoke(made.id)
    keys = verifier(store, clock)
    await keys.verify(token)
    with pytest.raises(Unauthenticated):
        await keys.verify(token)


async def test_a_key_expires_on_time_though_it_was_kept() -> None:
    clock = Clock()
    store = CountingStore(clock)
    _, token = store.create("ci", ["viewer"], expires_in_seconds=2)
    keys = verifier(store, clock)
    await keys.verify(token)
    clock.passed = 2.0
    with pytest.raises(Unauthenticated, match="'ci' has expired"):
        await keys.verify(token)


async def test_the_last_use_is_noted_at_most_once_a_minute() -> None:
    clock = Clock()
    store = CountingStore(clock)
    _, token = store.create("ci", ["viewer"])
    keys = verifier(store, clock)
    for seconds in range(0, 125, 5):
        clock.passed = seconds
        await keys.verify(token)
    start = Clock().now()
    assert store.touched == [start + timedelta(seconds=s) for s in (0, 60, 120)]


async def test_a_store_that_cannot_note_the_use_does_not_lock_out_a_good_key() -> None:
    class FullStore(MemoryKeyStore):
        def touch(self, key_id: str, used_at: datetime) -> None:
            raise Unavailable("The disk is full.")

    clock = Clock()
    store = FullStore(now=clock.now)
    made, token = store.create("ci", ["viewer"])
    assert await verifier(store, clock).verify(token) == made.principal


async def test_many_calls_at_once_make_one_lookup() -> None:
    clock = Clock()
    store = CountingStore(clock)
    made, token = store.create("ci", ["viewer"])
    keys = verifier(store, clock)
    store.let_find.clear()
    answers = []

    async def verify() -> None:
        answers.append(await keys.verify(token))

    with anyio.fail_after(25):
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(verify)
            await anyio.wait_all_tasks_blocked()
            store.let_find.set()
    assert answers == [made.principal] * 20
    assert store.found == 1


async def test_a_cancelled_lookup_leaves_those_who_wait_for_it_an_answer() -> None:
    clock = Clock()
    store = CountingStore(clock)
    made, token = store.create("ci", ["viewer"])
    keys = verifier(store, clock)
    store.let_find.clear()
    answers = []

    async def verify() -> None:
        answers.append(await keys.verify(token))

    with anyio.fail_after(25):
        async with anyio.create_task_group() as first, anyio.create_task_group() as second:
            first.start_soon(verify)
            await anyio.wait_all_tasks_blocked()
            second.start_soon(verify)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
            store.let_find.set()
            second.cancel_scope.shield = True
    assert answers[-1:] == [made.principal]


async def test_kept_answers_are_bounded() -> None:
    clock = Clock()
    store = CountingStore(clock)
    tokens = [store.create(f"key-{n}", ["viewer"])[1] for n in range(3)]
    keys = verifier(store, clock, max_kept=2)
    for token in tokens:
        await keys.verify(token)
    assert store.found == 3
    await keys.verify(tokens[2])
    assert store.found == 3
    await keys.verify(tokens[0])
    assert store.found == 4
