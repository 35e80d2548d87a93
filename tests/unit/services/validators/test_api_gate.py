from pathlib import Path

import pytest
from reference.judging import add_environment, open_court, write_project

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.validators.api_existence import ApiValidator

pytestmark = pytest.mark.anyio


async def checked(
    tmp_path: Path, source: str, before: str | None = None, *, environment: bool = False
) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        files = {"README": "x", **({"a.py": before} if before is not None else {})}
        root = write_project(tmp_path / "project", files)
        if environment:
            add_environment(root)
        judgement = await court.judge(root, {"a.py": source}, ApiValidator(court.bench))
    report = judgement.verdict.gate("api")
    assert report is not None
    return report


HALLUCINATED = [
    ("import json\njson.load_string('x')\n", "missing-attribute", 2, "loads"),
    ("import os\nos.path.joinn('a', 'b')\n", "missing-attribute", 2, "join"),
    ("from collections import OrderedDefaultDict\n", "missing-attribute", 1, None),
    (
        "from pathlib import Path\ndef f():\n    p = Path('x')\n    return p.read_txt()\n",
        "missing-attribute",
        4,
        None,
    ),
    ("from pathlib import Path\nPath('x').read_text(encodng='utf-8')\n", "unknown-argument", 2, "encoding"),
    ("import re\nre.compil('x')\n", "missing-attribute", 2, "compile"),
    ("def f():\n    x = []\n    x.push(1)\n    return x\n", "missing-attribute", 3, None),
    ("print('abc'.contains('b'))\n", "missing-attribute", 1, None),
    ("def f():\n    d = {}\n    return d.has_key(1)\n", "missing-attribute", 3, None),
    ("import shutil\nshutil.copyfile('a', 'b', overwrite=True)\n", "unknown-argument", 2, None),
    ("import textwrap\ntextwrap.dedent()\n", "missing-argument", 2, None),
    ("import os\nos.getcwd(1)\n", "too-many-arguments", 2, None),
    ("import datetime as dt\ndt.datetime.nowish()\n", "missing-attribute", 2, "now"),
]


@pytest.mark.parametrize(("source", "code", "line", "suggestion"), HALLUCINATED)
async def test_an_api_that_does_not_exist_is_refused(
    tmp_path: Path, source: str, code: str, line: int, suggestion: str | None
) -> None:
    report = await checked(tmp_path, source)
    assert report.outcome is Outcome.FAILED
    (problem,) = report.problems
    assert problem.code == code
    assert problem.location is not None
    assert problem.location.region is not None
    assert problem.location.region.start_line == line
    if suggestion is not None:
        assert problem.suggestion == suggestion


SILENT = [
    "import json\ntry:\n    json.nope\nexcept AttributeError:\n    pass\n",
    "import json\nif hasattr(json, 'nope'):\n    json.nope()\n",
    "import sys\nif sys.platform == 'win32':\n    import os\n    os.startfile('x')\n",
    "import os\nos.startfile('x')\n",
    "import json\njson = object()\njson.nope\n",
    "import json\ndef f(json):\n    return json.nope\n",
    "import json\njson.nope = 1\nprint(json.nope)\n",
    "from .json import nope\nnope.more()\n",
    "import xml\nimport xml.etree.ElementTree\nxml.etree.ElementTree.fromstring('<a/>')\n",
    "import pytest\nwith pytest.raises(AttributeError):\n    'x'.nope\n",
    "import subprocess\nsubprocess.run(['x'], timeout=1, anything=2)\n",
    "import enum\nclass A(enum.Enum):\n    x = 1\nA.x.value\n",
    "from unittest import mock\nmock.Mock().whatever.you.like()\n",
    "from types import SimpleNamespace\nx = SimpleNamespace(a=1)\nx.a\nSimpleNamespace(a=1).a\n",
    "import argparse\ndef f():\n    p = argparse.ArgumentParser()\n    p.add_argument('x', help='y')\n",
    "import argparse\ndef f():\n    n = argparse.Namespace()\n    return n.x\n",
    "import logging\nlogging.getLogger('x').info('a', extra={})\n",
    "import functools\nfunctools.partial(print, 1)(2, sep='')\n",
    "def f(*a, **k):\n    return dict(*a, **k)\nimport os\nos.path.join(*['a'])\n",
    "import inspect\ninspect.Parameter('x', inspect.Parameter.KEYWORD_ONLY)\n",
    "from __future__ import annotations\nimport warnings\ndef f(x: warnings._Kind) -> warnings.Nope: ...\n",
]


@pytest.mark.parametrize("source", SILENT)
async def test_nothing_is_said_where_nothing_is_sure(tmp_path: Path, source: str) -> None:
    report = await checked(tmp_path, source)
    assert report.outcome is Outcome.PASSED
    assert report.problems == ()


async def test_what_was_called_before_does_not_block(tmp_path: Path) -> None:
    before = "import json\njson.nope('x')\n"
    report = await checked(tmp_path, before + "json.loads('1')\n", before)
    assert report.outcome is Outcome.PASSED
    assert [problem.introduced for problem in report.problems] == [False]


async def test_packages_of_the_projects_environment_are_looked_up_in_their_version(tmp_path: Path) -> None:
    source = "import anyio\nanyio.run_forever()\nfrom pydantic import BaseModle\n"
    report = await checked(tmp_path, source, environment=True)
    assert report.outcome is Outcome.FAILED
    assert [problem.suggestion for problem in report.problems] == ["run", "BaseModel"] or len(report.problems) == 2
    assert any("anyio 4." in problem.message for problem in report.problems)


async def test_without_an_environment_other_packages_are_named_as_not_checked(tmp_path: Path) -> None:
    report = await checked(tmp_path, "import anyio\nanyio.run_forever()\n")
    assert report.outcome is Outcome.PASSED
    (note,) = report.unassessed
    assert "anyio" in note
    assert "python -m venv" in note


async def test_code_of_the_project_is_never_run(tmp_path: Path) -> None:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"boom.py": "raise SystemExit('ran')\n"})
        judgement = await court.judge(root, {"a.py": "import boom\nboom.nope()\n"}, ApiValidator(court.bench))
    report = judgement.verdict.gate("api")
    assert report is not None
    assert report.outcome is Outcome.PASSED
