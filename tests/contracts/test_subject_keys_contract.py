"""What every store of data subjects' keys guarantees."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import Damaged
from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.encryption.cipher import key_id_of
from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.encryption.interface import KeyProvider
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.encryption.subjects.interface import SubjectKeyRows
from quantum_suite.services.encryption.subjects.memory import MemorySubjectKeyRows
from quantum_suite.services.encryption.subjects.postgres import PostgresSubjectKeyRows
from quantum_suite.services.encryption.subjects.sqlite import (
    MIGRATIONS,
    SqliteSubjectKeyRows,
    open_sqlite_subject_keys,
)
from quantum_suite.services.encryption.subjects.wrapped import WrappedSubjectKeys

pytestmark = pytest.mark.anyio


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Kept:
    """Rows that several users of them share, each with caches of its own."""

    new_rows: Callable[[], SubjectKeyRows]
    provider: KeyProvider = field(default_factory=MemoryKeyProvider)
    clock: Clock = field(default_factory=Clock)

    def user(self) -> WrappedSubjectKeys:
        return WrappedSubjectKeys(self.new_rows(), self.provider, forget_seconds=1, monotonic=self.clock)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            rows = MemorySubjectKeyRows()
            yield Kept(lambda: rows)
        elif request.param == "sqlite":

            def new_rows() -> SubjectKeyRows:
                database = stack.enter_context(SqliteDatabase(tmp_path / "subject_keys.db", MIGRATIONS))
                return SqliteSubjectKeyRows(database)

            yield Kept(new_rows)
        else:
            url = request.getfixturevalue("postgres_url")
            database = await stack.enter_async_context(open_postgres(url))
            yield Kept(lambda: PostgresSubjectKeyRows(database))


async def test_a_subject_keeps_its_key(kept: Kept) -> None:
    keys = kept.user()
    first = await keys.obtain(["key:ann", "key:bob"])
    assert first["key:ann"].id != first["key:bob"].id
    assert await keys.obtain(["key:bob", "key:ann"]) == first
    assert await kept.user().obtain(["key:ann", "key:bob"]) == first


async def test_keys_are_found_by_the_name_that_ciphertext_carries(kept: Kept) -> None:
    keys = await kept.user().obtain(["key:ann", "key:größe\n'; --"])
    found = await kept.user().find([key.id for key in keys.values()] + ["00" * 8])
    assert found == {key.id: key for key in keys.values()}
    assert await kept.user().find([]) == {}


async def test_those_who_make_a_key_at_once_agree_on_one(kept: Kept) -> None:
    users = [kept.user() for _ in range(6)]
    await kept.provider.current()
    ids: set[str] = set()

    async def obtain(user: WrappedSubjectKeys, subjects: list[str]) -> None:
        ids.update(f"{subject} {key.id}" for subject, key in (await user.obtain(subjects)).items())

    async with anyio.create_task_group() as tasks:
        for number, user in enumerate(users):
            tasks.start_soon(obtain, user, ["a", "b", "c"] if number % 2 else ["c", "b", "a"])
    assert len(ids) == 3


async def test_an_erased_key_is_gone_and_the_next_one_is_another(kept: Kept) -> None:
    keys = kept.user()
    old = (await keys.obtain(["key:ann"]))["key:ann"]
    assert await keys.erase("key:ann")
    assert await keys.find([old.id]) == {}
    assert not await keys.erase("key:ann")
    new = (await keys.obtain(["key:ann"]))["key:ann"]
    assert new.id != old.id
    assert new.secret != old.secret
    assert await keys.find([old.id]) == {}


async def test_erasing_one_subject_leaves_the_others(kept: Kept) -> None:
    keys = kept.user()
    before = await keys.obtain(["key:ann", "key:bob"])
    await keys.erase("key:ann")
    assert (await keys.obtain(["key:bob"]))["key:bob"] == before["key:bob"]


async def test_others_forget_an_erased_key_within_the_bound(kept: Kept) -> None:
    mine, theirs = kept.user(), kept.user()
    old = (await mine.obtain(["key:ann"]))["key:ann"]
    await theirs.find([old.id])
    await mine.erase("key:ann")
    kept.clock.now += 1.001
    assert await theirs.find([old.id]) == {}
    assert (await theirs.obtain(["key:ann"]))["key:ann"].id != old.id


async def test_what_is_read_while_another_erases_does_not_stay_in_the_cache(kept: Kept) -> None:
    mine, theirs = kept.user(), kept.user()
    old = (await mine.obtain(["key:ann"]))["key:ann"]
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(theirs.find, [old.id])
        tasks.start_soon(mine.erase, "key:ann")
    kept.clock.now += 1.001
    assert await theirs.find([old.id]) == {}


async def test_keys_lie_wrapped_and_rewrapping_moves_them_under_the_newest_key(kept: Kept) -> None:
    keys, rows = kept.user(), kept.new_rows()
    before = await keys.obtain([f"key:{n}" for n in range(3)])
    old = await kept.provider.current()
    stored = await rows.page("", 10)
    assert all(before[row.subject].secret not in row.wrapped for row in stored)
    assert {key_id_of(row.wrapped) for row in stored} == {old.id}
    new = await kept.provider.rotate()
    assert await keys.rewrap() == 3
    assert {key_id_of(row.wrapped) for row in await rows.page("", 10)} == {new.id}
    assert await keys.rewrap() == 0
    assert await kept.user().obtain(list(before)) == before


async def test_rewrapping_brings_no_erased_key_back(kept: Kept) -> None:
    keys, rows = kept.user(), kept.new_rows()
    await keys.obtain(["key:ann"])
    (row,) = await rows.page("", 10)
    await keys.erase("key:ann")
    assert not await rows.replace(row.id, row.wrapped, b"wrapped anew")
    assert await keys.count() == 0


async def test_a_wrapped_key_moved_to_another_subject_does_not_open(kept: Kept) -> None:
    keys, rows = kept.user(), kept.new_rows()
    await keys.obtain(["key:ann", "key:bob"])
    ann, bob = await rows.page("", 10)
    await rows.replace(ann.id, ann.wrapped, bob.wrapped)
    with pytest.raises(Damaged, match="does not open"):
        await kept.user().obtain([ann.subject])


async def test_more_keys_than_a_page_are_rewrapped(kept: Kept) -> None:
    keys = kept.user()
    await keys.obtain([f"key:{n}" for n in range(1100)])
    assert await keys.count() == 1100
    await kept.provider.rotate()
    assert await keys.rewrap() == 1100


ANOTHER_PROCESS = """
import anyio, sys
from pathlib import Path
from quantum_suite.services.encryption.file import FileKeyProvider
from quantum_suite.services.encryption.subjects.sqlite import open_sqlite_subject_keys

async def main():
    directory = Path(sys.argv[1])
    with open_sqlite_subject_keys(directory / "subject_keys.db", FileKeyProvider(directory / "keys.json")) as keys:
        if sys.argv[2] == "erase":
            await keys.erase("key:ann")
        else:
            await FileKeyProvider(directory / "keys.json").rotate()
            await keys.rewrap()

anyio.run(main)
"""


async def test_a_running_process_forgets_what_another_process_erases(tmp_path: Path) -> None:
    provider = FileKeyProvider(tmp_path / "keys.json")
    with open_sqlite_subject_keys(tmp_path / "subject_keys.db", provider, forget_seconds=0.2) as keys:
        key = (await keys.obtain(["key:ann"]))["key:ann"]
        subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), "erase"], check=True)
        with anyio.fail_after(25):
            while await keys.find([key.id]):
                await anyio.sleep(0.02)


async def test_a_running_process_reads_on_when_another_one_rotates_and_rewraps(tmp_path: Path) -> None:
    provider = FileKeyProvider(tmp_path / "keys.json")
    with open_sqlite_subject_keys(tmp_path / "subject_keys.db", provider, forget_seconds=0) as keys:
        before = await keys.obtain(["key:ann"])
        subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), "rotate"], check=True)
        assert await keys.obtain(["key:ann", "key:bob"]) == {**before, **await keys.obtain(["key:bob"])}


async def test_nothing_of_an_erased_key_is_left_in_the_sqlite_files(tmp_path: Path) -> None:
    provider = FileKeyProvider(tmp_path / "keys.json")
    path = tmp_path / "subject_keys.db"
    with SqliteDatabase(path, MIGRATIONS) as database:
        rows = SqliteSubjectKeyRows(database)
        keys = WrappedSubjectKeys(rows, provider)
        await keys.obtain([f"key:{n}" for n in range(50)])
        wrapped = {row.subject: row.wrapped for row in await rows.page("", 100)}["key:7"]

        def lies_somewhere() -> bool:
            return any(wrapped in file.read_bytes() for file in tmp_path.glob("subject_keys.db*"))

        assert lies_somewhere()
        await keys.erase("key:7")
        assert not lies_somewhere()
