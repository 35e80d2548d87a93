"""The alarm that rings when something was done below a folder, against the real system."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quantum_suite.services.knowledge.files import alarm as alarms
from quantum_suite.services.knowledge.files.alarm import Alarm, set_alarm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "with a space"
    (folder / "inner").mkdir(parents=True)
    for path in ("a.py", "inner/b.py"):
        (folder / path).write_text("x = 1\n")
    return folder


@pytest.fixture
def alarm(root: Path) -> Iterator[Alarm]:
    made = set_alarm(root, ["", "inner", "a.py"])
    assert made is not None
    yield made
    made.close()


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda root: (root / "inner/b.py").write_text("y = 2\n"),
    "written in place": lambda root: os.pwrite(_opened(root / "a.py"), b"y", 0),
    "replaced": lambda root: (root / "a.py").rename(root / "inner/b.py"),
    "made": lambda root: (root / "inner/new.py").touch(),
    "deleted": lambda root: (root / "a.py").unlink(),
    "set back in time": lambda root: os.utime(root / "a.py", (1, 1)),
    "a new folder": lambda root: (root / "new").mkdir(),
    "cut": lambda root: os.truncate(root / "a.py", 0),
    "moved away itself": lambda root: root.rename(root.with_name("elsewhere")),
}


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_it_rings_once_for_what_was_done(root: Path, alarm: Alarm, change: Callable[[Path], object]) -> None:
    assert not alarm.rang()
    change(root)
    assert alarm.rang()


def test_reading_is_nothing_done(root: Path, alarm: Alarm) -> None:
    (root / "a.py").read_text()
    list(root.iterdir())
    assert not alarm.rang()


def test_it_is_quiet_again_once_it_was_asked(root: Path, alarm: Alarm) -> None:
    (root / "a.py").write_text("y = 2\n")
    assert alarm.rang()
    assert not alarm.rang()


def test_a_folder_that_came_later_is_watched_when_it_is_named(root: Path, alarm: Alarm) -> None:
    (root / "new").mkdir()
    assert alarm.watch(["", "new"])
    alarm.rang()
    (root / "new/c.py").touch()
    assert alarm.rang()


def test_a_folder_that_was_replaced_has_it_ring_until_another_is_set(root: Path, alarm: Alarm) -> None:
    (root / "inner/b.py").unlink()
    (root / "inner").rmdir()
    (root / "inner").mkdir()
    assert alarm.rang()
    assert alarm.rang(), "nothing is noted of the new folder"
    assert not alarm.watch(["inner"])


def test_lost_notes_are_a_ring_for_good(root: Path, alarm: Alarm) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for _ in range(most // 2 + 1):
        # Two in turn: equal notes in a row are one.
        os.utime(root / "a.py")
        os.utime(root / "inner/b.py")
    assert alarm.rang()
    assert alarm.rang()


@pytest.mark.parametrize(
    ("kind", "below", "local"),
    [("ext4", "ext4", True), ("nfs4", "ext4", False), ("fuse.sshfs", "ext4", False), ("ext4", "nfs4", False)],
)
def test_where_others_write_as_well_there_is_none(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, below: str, local: bool
) -> None:
    mounts = root.parent / "mountinfo"
    place = str(root).replace(" ", "\\040")
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        f"2 1 8:2 / {root.parent} rw,nosuid shared:3 - {kind} there rw\n"
        f"3 2 8:3 / {place}/inner rw - {below} there rw\n"
        f"4 2 8:4 / {place}-beside rw - nfs there rw\n"
    )
    monkeypatch.setattr(alarms, "_MOUNTS", mounts)
    made = set_alarm(root, [""])
    assert (made is not None) == local
    if made is not None:
        made.close()


def test_too_many_folders_are_not_watched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarms, "MAX_DIRECTORIES", 1)
    assert set_alarm(root, ["", "inner"]) is None


def test_a_folder_that_is_gone_makes_none(root: Path) -> None:
    assert set_alarm(root, ["", "gone"]) is None
