"""The safeguards gate: does the change weaken what it is judged by. Advice only: there are good reasons for it."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.patches.interface import FileChange
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import Found, problem, report

GATE = "safeguards"

_TEST_FILE = re.compile(r"(?:^|/)(?:tests?|__tests__|spec)/|(?:^|/)test_[^/]*$|_test\.\w+$|\.(?:test|spec)\.\w+$")
_TEST = re.compile(
    rb"^\s*(?:async\s+)?def\s+(test\w*)|^\s*(?:it|test)\(\s*['\"`](.+?)['\"`]|^func\s+(Test\w*)", re.MULTILINE
)
_SETTINGS = {
    *(
        ".coveragerc",
        ".eslintrc",
        ".eslintrc.json",
        ".flake8",
        ".mypy.ini",
        ".pre-commit-config.yaml",
        ".ruff.toml",
    ),
    *("conftest.py", "jest.config.js", "jest.config.ts", "mypy.ini", "noxfile.py", "pytest.ini", "ruff.toml"),
    *("setup.cfg", "tox.ini", "tsconfig.json", "vitest.config.js", "vitest.config.ts"),
}
_IN_PYPROJECT = re.compile(rb"^\[tool\.(?:ruff|mypy|pytest|coverage|pyright|black)[\w.\"-]*\]", re.MULTILINE)
_SILENCERS = {
    "skipped-test": re.compile(
        rb"pytest\.mark\.(?:skip|skipif|xfail)|pytest\.(?:skip|xfail)\(|unittest\.skip|\b(?:it|test|describe)\.skip\("
    ),
    "silenced-check": re.compile(
        rb"#\s*(?:noqa|nosec|type:\s*ignore|pragma:\s*no cover)|eslint-disable|@ts-ignore"
    ),
}
_SAID = {
    "skipped-test": "the change skips a test or expects it to fail",
    "silenced-check": "the change silences a check by a comment",
}


def is_test_file(path: str) -> bool:
    """Whether a path is a test's, by the names that the usual runners go by."""
    return _TEST_FILE.search(path) is not None


class SafeguardsValidator:
    """Names removed tests, new silences and changed rules, so that nobody overlooks them."""

    gate = GATE

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Compare both states of each changed file, by their text."""
        found = [one for file in tree.change.files for one in _weakened(file)]
        passed = "The change touches what it is judged by: a person should look at it." if found else _UNTOUCHED
        return report(GATE, [problem(one) for one in found], passed=passed)


_UNTOUCHED = "The change weakens no test and silences no check."


def _weakened(file: FileChange) -> Iterable[Found]:
    before, after = file.before or b"", file.after or b""
    if is_test_file(file.path):
        gone = Counter(_tests(before)) - Counter(_tests(after))
        for name in gone:
            yield _advice(file.path, "removed-test", f"the test {name} is no longer there")
    for code, pattern in _SILENCERS.items():
        places = [match.start() for match in pattern.finditer(after)]
        new = len(places) - len(pattern.findall(before))
        if new > 0:
            line = after.count(b"\n", 0, places[-1]) + 1
            yield _advice(file.path, code, _SAID[code] + (f", {new} times" if new > 1 else ""), line)
    name = PurePosixPath(file.path).name
    if file.before is not None and (name in _SETTINGS or (name == "pyproject.toml" and _rules_differ(file))):
        yield _advice(file.path, "changed-rules", "the change alters the rules it is judged by")


def _advice(path: str, code: str, message: str, line: int | None = None) -> Found:
    return Found(path, code, message, line, blocking=False)


def _tests(content: bytes) -> Iterable[str]:
    for match in _TEST.finditer(content):
        yield next(group for group in match.groups() if group is not None).decode("utf-8", "replace")


def _rules_differ(file: FileChange) -> bool:
    return _sections(file.before or b"") != _sections(file.after or b"")


def _sections(content: bytes) -> list[bytes]:
    parts = re.split(rb"(?m)^(?=\[)", content)
    return [part.strip() for part in parts if _IN_PYPROJECT.match(part)]
