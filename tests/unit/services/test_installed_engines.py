"""What is installed is told with its version or place, what is not with the command that installs it."""

from importlib.metadata import version
from pathlib import Path

import pytest

from quantum_suite.core.engines import EngineStatus
from quantum_suite.services.installed_engines import embedded_version, package_status, program_status


def test_a_package_is_told_with_its_version() -> None:
    expected = EngineStatus(name="pytest", provides="tests", available=True, version=version("pytest"))
    assert package_status("pytest", "tests", "pip install pytest") == expected


def test_a_missing_package_comes_with_its_command() -> None:
    found = package_status("no-such-package", "nothing", "pip install it", missing="is not here")
    assert (found.available, found.version, found.install_command) == (False, None, "pip install it")
    assert found.problem == "no-such-package is not here"
    assert package_status("no-such-package", "nothing", "").problem == "no-such-package is not installed"


def test_a_program_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "engine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = EngineStatus(name="engine", provides="turning", available=True, location=str(program))
    assert program_status("engine", "turning", "apt-get install engine") == expected
    assert program_status("turner", "turning", "", program="engine").location == str(program)
    program.chmod(0o644)
    found = program_status("engine", "turning", "apt-get install engine")
    assert (found.available, found.location, found.problem) == (False, None, "engine was not found")
    assert found.install_command == "apt-get install engine"


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (b"", None),
        (b"no version here", None),
        (b"x app.ver=1.2.3 y", "1.2.3"),
        (b"app.ver=1.2.3 app.ver=dev", "1.2.3"),
        (b"app.ver=1.2.3 app.ver=4.5.60", "4.5.60"),
        (b"app.ver=15.18\n", "15.18"),
    ],
)
def test_a_version_is_read_without_running_the_program(
    tmp_path: Path, content: bytes, version: str | None
) -> None:
    (tmp_path / "program").write_bytes(content)
    assert embedded_version(tmp_path / "program", b"app.ver=") == version
