"""Finding an engine's program."""

from pathlib import Path

import pytest

from quantum_suite.services.code_scanning.locate_program import locate_program


def test_a_program_on_path_has_no_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "some-scanner"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = locate_program("some-scanner", "a-distribution-nobody-has")
    assert found is not None
    assert (found.path, found.distribution_version) == (program.resolve(), None)


def test_a_program_that_is_nowhere_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert locate_program("some-scanner", "a-distribution-nobody-has") is None


def test_the_program_of_a_distribution_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "ruff"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = locate_program("ruff", "ruff")
    assert found is not None
    assert found.path != other
    assert found.distribution_version is not None
