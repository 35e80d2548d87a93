"""Which files are mutated."""

from pathlib import Path

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.mutation.python_sources import sources


def project(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("A = 1\n")
    return root.resolve()


def test_tests_setup_files_and_environments_are_left_out(tmp_path: Path) -> None:
    root = project(
        tmp_path, "pack/a.py", "pack/tests/b.py", "setup.py", "conftest.py", "test_a.py", "env/c.py", ".x/d.py"
    )
    (root / "env/pyvenv.cfg").write_text("")
    assert sources(root, ()) == ["pack/a.py"]


def test_a_project_with_src_is_taken_from_there(tmp_path: Path) -> None:
    root = project(tmp_path, "src/pack/a.py", "other.py")
    assert sources(root, ()) == ["src/pack/a.py"]


def test_a_file_that_is_named_is_taken_as_it_is(tmp_path: Path) -> None:
    root = project(tmp_path, "pack/a.py", "scripts/setup.py")
    assert sources(root, ["scripts/setup.py"]) == ["scripts/setup.py"]


@pytest.mark.parametrize("path", ["../elsewhere.py", "/etc/passwd", "missing.py"])
def test_paths_outside_and_missing_ones_are_refused(tmp_path: Path, path: str) -> None:
    root = project(tmp_path, "pack/a.py")
    with pytest.raises(CallerError):
        sources(root, [path])


def test_a_project_without_sources_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="no Python source"):
        sources(project(tmp_path, "tests/test_a.py"), ())
