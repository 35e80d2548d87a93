from pathlib import Path

import pytest

from quantum_suite.services.sandbox.rlimits import RlimitSandbox
from quantum_suite.services.testing.pytest import PytestRunner


def detected(root: Path, *files: str) -> str | None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("")
    return PytestRunner(RlimitSandbox()).detect(root)


def test_tests_that_a_package_holds_itself_are_found(tmp_path: Path) -> None:
    found = detected(tmp_path, "package/__init__.py", "package/tests/test_core.py")
    assert found == "package/tests/test_core.py"


@pytest.mark.parametrize(
    "file",
    [
        ".venv/lib/test_x.py",
        "node_modules/a/test_x.py",
        "build/test_x.py",
        "env/test_x.py",
        "package/tested.py",
        ".hidden/test_x.py",
    ],
)
def test_files_of_environments_and_builds_make_no_project_pytests(tmp_path: Path, file: str) -> None:
    assert detected(tmp_path, "env/pyvenv.cfg", file) is None
