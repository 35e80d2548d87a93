"""The kernel's ceiling on processes: made where a group may be, entered, read, and removed with who is in it."""

import os
import subprocess
from pathlib import Path

import pytest

from quantum_suite.services.sandbox import process_ceiling as ceilings
from quantum_suite.services.sandbox.process_ceiling import process_ceiling


def groups(monkeypatch: pytest.MonkeyPatch, *parents: Path) -> None:
    """Have groups be made in plain folders."""
    monkeypatch.setattr(ceilings, "_parents", lambda: iter(parents))


def test_without_a_place_for_groups_a_command_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    groups(monkeypatch, tmp_path / "file", tmp_path / "missing")
    with process_ceiling(10) as ceiling:
        assert ceiling.wrapped(["a", "b"]) == ["a", "b"]
        assert not ceiling.was_met()


def test_a_command_enters_its_group_before_it_becomes_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    groups(monkeypatch, tmp_path)
    with process_ceiling(10) as ceiling:
        (group,) = tmp_path.iterdir()
        assert (group / "pids.max").read_text() == "74"
        done = subprocess.run(
            ceiling.wrapped(["/bin/sh", "-c", "echo $$; exit 3"]), capture_output=True, check=False
        )
        assert done.returncode == 3
        assert (group / "cgroup.procs").read_text() == done.stdout.decode()
        assert not ceiling.was_met()
        (group / "pids.events").write_text("max 0\n")
        assert not ceiling.was_met()
        (group / "pids.events").write_text("max 7\n")
        assert ceiling.was_met()
        for file in group.iterdir():
            file.unlink()
    assert list(tmp_path.iterdir()) == []


def test_who_is_left_in_a_group_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    groups(monkeypatch, tmp_path)
    monkeypatch.setattr(ceilings, "_END_SECONDS", 0.2)
    left = subprocess.Popen(["sleep", "60"])
    with process_ceiling(10):
        (group,) = tmp_path.iterdir()
        (group / "cgroup.procs").write_text(f"{left.pid}\n")
    assert left.wait(5) == -9


@pytest.mark.parametrize(
    ("mounts", "own", "expected"),
    [
        ("1 1 0:1 / {top}/pids rw - cgroup cgroup rw,pids", "8:pids:/a/b\n0::/", ["pids/a/b", "pids/a", "pids"]),
        ("1 1 0:1 / {top}/unified rw - cgroup2 none rw", "0::/a/b", ["unified/a"]),
        ("1 1 0:1 / {top}/memory rw - cgroup cgroup rw,memory", "4:memory:/a", []),
        ("1 1 0:1 / / rw - ext4 /dev/vda rw", "0::/", []),
    ],
)
def test_groups_are_made_where_processes_are_counted_nearest_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mounts: str, own: str, expected: list[str]
) -> None:
    (tmp_path / "unified/a/b").mkdir(parents=True)
    (tmp_path / "unified/a/cgroup.subtree_control").write_text("cpu pids\n")
    (tmp_path / "unified/cgroup.subtree_control").write_text("cpu\n")
    contents = {"/proc/self/mountinfo": mounts.format(top=tmp_path), "/proc/self/cgroup": own}
    really = Path.read_text

    def read(path: Path, *arguments: str) -> str:
        return contents[str(path)] if str(path) in contents else really(path, *arguments)

    monkeypatch.setattr(Path, "read_text", read)
    assert [str(path.relative_to(tmp_path)) for path in ceilings._parents()] == expected


def test_groups_that_killed_suites_left_are_removed_and_young_ones_are_let_be(tmp_path: Path) -> None:
    old, young, others = tmp_path / "quantum-sandbox-old", tmp_path / "quantum-sandbox-young", tmp_path / "other"
    for group in (old, young, others):
        group.mkdir()
    for group in (old, others):
        os.utime(group, (0, 0))
    ceilings._sweep(tmp_path)
    assert (old.exists(), young.exists(), others.exists()) == (False, True, True)
