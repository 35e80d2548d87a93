import venv
from pathlib import Path

import pytest
from reference.judging import Files, add_environment, open_court, write_project

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.validators.imports import ImportsValidator

pytestmark = pytest.mark.anyio

PACKAGE: dict[str, str] = {
    "pkg/__init__.py": "from pkg.a import one\n",
    "pkg/a.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n",
    "pkg/b.py": "from pkg.a import two\n\n\ndef three():\n    return two() + 1\n",
    "tests/test_b.py": "from helpers import h\nfrom pkg.b import three\n",
    "tests/helpers.py": "h = 1\n",
}


async def checked(tmp_path: Path, after: Files, *, environment: bool = True) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", PACKAGE)
        if environment:
            add_environment(root)
        judgement = await court.judge(root, after, ImportsValidator(court.bench))
    report = judgement.verdict.gate("imports")
    assert report is not None
    return report


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("import requestz\n", "missing-module", "no module 'requestz'"),
        ("import json.decodr\n", "missing-module", "json.decodr"),
        ("from pkg.nowhere import x\n", "missing-module", "pkg"),
        ("from .nowhere import x\n", "missing-module", ".nowhere"),
        ("from pkg.a import nope\n", "missing-name", "has no 'nope'"),
        ("from . import nope\n", "missing-name", "has no 'nope'"),
        ("from ....x import y\n", "missing-module", "above the top"),
        ("def f():\n    import requestz\n", "missing-module", "requestz"),
    ],
)
async def test_an_import_that_leads_nowhere_is_refused(tmp_path: Path, source: str, code: str, says: str) -> None:
    report = await checked(tmp_path, {"pkg/new.py": source})
    assert report.outcome is Outcome.FAILED
    (problem,) = report.problems
    assert problem.code == code
    assert says in problem.message


@pytest.mark.parametrize(
    "source",
    [
        "import os.path\nimport xml.etree.ElementTree\nimport anyio.abc\nfrom concurrent import futures\n",
        "from pkg import a, b\nfrom pkg.a import one as uno\nfrom . import a\nfrom .a import two\n",
        "try:\n    import requestz\nexcept ImportError:\n    requestz = None\n",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import requestz\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from _typeshed import Incomplete\n",
        "import sys\nif sys.platform == 'win32':\n    import nt_only\n",
        "import winreg, msvcrt\n",
        "from pkg.a import *\n",
    ],
)
async def test_imports_that_exist_or_are_guarded_pass(tmp_path: Path, source: str) -> None:
    report = await checked(tmp_path, {"pkg/new.py": source})
    assert report.outcome is Outcome.PASSED
    assert report.problems == ()


async def test_a_test_finds_what_lies_beside_it(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"tests/test_new.py": "from helpers import h\nimport helpers\n"})
    assert report.problems == ()


async def test_a_name_taken_away_blames_the_files_that_still_import_it(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"pkg/a.py": "def one():\n    return 1\n"})
    assert report.outcome is Outcome.FAILED
    (problem,) = report.problems
    assert problem.location is not None
    assert str(problem.location) == "pkg/b.py:1"
    assert "has no 'two'" in problem.message


async def test_what_led_nowhere_before_does_not_block(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"a.py": "import json.nope\n"})
        after = {"a.py": "import json.nope\nx = 1\n"}
        judgement = await court.judge(root, after, ImportsValidator(court.bench))
    report = judgement.verdict.gate("imports")
    assert report is not None
    assert report.outcome is Outcome.PASSED
    assert [problem.introduced for problem in report.problems] == [False]


async def test_a_circle_that_breaks_the_import_is_refused(tmp_path: Path) -> None:
    report = await checked(
        tmp_path,
        {"pkg/a.py": "from pkg.b import three\n\n\ndef one():\n    return 1\n\n\ndef two():\n    return 2\n"},
    )
    assert report.outcome is Outcome.FAILED
    assert report.problems[0].code == "circular-import"
    assert "pkg/a.py -> pkg/b.py -> pkg/a.py" in report.problems[0].message


async def test_a_circle_that_does_no_harm_is_advice(tmp_path: Path) -> None:
    source = "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\nimport pkg.b\n"
    report = await checked(tmp_path, {"pkg/a.py": source})
    assert report.outcome is Outcome.PASSED
    assert [problem.blocking for problem in report.problems] == [False]


async def test_without_an_environment_other_packages_are_named_as_not_checked(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"pkg/new.py": "import requestz\nimport json\n"}, environment=False)
    assert report.outcome is Outcome.PASSED
    (note,) = report.unassessed
    assert note.startswith("requestz:")


async def test_a_module_of_a_package_hides_no_module_of_that_name_from_its_siblings(tmp_path: Path) -> None:
    after = {
        "pkg/typing.py": "ours = 1\n",
        "pkg/new.py": "from typing import ClassVar\nfrom pkg.typing import ours\n",
    }
    report = await checked(tmp_path, after)
    assert (report.outcome, report.problems) == (Outcome.PASSED, ())


async def test_a_script_in_a_packages_folder_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    report = await checked(tmp_path, {"pkg/script.py": "import a\nprint(a.one())\n"})
    assert (report.outcome, report.problems) == (Outcome.PASSED, ())


async def test_the_code_of_the_gate_itself_is_nothing_a_project_could_import(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"README": "x"})
        venv.create(root / ".venv", with_pip=False, symlinks=True)
        after = {"new.py": "import start\nimport changed_files\nimport quantum_suite.services\n"}
        judgement = await court.judge(root, after, ImportsValidator(court.bench))
    report = judgement.verdict.gate("imports")
    assert report is not None
    assert [problem.code for problem in report.problems] == ["missing-module"] * 3
