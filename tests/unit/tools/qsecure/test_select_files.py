"""Which files a scan looks at, and what it says of the others."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.tools.qsecure.select_files import ScanLimits, Selection, select_files, shown_path

pytestmark = pytest.mark.anyio


async def select(root: Path, paths: Sequence[str] = (), limits: ScanLimits | None = None) -> Selection:
    return await anyio.to_thread.run_sync(select_files, root, paths, limits or ScanLimits())


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))


def names(selection: Selection) -> list[str]:
    return [file.stamp.path for file in selection.files]


def left_out(selection: Selection) -> dict[str, tuple[int | None, tuple[str, ...]]]:
    return {item.what: (item.count, item.examples) for item in selection.left_out}


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A directory, and a user for whom permissions count: root reads everything."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        directory.chmod(0o755)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.chown(directory, 65534, 65534)
                os.seteuid(65534)
            yield directory
        finally:
            if is_root:
                os.seteuid(0)


async def test_a_directorys_own_files_come_first_in_alphabetical_order_with_their_stamps(tmp_path: Path) -> None:
    write(tmp_path, "b.py", "a/z.py", "a/b/c.tf", "c")
    selection = await select(tmp_path)
    assert names(selection) == ["b.py", "c", "a/z.py", "a/b/c.tf"]
    stamp = next(file.stamp for file in selection.files if file.stamp.path == "b.py")
    facts = (tmp_path / "b.py").stat()
    assert (stamp.size, stamp.modified_ns) == (4, facts.st_mtime_ns)


async def test_dependencies_histories_and_caches_are_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, "a.py", ".git/config", "node_modules/x/i.js", "web/node_modules/y.js", "p/__pycache__/a.pyc")
    write(tmp_path, "env/pyvenv.cfg", "env/lib/x.py")
    selection = await select(tmp_path)
    assert names(selection) == ["a.py"]
    assert left_out(selection) == {
        "Version-control stores": (1, (".git",)),
        "Installed dependencies": (3, ("node_modules", "env", "web/node_modules")),
        "Caches": (1, ("p/__pycache__",)),
    }


async def test_what_is_left_out_by_default_is_scanned_when_named(tmp_path: Path) -> None:
    write(tmp_path, "node_modules/x/i.js", "node_modules/y.js", "a.js")
    assert names(await select(tmp_path, ["node_modules/x"])) == ["node_modules/x/i.js"]
    assert names(await select(tmp_path / "node_modules")) == ["y.js", "x/i.js"]


async def test_ignored_files_are_scanned_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, ".env")
    (tmp_path / ".gitignore").write_text(".env\n")
    assert names(await select(tmp_path)) == [".env", ".gitignore"]


async def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write(outside, "secret.txt")
    root = tmp_path / "root"
    write(root, "a.py")
    (root / "file").symlink_to(outside / "secret.txt")
    (root / "directory").symlink_to(outside)
    (root / "loop").symlink_to(root)
    selection = await select(root)
    assert names(selection) == ["a.py"]
    assert left_out(selection)["Symbolic links"] == (3, ("directory", "file", "loop"))


async def test_pipes_and_sockets_are_named_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert left_out(await select(tmp_path)) == {"Special files": (1, ("pipe",))}


async def test_an_unreadable_directory_is_counted_and_named() -> None:
    with without_privileges() as root:
        write(root, "a.py", "closed/b.py")
        (root / "closed").chmod(0)
        selection = await select(root)
        (root / "closed").chmod(0o700)
    assert names(selection) == ["a.py"]
    assert left_out(selection)["Unreadable directories"] == (1, ("closed",))


async def test_an_unreadable_root_is_an_error_that_names_the_argument() -> None:
    with without_privileges() as root:
        write(root, "closed/b.py")
        (root / "closed").chmod(0)
        with pytest.raises(CallerError, match="cannot be read") as caught:
            await select(root / "closed")
        (root / "closed").chmod(0o700)
    assert caught.value.argument == "path"


async def test_a_single_file_is_scanned_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.py")
    selection = await select(tmp_path / "a.py")
    assert selection.base == tmp_path
    assert names(selection) == ["a.py"]


async def test_an_empty_directory_selects_nothing(tmp_path: Path) -> None:
    selection = await select(tmp_path)
    assert selection.files == []
    assert selection.left_out == []


async def test_bounds_are_kept_and_what_lies_beyond_is_said(tmp_path: Path) -> None:
    write(tmp_path, *(f"{n}.py" for n in range(9)))
    selection = await select(tmp_path, limits=ScanLimits(max_files=4))
    assert names(selection) == ["0.py", "1.py", "2.py", "3.py"]
    assert "stopped after '3.py'" in selection.left_out[-1].reason
    by_size = await select(tmp_path, limits=ScanLimits(max_total_bytes=10))
    assert names(by_size) == ["0.py", "1.py"]


async def test_large_files_are_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    (tmp_path / "big.sql").write_bytes(b"x" * 2000)
    selection = await select(tmp_path, limits=ScanLimits(max_file_bytes=1000))
    assert names(selection) == ["a.py"]
    assert left_out(selection)["Large files"] == (1, ("big.sql",))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["src"], {"src/a.py", "src/b.tf", "src/deep/c.py"}),
        (["src/"], {"src/a.py", "src/b.tf", "src/deep/c.py"}),
        (["./src/a.py"], {"src/a.py"}),
        (["*.py"], {"top.py", "src/a.py", "src/deep/c.py"}),
        (["src/*.py"], {"src/a.py"}),
        (["src/**/*.py"], {"src/a.py", "src/deep/c.py"}),
        (["**/*.tf", "top.py"], {"src/b.tf", "top.py"}),
        (["src/[ab].*"], {"src/a.py", "src/b.tf"}),
        (["src/[!a].*"], {"src/b.tf"}),
        (["src/?.py"], {"src/a.py"}),
        (["."], {"top.py", "src/a.py", "src/b.tf", "src/deep/c.py"}),
    ],
)
async def test_paths_restrict_the_scan(tmp_path: Path, paths: list[str], expected: set[str]) -> None:
    write(tmp_path, "top.py", "src/a.py", "src/b.tf", "src/deep/c.py")
    assert set(names(await select(tmp_path, paths))) == expected


@pytest.mark.parametrize("path", ["nothing", "*.nothing", "sr", "../x", "/etc", "a/../../b", "", "a\0b"])
async def test_a_path_that_is_useless_is_refused_by_name(tmp_path: Path, path: str) -> None:
    write(tmp_path, "src/a.py")
    with pytest.raises(CallerError) as caught:
        await select(tmp_path, ["src", path])
    assert caught.value.argument == "paths"


async def test_names_with_newlines_and_odd_bytes_are_kept_apart_and_shown(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.py")
    write(tmp_path, "new\nline.py", odd, "ünï.py")
    assert set(names(await select(tmp_path))) == {"new\nline.py", "caf\\xe9.py", "ünï.py"}
    assert shown_path(odd) == "caf\\xe9.py"


async def test_directories_nested_deeper_than_python_recurses_are_walked(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.py", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    assert names(await select(tmp_path)) == ["d/" * 600 + "deep.py"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("main.tf", True),
        ("Dockerfile", True),
        ("app.Dockerfile", True),
        ("Dockerfile.prod", True),
        ("Containerfile", True),
        ("values.yaml", True),
        ("template.json", True),
        ("main.py", False),
        ("README.md", False),
    ],
)
async def test_infrastructure_settings_are_told_by_their_names(tmp_path: Path, name: str, expected: bool) -> None:
    write(tmp_path, name)
    assert (await select(tmp_path)).files[0].is_configuration is expected
