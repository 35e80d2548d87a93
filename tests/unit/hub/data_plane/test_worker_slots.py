"""Names of workers, which last longer than processes."""

from pathlib import Path

import pytest

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.data_plane.worker_slots import worker_slot


def test_a_process_that_follows_another_has_its_name_and_one_beside_it_another(tmp_path: Path) -> None:
    with worker_slot(tmp_path) as first, worker_slot(tmp_path) as beside:
        assert first != beside
        assert first.rpartition("-")[0] == beside.rpartition("-")[0] != ""
    with worker_slot(tmp_path) as follower:
        assert follower == first


def test_a_name_that_was_never_written_whole_is_nobodys(tmp_path: Path) -> None:
    """Killed while it made its name up, a machine makes up another: an empty name would be others', too."""
    cut_short = tmp_path / "machine_0"
    cut_short.touch()
    with worker_slot(tmp_path) as name:
        assert (tmp_path / "machine").read_text() == name.rpartition("-")[0] != ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.lock", "machine", "machine_0"]


def test_a_directory_that_cannot_be_used_is_said_in_plain_words(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(Unavailable, match=f"{occupied} cannot be used: File exists"), worker_slot(occupied):
        pass
