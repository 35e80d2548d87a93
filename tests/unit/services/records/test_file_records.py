"""One file a record: whole or as before, the newest kept, nothing else in the folder touched."""

import os
from pathlib import Path

import pytest

from quantum_suite.core.ids import new_id
from quantum_suite.services.records.durable_files import replace_durably
from quantum_suite.services.records.file_records import FileRecords


def test_the_newest_are_kept_and_read_by_their_ids(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    files = FileRecords(folder, "note", 2)
    ids = sorted(new_id("note") for _ in range(4))
    for number, name in enumerate(ids):
        files.write(name, b"%d" % number)
    assert files.newest() == [ids[3], ids[2]]
    assert [files.read(name) for name in files.newest()] == [b"3", b"2"]
    assert {path.name for path in folder.iterdir()} == {f"{ids[2]}.json", f"{ids[3]}.json"}
    with pytest.raises(FileNotFoundError):
        files.read(ids[0])


@pytest.mark.parametrize(
    "name", ["", "note", "../note_" + "0" * 26, "note_" + "0" * 25 + "/", "other_" + "0" * 26]
)
def test_what_is_no_id_reaches_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / ("other_" + "0" * 26 + ".json")).write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        FileRecords(tmp_path, "note", 2).read(name)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("note_mine.json", "other.json"):
        (tmp_path / name).write_bytes(b"x")
    files = FileRecords(tmp_path, "note", 1)
    names = sorted(new_id("note") for _ in range(2))
    for name in names:
        files.write(name, b"y")
    assert files.newest() == [names[1]]
    assert {path.name for path in tmp_path.iterdir()} == {"note_mine.json", "other.json", f"{names[1]}.json"}


def test_a_replacement_that_breaks_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "no space left")

    path = tmp_path / "kept.json"
    replace_durably(path, b"before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        replace_durably(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
