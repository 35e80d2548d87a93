"""What a program is granted beside the system: its own installation, and never what merely surrounds it."""

import sys
from pathlib import Path

import pytest

from quantum_suite.services.sandbox.grants import environments_in, program_folders, virtual_environment_bases


def installation(folder: Path) -> Path:
    """Make what looks like a Python."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib/python3.11").mkdir(parents=True)
    (folder / "lib/python3.11/os.py").touch()
    (folder / "bin/python").touch()
    return folder


def test_a_program_of_the_system_brings_only_itself() -> None:
    assert {path.parent for path in program_folders(Path("/bin/sh"))} <= {Path("/bin"), Path("/usr/bin")}


def test_a_python_brings_its_installation_and_a_virtual_environment_the_one_behind_it(tmp_path: Path) -> None:
    base = installation(tmp_path / "python")
    environment = tmp_path / "env"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to(base / "bin/python")
    (environment / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\n")
    assert program_folders(base / "bin/python") == {base}
    assert program_folders(environment / "bin/python") == {environment, base}
    assert environments_in([tmp_path / "env"]) == {base}
    (tmp_path / "project").mkdir()
    (tmp_path / "project/.venv").symlink_to(environment)
    assert environments_in([tmp_path / "project"]) == {base}


def test_a_home_directory_is_not_granted_for_a_program_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = installation(tmp_path / "home")
    monkeypatch.setenv("HOME", str(home))
    assert program_folders(home / "bin/python") == {home / "bin/python"}
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace/pyvenv.cfg").write_text(f"home = {home}/bin\nversion = 3\n")
    assert virtual_environment_bases(tmp_path / "workspace") == set()


def test_a_folder_that_is_no_python_is_not_granted_because_a_workspace_says_so(tmp_path: Path) -> None:
    (tmp_path / "secrets/bin").mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {tmp_path}/secrets/bin\n")
    assert virtual_environment_bases(tmp_path) == set()


def test_the_python_that_runs_this_is_found_through_its_links() -> None:
    folders = program_folders(Path(sys.executable))
    assert Path(sys.prefix) in folders
    assert Path(sys.base_prefix).resolve() in {folder.resolve() for folder in folders} | {Path("/usr")}
