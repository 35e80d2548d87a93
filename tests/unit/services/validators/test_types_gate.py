import json
from pathlib import Path

import pytest
from reference.judging import Files, open_court, write_project
from reference.npm import JAVASCRIPT_TOOLS, add_packages

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.validators.mypy_types import MypyChecker, find_importers, mypy_settings
from quantum_suite.services.validators.types_gate import TypesValidator
from quantum_suite.services.validators.typescript_types import TypeScriptChecker

pytestmark = pytest.mark.anyio

TYPED = {"pyproject.toml": "[tool.mypy]\nstrict = true\n", "a.py": "def f(x: int) -> int:\n    return x\n"}


async def checked(tmp_path: Path, before: Files, after: Files, *linked: str) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", before)
        gate = TypesValidator(MypyChecker(court.bench, tmp_path), TypeScriptChecker(court.bench))
        judgement = await court.judge(root, dict(after), gate)
    report = judgement.verdict.gate("types")
    assert report is not None
    return report


async def test_a_new_error_blocks_where_the_project_asks_for_types(tmp_path: Path) -> None:
    report = await checked(tmp_path, TYPED, {"b.py": "from a import f\n\nx: str = f(1)\n"})
    assert report.outcome is Outcome.FAILED
    assert [problem.code for problem in report.problems] == ["assignment"]
    assert str(report.problems[0].location) == "b.py:3"
    assert report.engine is not None
    assert report.engine.startswith("mypy ")


async def test_callers_in_other_files_are_checked_too(tmp_path: Path) -> None:
    before = {**TYPED, "b.py": "from a import f\n\nx: int = f(1)\n"}
    report = await checked(tmp_path, before, {"a.py": "def f(x: int, y: int) -> int:\n    return x + y\n"})
    assert report.outcome is Outcome.FAILED
    assert str(report.problems[0].location) == "b.py:3"


async def test_an_error_that_was_there_before_does_not_block(tmp_path: Path) -> None:
    wrong = "def g() -> int:\n    return 'x'\n"
    report = await checked(tmp_path, {**TYPED, "b.py": wrong}, {"b.py": "y = 1\n\n\n" + wrong})
    assert report.outcome is Outcome.PASSED
    assert [problem.introduced for problem in report.problems] == [False]


async def test_where_nobody_asked_for_types_they_are_advice(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"README": "x"}, {"pkg/b.py": "x: int = 'y'\n"})
    assert report.outcome is Outcome.PASSED
    assert [(problem.code, problem.blocking) for problem in report.problems] == [("assignment", False)]


async def test_folders_without_a_package_file_are_checked_as_well(tmp_path: Path) -> None:
    before = {"tests/test_x.py": "from pkg.b import x\n", "pkg/b.py": "x = 1\n"}
    report = await checked(tmp_path, before, {"pkg/b.py": "x: int = 'y'\n"})
    assert [problem.code for problem in report.problems] == ["assignment"]


async def test_a_checker_that_cannot_work_is_not_a_pass(tmp_path: Path) -> None:
    settings = "[tool.mypy]\nplugins = ['no_such_plugin']\n"
    report = await checked(tmp_path, {"pyproject.toml": settings}, {"a.py": "x = 1\n"})
    assert report.outcome is Outcome.NOT_ASSESSED
    assert "no_such_plugin" in report.summary


async def test_a_missing_checker_names_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantum_suite.services.validators.mypy_types.sys.executable", str(tmp_path / "nothing"))
    report = await checked(tmp_path, {"README": "x"}, {"a.py": "x = 1\n"})
    assert report.outcome is Outcome.NOT_ASSESSED
    assert report.install_command == "pip install 'quantum-suite[types]'"


async def test_typescript_without_a_compiler_is_named_with_what_installs_it(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"README": "x"}, {"a.ts": "const x: number = 'y';\n"})
    assert report.outcome is Outcome.NOT_ASSESSED
    assert report.install_command == "npm install --save-dev typescript"


async def test_one_language_that_nobody_checks_is_kept_beside_one_that_is(tmp_path: Path) -> None:
    report = await checked(tmp_path, TYPED, {"a.ts": "const x = 1;\n", "b.py": "x = 1\n"})
    assert report.outcome is Outcome.PASSED
    assert any("npm install" in note for note in report.unassessed)


@pytest.mark.timeout(400)
async def test_the_projects_compiler_is_asked_before_and_after(tmp_path: Path) -> None:
    before = {
        "tsconfig.json": json.dumps({"compilerOptions": {"strict": True, "types": []}}),
        "a.ts": "export const old: string = 1;\n",
        "use.ts": "import { half } from './half';\nexport const one: number = half(2);\n",
        "half.ts": "export function half(x: number): number {\n  return x / 2;\n}\n",
    }
    add_packages(write_project(tmp_path / "project", {}), JAVASCRIPT_TOOLS)
    after = {
        "a.ts": "let y = 1;\nexport const old: string = 1;\n",
        "half.ts": "export function half(x: number): string {\n  return `${x / 2}`;\n}\n",
    }
    report = await checked(tmp_path, before, after)
    assert report.outcome is Outcome.FAILED
    told = {(str(problem.location), problem.code, problem.introduced) for problem in report.problems}
    assert told == {("a.ts:2", "TS2322", False), ("use.ts:2", "TS2322", True)}


@pytest.mark.parametrize(
    ("files", "configured", "names_files"),
    [
        ({}, False, False),
        ({"mypy.ini": "[mypy]\nstrict = True\n"}, True, False),
        ({"setup.cfg": "[mypy]\nfiles = src\n"}, True, True),
        ({"pyproject.toml": "[tool.mypy]\npackages = ['a']\n"}, True, True),
        ({"pyproject.toml": "not = = toml"}, False, False),
        ({"mypy.ini": "[[[broken"}, False, False),
    ],
)
def test_settings_are_read_where_mypy_reads_them(
    tmp_path: Path, files: Files, configured: bool, names_files: bool
) -> None:
    write_project(tmp_path, files)
    settings = mypy_settings(tmp_path)
    assert (settings.configured, settings.names_files) == (configured, names_files)


def test_importers_are_found_by_the_forms_an_import_has(tmp_path: Path) -> None:
    write_project(
        tmp_path,
        {
            "pkg/__init__.py": "",
            "pkg/mod.py": "",
            "a.py": "import pkg.mod\n",
            "b.py": "from pkg import mod\n",
            "c.py": "from pkg.mod import x\n",
            "d.py": "    from .mod import x\n",
            "e.py": "# from pkg import mod\nimport pkg.model\n",
            ".venv/f.py": "import pkg.mod\n",
        },
    )
    assert find_importers(tmp_path, ["pkg/mod.py"]) == ["a.py", "b.py", "c.py", "d.py"]
