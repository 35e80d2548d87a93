"""What every store of definitions guarantees, on every adapter."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import Conflict, NotFound
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.definitions.interface import MAX_NAMES, DefinitionStore
from quantum_suite.services.definitions.memory import MemoryDefinitionStore
from quantum_suite.services.definitions.postgres import PostgresDefinitionStore
from quantum_suite.services.definitions.sqlite import SqliteDefinitionStore

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[DefinitionStore, DefinitionStore]]:
    """Two processes' views of one place."""
    first: DefinitionStore
    second: DefinitionStore
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            first = second = MemoryDefinitionStore()
        elif request.param == "sqlite":
            first = stack.enter_context(SqliteDefinitionStore(tmp_path / "definitions.db"))
            second = stack.enter_context(SqliteDefinitionStore(tmp_path / "definitions.db"))
        else:
            url = request.getfixturevalue("postgres_url")
            first = PostgresDefinitionStore(await stack.enter_async_context(open_postgres(url)))
            second = PostgresDefinitionStore(await stack.enter_async_context(open_postgres(url)))
        yield first, second


async def test_a_definition_is_read_back_as_it_was_stored(stores: tuple[DefinitionStore, DefinitionStore]) -> None:
    here, there = stores
    stored = await here.put("check", "one\u2028ü", "ada")
    assert (stored.version, stored.owner, stored.shared, stored.has_run) == (1, "ada", False, False)
    assert stored.stored_at.tzinfo is not None
    assert await there.get("check") == stored == await there.get("check", 1)


async def test_a_definition_that_has_not_run_is_replaced(stores: tuple[DefinitionStore, DefinitionStore]) -> None:
    here, there = stores
    await here.put("check", "one", "ada")
    assert (await there.put("check", "two", "ada")).version == 1
    assert [(one.version, one.source) for one in await here.versions("check")] == [(1, "two")]


async def test_a_definition_that_has_run_stays_and_a_change_begins_the_next_version(
    stores: tuple[DefinitionStore, DefinitionStore],
) -> None:
    here, there = stores
    await here.put("check", "one", "ada")
    assert (await there.mark_run("check", 1)).has_run
    assert (await here.put("check", "one", "ada")).version == 1
    assert (await here.put("check", "two", "ada")).version == 2
    assert [(one.version, one.source) for one in await there.versions("check")] == [(2, "two"), (1, "one")]
    with pytest.raises(Conflict, match="Version 1 of 'check' has run"):
        await here.put("check", "three", "ada", version=1)


async def test_a_version_that_is_named_is_the_one_that_is_stored(
    stores: tuple[DefinitionStore, DefinitionStore],
) -> None:
    here, _ = stores
    assert (await here.put("check", "one", "ada", version=3)).version == 3
    assert (await here.put("check", "two", "ada", version=4)).version == 4
    with pytest.raises(Conflict, match="older than the newest"):
        await here.put("check", "three", "ada", version=2)


async def test_a_name_belongs_to_who_stored_it_first(stores: tuple[DefinitionStore, DefinitionStore]) -> None:
    here, there = stores
    await here.put("check", "one", "ada")
    with pytest.raises(Conflict, match="belongs to somebody else"):
        await there.put("check", "mine", "bob")
    assert (await here.get("check")).source == "one"


async def test_the_list_shows_ones_own_and_what_is_shared(stores: tuple[DefinitionStore, DefinitionStore]) -> None:
    here, there = stores
    await here.put("own", "1", "ada")
    await here.put("everybodys", "1", "root", shared=True)
    await here.put("anothers", "1", "bob")
    await here.put("anothers", "2", "bob", version=2)
    assert [one.name for one in await there.newest("ada")] == ["everybodys", "own"]
    assert [(one.name, one.version) for one in await there.newest()] == [
        ("anothers", 2),
        ("everybodys", 1),
        ("own", 1),
    ]


async def test_what_is_removed_is_gone_but_for_what_has_run(
    stores: tuple[DefinitionStore, DefinitionStore],
) -> None:
    here, there = stores
    await here.put("check", "one", "ada")
    await here.mark_run("check", 1)
    await here.put("check", "two", "ada")
    await there.remove("check")
    assert (await here.get("check")).version == 1
    await here.put("draft", "one", "ada")
    await there.remove("draft")
    for missing in (here.get("draft"), here.get("check", 2), here.mark_run("draft", 1), here.remove("draft")):
        with pytest.raises(NotFound):
            await missing


async def test_two_who_store_at_once_lose_nothing(stores: tuple[DefinitionStore, DefinitionStore]) -> None:
    here, there = stores
    await here.put("check", "first", "ada")
    await here.mark_run("check", 1)
    versions: list[int] = []

    async def store(into: DefinitionStore, source: str) -> None:
        stored = await into.put("check", source, "ada")
        await into.mark_run("check", stored.version)
        versions.append(stored.version)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(store, (here, there)[number % 2], "same")
    assert set(versions) == {2}
    assert [one.source for one in await here.versions("check")] == ["same", "first"]


async def test_an_owner_has_so_many_names_and_no_more(
    stores: tuple[DefinitionStore, DefinitionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = stores
    for module in ("memory", "sqlite", "postgres"):
        monkeypatch.setattr(f"quantum_suite.services.definitions.{module}.MAX_NAMES", 2)
    for number in range(2):
        await here.put(f"check_{number}", "one", "ada")
    with pytest.raises(Conflict, match=str(MAX_NAMES)):
        await here.put("check_2", "one", "ada")
    assert (await here.put("check_1", "two", "ada")).source == "two"
