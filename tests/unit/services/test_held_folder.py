"""Folders that are gone with their holder, whatever was put into them."""

import os
from pathlib import Path

import pytest

from quantum_suite.services.held_folder import held_folder, remove_tree, sweep

pytestmark = pytest.mark.anyio


async def test_a_folder_is_held_while_it_is_used_and_removed_then(tmp_path: Path) -> None:
    async with held_folder(tmp_path / "new", "x-") as folder:
        (folder / "file").touch()
        assert sweep(tmp_path / "new", "x-") == 0
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "new").iterdir()) == []


async def test_it_is_removed_when_its_use_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        async with held_folder(tmp_path, "x-"):
            raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_only_folders_of_the_name_that_nobody_holds_are_swept(tmp_path: Path) -> None:
    for name in ("x-1", "x-2", "y-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "x-file").touch()
    (tmp_path / "x-link").symlink_to(tmp_path / "y-1")
    assert sweep(tmp_path, "x-") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-file", "x-link", "y-1"]
    assert sweep(tmp_path / "missing", "x-") == 0


def test_what_may_not_be_written_to_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").touch()
    (folder / "a/b").chmod(0)
    (folder / "a").chmod(0o500)
    remove_tree(folder)
    assert not folder.exists()


def test_what_lies_too_deep_to_be_named_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for branch in range(2):
        (folder / str(branch)).mkdir(parents=True)
        descriptor = os.open(folder / str(branch), os.O_RDONLY)
        for _ in range(1100):
            os.mkdir("d" * 20, dir_fd=descriptor)
            inner = os.open("d" * 20, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(descriptor)
    remove_tree(folder)
    assert not folder.exists()
