"""The bad moments of copying a workspace: links put in the way, files written to, the disk full."""

import errno
import os
from pathlib import Path

import pytest

from quantum_suite.core.errors import CallerError, Unavailable
from quantum_suite.services.scratch.copying import CopyStopped, TreeCopier
from quantum_suite.services.scratch.files import FileScratchSpace

pytestmark = pytest.mark.anyio


def copier(origin: Path, target: Path, **options: object) -> TreeCopier:
    target.mkdir()
    settings: dict[str, object] = {"max_bytes": 10**9, "max_file_bytes": 10**9, "stopped": lambda: False}
    return TreeCopier(origin, target, **(settings | options))  # type: ignore[arg-type]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    origin = (tmp_path / "origin").resolve()
    origin.mkdir()
    return origin


def test_a_folder_that_became_a_link_is_not_followed(origin: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("hush")
    (origin / "folder").symlink_to(tmp_path / "secret")
    with pytest.raises(CallerError, match="folder became a link while the workspace was copied"):
        copier(origin, tmp_path / "copy").copy(["folder/key"])
    assert list((tmp_path / "copy").iterdir()) == []


def test_what_went_away_meanwhile_is_left_out_in_silence(origin: Path, tmp_path: Path) -> None:
    copied = copier(origin, tmp_path / "copy").copy(["gone"])
    assert (copied.entries, copied.omitted) == ([], [])


def test_history_is_never_copied_though_it_were_listed(origin: Path, tmp_path: Path) -> None:
    (origin / "sub/.git").mkdir(parents=True)
    (origin / "sub/.git/config").touch()
    assert copier(origin, tmp_path / "copy").copy(["sub/.git/config"]).entries == []


def test_a_copy_that_is_no_longer_wanted_stops(origin: Path, tmp_path: Path) -> None:
    (origin / "a").touch()
    with pytest.raises(CopyStopped):
        copier(origin, tmp_path / "copy", stopped=lambda: True).copy(["a"])
    answers = iter([False, True])
    (origin / "a").write_bytes(bytes(10))
    with pytest.raises(CopyStopped):
        copier(origin, tmp_path / "again", stopped=lambda: next(answers)).copy(["a"])


def test_a_file_that_is_written_to_all_the_time_is_left_out_with_the_reason(origin: Path, tmp_path: Path) -> None:
    (origin / "log").write_bytes(b"begin")

    def meanwhile() -> bool:
        with (origin / "log").open("ab") as file:
            file.write(b"more")
        return False

    copied = copier(origin, tmp_path / "copy", stopped=meanwhile).copy(["log"])
    assert [(omitted.path, omitted.reason) for omitted in copied.omitted] == [
        ("log", "It was written to all the time.")
    ]
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_file_that_cannot_be_read_is_left_out_with_the_reason(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (origin / "a").write_bytes(b"a")
    (origin / "b").write_bytes(b"b")
    really = os.open

    def refuse(path: str, *arguments: int, **options: int) -> int:
        if path == "a":
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    copied = copier(origin, tmp_path / "copy").copy(["a", "b"])
    assert [omitted.reason for omitted in copied.omitted] == ["It cannot be read: Permission denied."]
    assert [entry.path for entry in copied.entries] == ["b"]


async def test_a_full_disk_is_told_and_nothing_is_left(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (origin / "a").write_bytes(b"a")

    def no_room(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("quantum_suite.services.scratch.copying._write_all", no_room)
    monkeypatch.setattr("quantum_suite.services.scratch.copying._clone", lambda *_: False)
    with pytest.raises(Unavailable, match="No space left on device"):
        async with FileScratchSpace(tmp_path / "copies").copy(origin):
            pass
    assert list((tmp_path / "copies").iterdir()) == []


async def test_an_environment_elsewhere_is_linked_if_it_is_one(origin: Path, tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment/pyvenv.cfg").touch()
    (tmp_path / "secret").mkdir()
    (origin / ".venv").symlink_to(tmp_path / "environment")
    (origin / "venv").symlink_to(tmp_path / "secret")
    (origin / "a").touch()
    async with FileScratchSpace(tmp_path / "copies").copy(origin) as scratch:
        names = sorted(path.name for path in scratch.root.iterdir())
        assert "venv" not in names
        assert [omitted.path for omitted in scratch.omitted if omitted.path == "venv"] == ["venv"]
