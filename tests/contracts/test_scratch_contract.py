"""What a copy of a workspace holds, what it leaves out, and that it is gone afterwards."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.scratch.files import FileScratchSpace, open_scratch_space
from quantum_suite.services.scratch.interface import Scratch, ScratchSpace

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["files"])
async def space(request: pytest.FixtureRequest, tmp_path: Path) -> ScratchSpace:
    return await open_scratch_space(tmp_path / "copies")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", root, *arguments], check=True, capture_output=True)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its path."""
    return {
        str(Path(folder, name).relative_to(root)): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
        if not Path(folder, name).is_symlink()
    }


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def reasons(scratch: Scratch) -> dict[str, str]:
    return {omitted.path: omitted.reason for omitted in scratch.omitted}


async def test_a_copy_has_the_files_with_their_modes_and_times(space: ScratchSpace, root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub/run.sh").write_text("#!/bin/sh\n")
    (root / "sub/run.sh").chmod(0o755)
    (root / "a.py").write_text("x = 1\n")
    os.utime(root / "a.py", ns=(1, 1_600_000_000_123_456_789))
    async with space.copy(root) as scratch:
        assert contents(scratch.root) == {"a.py": b"x = 1\n", "sub/run.sh": b"#!/bin/sh\n"}
        assert os.access(scratch.root / "sub/run.sh", os.X_OK)
        assert (scratch.root / "a.py").stat().st_mtime_ns == 1_600_000_000_123_456_789
        assert (scratch.origin, scratch.files, scratch.omitted) == (root.resolve(), 2, ())
        assert scratch.root == scratch.root.resolve()
        assert scratch.root.name == "project"
        (scratch.root / "a.py").write_text("changed")
        kept = scratch.root
    assert (root / "a.py").read_text() == "x = 1\n"
    assert not kept.exists()


async def test_in_a_repository_what_is_ignored_and_the_history_stay_behind(
    space: ScratchSpace, root: Path
) -> None:
    git(root, "init", "-q")
    for name in ("tracked", "new", "ignored.log", "tracked.log", "deleted"):
        (root / name).write_text(name)
    (root / ".gitignore").write_text("*.log\n")
    git(root, "add", "-f", "tracked", "tracked.log", "deleted", ".gitignore")
    (root / "deleted").unlink()
    async with space.copy(root) as scratch:
        assert sorted(contents(scratch.root)) == [".gitignore", "new", "tracked", "tracked.log"]


async def test_a_folder_of_a_repository_is_copied_alone(space: ScratchSpace, root: Path) -> None:
    git(root, "init", "-q")
    (root / "part").mkdir()
    (root / "part/a").write_text("a")
    (root / "other").write_text("b")
    async with space.copy(root / "part") as scratch:
        assert contents(scratch.root) == {"a": b"a"}


async def test_repositories_inside_are_copied_as_they_see_themselves(space: ScratchSpace, root: Path) -> None:
    git(root, "init", "-q")
    inner = root / "vendor/inner"
    inner.mkdir(parents=True)
    git(inner, "init", "-q")
    (inner / "a").write_text("a")
    (inner / "b.log").write_text("b")
    (inner / ".gitignore").write_text("*.log\n")
    async with space.copy(root) as scratch:
        assert sorted(contents(scratch.root)) == ["vendor/inner/.gitignore", "vendor/inner/a"]


async def test_a_repository_cannot_have_programs_run(space: ScratchSpace, root: Path, tmp_path: Path) -> None:
    git(root, "init", "-q")
    git(root, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    (root / "a").write_text("a")
    async with space.copy(root) as scratch:
        assert contents(scratch.root) == {"a": b"a"}
    assert not (tmp_path / "ran").exists()


async def test_without_version_control_what_tools_leave_stays_behind(space: ScratchSpace, root: Path) -> None:
    for name in ("pkg/a.py", "pkg/__pycache__/a.pyc", ".mypy_cache/x", ".git/config", "build/kept"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    async with space.copy(root) as scratch:
        assert sorted(contents(scratch.root)) == ["build/kept", "pkg/a.py"]


async def test_links_that_stay_inside_are_kept_and_lead_into_the_copy(space: ScratchSpace, root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub/a").write_text("a")
    (root / "relative").symlink_to("sub/a")
    (root / "absolute").symlink_to(root / "sub/a")
    (root / "folder").symlink_to("sub")
    (root / "sub/up").symlink_to("../relative")
    async with space.copy(root) as scratch:
        (scratch.root / "sub/a").write_text("b")
        for name in ("relative", "absolute", "folder/a", "sub/up"):
            assert (scratch.root / name).read_text() == "b"
    assert (root / "sub/a").read_text() == "a"


async def test_links_that_lead_outside_are_left_out_with_the_reason(
    space: ScratchSpace, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("hush")
    (root / "key").symlink_to(tmp_path / "secret/key")
    (root / "up").symlink_to("../secret")
    (root / "sneaky").symlink_to("up/key")
    (root / "node_modules").symlink_to(tmp_path / "secret")
    (root / "a").write_text("a")
    async with space.copy(root) as scratch:
        assert names_in(scratch.root) == ["a"]
        assert set(reasons(scratch)) == {"key", "up", "sneaky", "node_modules"}
        assert all("leads outside" in reason for reason in reasons(scratch).values())
        assert scratch.read_only == ()


async def test_what_is_no_file_is_left_out_and_holds_nobody_up(space: ScratchSpace, root: Path) -> None:
    os.mkfifo(root / "pipe")
    place = Path.cwd()
    os.chdir(root)  # Names of sockets are short.
    try:
        server = socket.socket(socket.AF_UNIX)
        server.bind("socket")
    finally:
        os.chdir(place)
    (root / "a").write_text("a")
    with anyio.fail_after(50):
        async with space.copy(root) as scratch:
            assert contents(scratch.root) == {"a": b"a"}
            assert reasons(scratch) == {"pipe": "It is a FIFO.", "socket": "It is a socket."}
    server.close()


@pytest.mark.parametrize("versioned", [True, False])
async def test_names_in_any_encoding_are_copied(space: ScratchSpace, root: Path, versioned: bool) -> None:
    names = [
        b"caf\xe9",
        "grün".encode(),
        b"new\nline",
        b"quote\"'",
        b" space ",
        b"-dash",
        b"back\\slash",
        b"tab\t",
    ]
    if versioned:
        git(root, "init", "-q")
    for name in names:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    async with space.copy(root) as scratch:
        assert {os.fsencode(path): content for path, content in contents(scratch.root).items()} == {
            name: name for name in names
        }


async def test_a_large_file_is_copied_and_one_past_the_limit_is_named(tmp_path: Path, root: Path) -> None:
    space = FileScratchSpace(tmp_path / "copies", max_file_bytes=100 * 1024**2)
    with (root / "large").open("wb") as file:
        file.truncate(100 * 1024**2)
    with (root / "larger").open("wb") as file:
        file.truncate(100 * 1024**2 + 1)
    async with space.copy(root) as scratch:
        assert (scratch.root / "large").stat().st_size == 100 * 1024**2
        assert reasons(scratch) == {"larger": "It has 104857601 bytes; a file may have 104857600."}


async def test_a_workspace_that_is_too_large_is_refused_and_leaves_nothing(
    space: ScratchSpace, root: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (root / str(number)).write_bytes(bytes(1000))
    with pytest.raises(CallerError, match="more than 2500 bytes"):
        async with space.copy(root, max_bytes=2500):
            pass
    assert names_in(tmp_path / "copies") == []


async def test_what_is_no_folder_is_refused(space: ScratchSpace, root: Path) -> None:
    (root / "file").touch()
    for path in (root / "file", root / "missing"):
        with pytest.raises(CallerError, match="is not a folder"):
            async with space.copy(path):
                pass


async def test_environments_are_linked_and_named_and_not_copied(space: ScratchSpace, root: Path) -> None:
    git(root, "init", "-q")
    (root / ".gitignore").write_text("/.venv\n")
    for name in (".venv/pyvenv.cfg", ".venv/lib/x", "tools/env2/pyvenv.cfg", "web/node_modules/pkg/index.js"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    (root / "web/a.js").write_text("a")
    async with space.copy(root) as scratch:
        assert contents(scratch.root) == {".gitignore": b"/.venv\n", "web/a.js": b"a"}
        assert (scratch.root / "web/node_modules/pkg/index.js").read_text() == "x"
        assert (scratch.root / ".venv/lib/x").read_text() == "x"
        assert scratch.read_only == tuple(
            root.resolve() / name for name in (".venv", "tools/env2", "web/node_modules")
        )
        assert scratch.files == 2


async def test_the_hash_tells_states_apart_and_nothing_else(space: ScratchSpace, root: Path) -> None:
    async def now() -> str:
        async with space.copy(root) as scratch:
            return scratch.tree_hash

    (root / "b").write_text("b")
    (root / "a").write_text("a")
    (root / "link").symlink_to("a")
    first = await now()
    os.utime(root / "a", (1, 1))
    assert await now() == first
    seen = {first}
    for change in (
        lambda: (root / "a").write_text("A"),
        lambda: (root / "a").chmod(0o755),
        lambda: (root / "a").rename(root / "c"),
        lambda: ((root / "link").unlink(), (root / "link").symlink_to("b")),
        lambda: (root / "link").unlink(),
    ):
        change()
        state = await now()
        assert state not in seen
        seen.add(state)


async def test_a_file_that_is_replaced_meanwhile_is_taken_whole(space: ScratchSpace, root: Path) -> None:
    states = [bytes([letter]) * 2_000_000 for letter in b"ab"]
    (root / "file").write_bytes(states[0])
    stop = anyio.Event()

    async def replace_it() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            (root.parent / "next").write_bytes(states[number % 2])
            (root.parent / "next").rename(root / "file")
            await anyio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replace_it)
        for _ in range(10):
            async with space.copy(root) as scratch:
                assert (scratch.root / "file").read_bytes() in states
        stop.set()


async def test_a_cancelled_copy_leaves_nothing(space: ScratchSpace, root: Path, tmp_path: Path) -> None:
    for number in range(300):
        (root / str(number)).write_bytes(os.urandom(20_000))
    copies = tmp_path / "copies"
    begun = anyio.Event()

    async def copy() -> None:
        async with space.copy(root):
            raise AssertionError("it was cancelled before")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(copy)

        async def wait_for_it() -> None:
            while not copies.exists() or not names_in(copies):
                await anyio.sleep(0)
            begun.set()

        await wait_for_it()
        tasks.cancel_scope.cancel()
    assert begun.is_set()
    assert names_in(copies) == []


async def test_copies_of_killed_processes_are_swept_at_the_next_start_and_living_ones_kept(
    root: Path, tmp_path: Path
) -> None:
    (root / "a").write_text("a")
    (root / "folder").mkdir()
    (root / "folder/b").write_text("b")
    copies = tmp_path / "copies"
    program = f"""
import anyio, os, sys
from pathlib import Path
from quantum_suite.services.scratch.files import open_scratch_space
async def main():
    space = await open_scratch_space(Path({str(copies)!r}))
    async with space.copy(Path({str(root)!r})) as scratch:
        (scratch.root / "folder").chmod(0)
        print(scratch.root, flush=True)
        if sys.argv[1] == "die":
            os.kill(os.getpid(), 9)
        sys.stdin.read()
anyio.run(main)
"""
    dead = await anyio.run_process([sys.executable, "-c", program, "die"], check=False)
    assert dead.returncode == -signal.SIGKILL
    left = Path(dead.stdout.decode().strip())
    assert left.exists()
    living = await anyio.open_process([sys.executable, "-c", program, "live"])
    assert living.stdout is not None
    kept = Path((await living.stdout.receive()).decode().strip())
    await open_scratch_space(copies)
    assert not left.exists()
    assert kept.exists()
    assert living.stdin is not None
    await living.stdin.aclose()
    assert await living.wait() == 0
    assert names_in(copies) == []
    await living.stdout.aclose()
    if living.stderr is not None:
        await living.stderr.aclose()
