"""Small projects to run tests of, and the programs that run them."""

from collections.abc import Mapping
from pathlib import Path


def make_project(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below `root`, and return its real path."""
    for path, text in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return root.resolve()


CALC = """\
def add(a, b):
    if a > 100:
        return a
    return a + b


def twice(a):
    return add(a, a)


def lonely(x):
    return [x]
"""

CALC_TESTS = """\
import calc


def test_add():
    assert calc.add(1, 2) == 3


def test_twice():
    assert calc.twice(2) == 4
"""


def calculator(root: Path, **more: str) -> Path:
    """Write a small Python project: `calc.py` and its tests."""
    return make_project(root, {"calc.py": CALC, "tests/test_calc.py": CALC_TESTS, **more})
