"""What every store of changes promises: whole or not at all, undone exactly, and never over somebody's work."""

import errno
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import Conflict, NotFound, Unavailable
from quantum_suite.services.changes import states
from quantum_suite.services.changes.interface import ChangeStore, FilesChanged
from quantum_suite.services.changes.memory import MemoryChangeStore
from quantum_suite.services.changes.sqlite import SqliteChangeStore, open_change_store
from quantum_suite.services.patches.interface import ChangeSet, FileChange, PatchRefused
from quantum_suite.services.patches.paths import TreeFiles

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChangeStore]:
    if request.param == "memory":
        yield MemoryChangeStore(keep=3)
    else:
        with SqliteChangeStore(tmp_path / "changes", keep=3) as opened:
            yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "pkg/a.py").write_bytes(b"a = 1\r\n")
    (root / "gone.txt").write_bytes(b"bye")
    (root / "old.sh").write_bytes(b"#!/bin/sh\n")
    (root / "old.sh").chmod(0o755)
    (root / "mode").write_bytes(b"x")
    return root


CHANGE = ChangeSet(
    (
        FileChange("pkg/a.py", b"a = 1\r\n", b"a = 2\r\n"),
        FileChange("gone.txt", b"bye", None),
        FileChange("new/deep/b.py", None, b"\x00binary\xff"),
        FileChange("bin/new.sh", b"#!/bin/sh\n", b"#!/bin/sh\nexit\n", renamed_from="old.sh"),
        FileChange("mode", b"x", b"x", executable=True),
        FileChange("caf\udce9", None, b"odd name"),
    )
)


def tree(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file below a folder: content, and whether it may be run."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            found[str(path.relative_to(root))] = (path.read_bytes(), os.access(path, os.X_OK))
    return found


AFTER = {
    "pkg/a.py": (b"a = 2\r\n", False),
    "new/deep/b.py": (b"\x00binary\xff", False),
    "bin/new.sh": (b"#!/bin/sh\nexit\n", True),
    "mode": (b"x", True),
    "caf\udce9": (b"odd name", False),
}


async def test_a_change_is_applied_and_undone_exactly(store: ChangeStore, root: Path) -> None:
    before = tree(root)
    applied = await store.apply("alice", root, CHANGE, summary="Make it two")
    assert tree(root) == AFTER
    assert (applied.principal, applied.summary, applied.state, applied.root) == (
        "alice",
        "Make it two",
        "applied",
        root.resolve(),
    )
    assert [(file.path, file.kind, file.renamed_from) for file in applied.files] == [
        ("pkg/a.py", "changed", None),
        ("gone.txt", "removed", None),
        ("new/deep/b.py", "added", None),
        ("bin/new.sh", "renamed", "old.sh"),
        ("mode", "changed", None),
        ("caf\udce9", "added", None),
    ]
    assert applied.files[0].after_hash == hashlib.sha256(b"a = 2\r\n").hexdigest()
    assert (applied.files[1].after_hash, applied.files[2].before_hash) == (None, None)
    assert await store.get(applied.id) == applied
    undone = await store.undo("bob", applied.id)
    assert tree(root) == before
    assert not (root / "new").exists()
    assert (undone.state, undone.undone_by, undone.principal) == ("undone", "bob", "alice")
    assert undone.undone_at is not None
    assert undone.undone_at >= applied.applied_at
    assert await store.get(applied.id) == undone


async def test_what_a_change_did_can_be_read_again(store: ChangeStore, root: Path) -> None:
    applied = await store.apply("alice", root, CHANGE)
    assert await store.change_set(applied.id) == CHANGE


async def test_a_change_is_undone_once(store: ChangeStore, root: Path) -> None:
    applied = await store.apply("alice", root, CHANGE)
    await store.undo("alice", applied.id)
    with pytest.raises(Conflict, match="undone already"):
        await store.undo("alice", applied.id)


async def test_undoing_is_refused_when_files_have_changed_since_and_names_them(
    store: ChangeStore, root: Path
) -> None:
    applied = await store.apply("alice", root, CHANGE)
    (root / "pkg/a.py").write_bytes(b"mine")
    (root / "gone.txt").write_bytes(b"back again")
    (root / "new/deep/b.py").unlink()
    now = tree(root)
    with pytest.raises(FilesChanged) as caught:
        await store.undo("alice", applied.id)
    assert set(caught.value.paths) == {"pkg/a.py", "gone.txt", "new/deep/b.py"}
    assert "Nothing was written" in str(caught.value)
    assert tree(root) == now
    assert (await store.get(applied.id)).state == "applied"


async def test_applying_is_refused_when_a_file_is_not_as_before(store: ChangeStore, root: Path) -> None:
    (root / "pkg/a.py").write_bytes(b"other")
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/b.py").write_bytes(b"there already")
    now = tree(root)
    with pytest.raises(FilesChanged) as caught:
        await store.apply("alice", root, CHANGE)
    assert set(caught.value.paths) == {"pkg/a.py", "new/deep/b.py"}
    assert tree(root) == now
    assert await store.newest() == []


async def test_further_files_that_were_the_proof_must_not_have_changed(store: ChangeStore, root: Path) -> None:
    (root / "test_a.py").write_bytes(b"assert True")
    change = ChangeSet((FileChange("pkg/a.py", b"a = 1\r\n", b"a = 2\r\n"),))
    right = {"test_a.py": hashlib.sha256(b"assert True").hexdigest(), "absent.py": None}
    wrong = {"test_a.py": hashlib.sha256(b"assert False").hexdigest(), "gone.txt": None}
    with pytest.raises(FilesChanged) as caught:
        await store.apply("alice", root, change, expected=wrong)
    assert set(caught.value.paths) == {"test_a.py", "gone.txt"}
    assert (await store.apply("alice", root, change, expected=right)).state == "applied"


async def test_paths_over_links_are_refused_and_nothing_is_written(
    store: ChangeStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    for path in ("link/x", "../outside/x", ".git/hooks/x"):
        change = ChangeSet((FileChange("pkg/a.py", b"a = 1\r\n", b"2"), FileChange(path, None, b"x")))
        with pytest.raises(PatchRefused):
            await store.apply("alice", root, change)
    assert list((tmp_path / "outside").iterdir()) == []
    assert (root / "pkg/a.py").read_bytes() == b"a = 1\r\n"


@pytest.mark.parametrize("failing", range(1, 6))
async def test_a_disk_that_is_full_leaves_everything_as_it_was(
    store: ChangeStore, root: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    before = tree(root)
    really, count = states.put_state, 0

    def no_room(files: TreeFiles, path: str, *rest: object) -> None:
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        really(files, path, *rest)  # type: ignore[arg-type] # passed on as they came

    with monkeypatch.context() as patched:
        patched.setattr(states, "put_state", no_room)
        with pytest.raises(Unavailable, match=r"No space left on device. Nothing was changed"):
            await store.apply("alice", root, CHANGE)
    assert tree(root) == before
    assert await store.newest() == []
    applied = await store.apply("alice", root, CHANGE)
    count = 0
    with monkeypatch.context() as patched:
        patched.setattr(states, "put_state", no_room)
        with pytest.raises(Unavailable, match="Nothing was changed"):
            await store.undo("alice", applied.id)
    assert tree(root) == AFTER
    await store.undo("alice", applied.id)
    assert tree(root) == before


async def test_a_file_that_somebody_writes_to_in_the_last_moment_is_not_lost(
    store: ChangeStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(root)
    really = states.put_state

    def meddle(files: TreeFiles, path: str, *rest: object) -> None:
        really(files, path, *rest)  # type: ignore[arg-type] # passed on as they came
        (root / "mode").write_bytes(b"theirs")

    with monkeypatch.context() as patched:
        patched.setattr(states, "put_state", meddle)
        with pytest.raises(FilesChanged, match="mode"):
            await store.apply("alice", root, CHANGE)
    assert tree(root) == before | {"mode": (b"theirs", False)}


async def test_changes_are_seen_by_their_owner_and_listed_newest_first(
    store: ChangeStore, root: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    first = await store.apply("alice", root, ChangeSet((FileChange("1", None, b"1"),)))
    second = await store.apply("bob", root, ChangeSet((FileChange("2", None, b"2"),)))
    third = await store.apply("alice", other, ChangeSet((FileChange("3", None, b"3"),)))
    assert [change.id for change in await store.newest()] == [third.id, second.id, first.id]
    assert await store.newest(root, owner="alice") == [first]
    assert await store.newest(limit=1) == [third]
    for call in (store.get, store.change_set):
        with pytest.raises(NotFound, match="There is no change"):
            await call(second.id, owner="alice")
    with pytest.raises(NotFound, match="There is no change"):
        await store.undo("alice", second.id, owner="alice")
    with pytest.raises(NotFound, match="There is no change"):
        await store.get("change_nonsense")
    assert (await store.undo("alice", second.id)).undone_by == "alice"


async def test_only_the_newest_changes_of_a_workspace_are_kept(
    store: ChangeStore, root: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = await store.apply("alice", elsewhere, ChangeSet((FileChange("0", None, b"0"),)))
    for number in range(1, 6):
        await store.apply("alice", root, ChangeSet((FileChange(str(number), None, b"x"),)))
    assert [change.files[0].path for change in await store.newest(root)] == ["5", "4", "3"]
    assert await store.get(kept.id) == kept


async def test_changes_of_one_workspace_are_made_one_after_another(store: ChangeStore, root: Path) -> None:
    results: list[str] = []

    async def one(number: int) -> None:
        change = ChangeSet((FileChange("pkg/a.py", b"a = 1\r\n", b"%d" % number),))
        try:
            results.append((await store.apply("alice", root, change)).state)
        except FilesChanged:
            results.append("refused")

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(one, number)
    assert sorted(results) == ["applied", *["refused"] * 5]


# --- kill -9 --------------------------------------------------------------------------------------------------

VICTIM = """
import anyio, os, sys
from pathlib import Path
sys.path.insert(0, {contracts!r})
from test_change_store_contract import CHANGE
from quantum_suite.services.changes import states
from quantum_suite.services.changes.sqlite import SqliteChangeStore, open_change_store
from quantum_suite.services.databases.sqlite import SqliteDatabase
from quantum_suite.services.patches.paths import TreeFiles

calls = 0
def dying(original, at):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), 9)
        return original(*arguments, **options)
    return call

async def main(what, where, at):
    store = await open_change_store(Path({directory!r}))
    change = (await store.apply("alice", Path({root!r}), CHANGE)).id if what == "undo" else None
    if where == "rename":
        os.rename = dying(os.rename, at)
    elif where == "remove":
        os.unlink = dying(os.unlink, at)
    else:
        SqliteDatabase.write_now = dying(SqliteDatabase.write_now, at)
    if what == "undo":
        await store.undo("alice", change)
    else:
        await store.apply("alice", Path({root!r}), CHANGE)
    print("finished")

anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


async def killed(root: Path, directory: Path, *arguments: str) -> bool:
    """Run a process that dies in the middle; returns whether it did."""
    program = VICTIM.format(contracts=str(Path(__file__).parent), root=str(root), directory=str(directory))
    done = await anyio.run_process([sys.executable, "-c", program, *arguments], check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


@pytest.mark.parametrize(
    ("where", "at"),
    [("rename", 1), ("rename", 3), ("rename", 5), ("remove", 1), ("remove", 2), ("database", 2), ("database", 3)],
)
async def test_a_change_that_a_kill_interrupted_is_taken_back_or_done(
    root: Path, tmp_path: Path, where: str, at: int
) -> None:
    before = tree(root)
    assert await killed(root, tmp_path / "changes", "apply", where, str(at))
    with await open_change_store(tmp_path / "changes") as store:
        done = await store.newest()
        assert tree(root) == (AFTER if done else before)
        assert bool(done) == ((where, at) == ("database", 3))
        if not done:
            await store.apply("alice", root, CHANGE)
    assert tree(root) == AFTER


@pytest.mark.parametrize(
    ("where", "at"), [("rename", 1), ("rename", 4), ("remove", 1), ("remove", 3), ("database", 1), ("database", 2)]
)
async def test_an_undoing_that_a_kill_interrupted_is_brought_to_its_end(
    root: Path, tmp_path: Path, where: str, at: int
) -> None:
    before = tree(root)
    assert await killed(root, tmp_path / "changes", "undo", where, str(at))
    with await open_change_store(tmp_path / "changes") as store:
        (change,) = await store.newest()
        if (where, at) == ("database", 1):
            assert (change.state, tree(root)) == ("applied", AFTER)
        else:
            assert (change.state, change.undone_by, tree(root)) == ("undone", "alice", before)


async def test_what_somebody_changed_after_the_kill_is_left_alone_and_named(root: Path, tmp_path: Path) -> None:
    before = tree(root)
    assert await killed(root, tmp_path / "changes", "apply", "rename", "4")
    (root / "pkg/a.py").write_bytes(b"mine")
    with await open_change_store(tmp_path / "changes") as store:
        (change,) = await store.newest()
        assert (change.state, change.interrupted_paths) == ("interrupted", ("pkg/a.py",))
        assert tree(root) == before | {"pkg/a.py": (b"mine", False)}
        with pytest.raises(Conflict, match=r"interrupted by a crash.*pkg/a.py"):
            await store.undo("alice", change.id)


async def test_a_crash_is_mended_before_the_next_change_though_the_store_was_open(
    root: Path, tmp_path: Path
) -> None:
    with await open_change_store(tmp_path / "changes") as store:
        assert await killed(root, tmp_path / "changes", "apply", "rename", "2")
        applied = await store.apply("alice", root, CHANGE)
        assert tree(root) == AFTER
        assert [change.id for change in await store.newest()] == [applied.id]


async def test_a_workspace_that_is_gone_does_not_hinder_the_opening(root: Path, tmp_path: Path) -> None:
    assert await killed(root, tmp_path / "changes", "apply", "rename", "2")
    root.rename(tmp_path / "moved")
    with await open_change_store(tmp_path / "changes") as store:
        assert [change.state for change in await store.newest()] == ["interrupted"]


async def test_a_workspace_that_another_holds_is_waited_for_only_so_long(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        SqliteChangeStore(tmp_path / "changes") as store,
        SqliteChangeStore(tmp_path / "changes", lock_seconds=0.05) as other,
    ):
        inside, refused = anyio.Event(), anyio.Event()
        really = states.put_state

        def hold(files: TreeFiles, path: str, *rest: object) -> None:
            anyio.from_thread.run_sync(inside.set)
            anyio.from_thread.run(refused.wait)
            really(files, path, *rest)  # type: ignore[arg-type] # passed on as they came

        monkeypatch.setattr(states, "put_state", hold)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.apply, "alice", root, CHANGE)
            await inside.wait()
            with pytest.raises(Unavailable, match="Another change is being made"):
                await other.apply("bob", root, ChangeSet((FileChange("x", None, b"x"),)))
            other.mend_all()
            refused.set()
        assert tree(root) == AFTER
