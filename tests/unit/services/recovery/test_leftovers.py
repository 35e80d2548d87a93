"""What is swept is this user's own, and only what nobody holds."""

import fcntl
import os
import subprocess
from pathlib import Path

from quantum_suite.services.recovery.leftovers import end_processes, processes_in, sweep_drills


def test_a_drill_that_somebody_holds_is_left_alone(tmp_path: Path) -> None:
    held, left = tmp_path / "drill-held", tmp_path / "drill-left"
    for folder in (held, left):
        (folder / "data").mkdir(parents=True)
    descriptor = os.open(held, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert sweep_drills(tmp_path) == 1
    assert (held.exists(), left.exists()) == (True, False)
    os.close(descriptor)
    assert sweep_drills(tmp_path) == 1
    assert sweep_drills(tmp_path / "nowhere") == 0


def test_a_folder_others_could_have_made_is_not_swept(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "drill-one").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    assert sweep_drills(tmp_path / "link") == 0
    real.chmod(0o777)
    assert sweep_drills(real) == 0
    real.chmod(0o711)
    assert sweep_drills(real) == 1


def test_a_persons_shell_in_a_drills_folder_is_not_ended(tmp_path: Path) -> None:
    with (
        subprocess.Popen(["sh", "-c", "read -r _"], cwd=tmp_path, stdin=subprocess.PIPE) as person,
        subprocess.Popen(["sh", "-c", f"read -r _ # {tmp_path}"], cwd=tmp_path, stdin=subprocess.PIPE) as archiver,
    ):
        assert processes_in(tmp_path) == [archiver.pid]
        archiver.kill()
        archiver.wait()
        assert end_processes(tmp_path) == 0
        assert person.poll() is None
        person.kill()
