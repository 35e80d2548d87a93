"""What is taken for a change in what a model says."""

from pathlib import Path
from textwrap import indent

import pytest
from reference.judging import write_project

from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.tools.qagent.read_answer import patch_in

BLOCK = "calc.py\n<<<<<<< SEARCH\n=======\nx = 1\n>>>>>>> REPLACE\n"
DIFF = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
CALC = '''"""Calculates."""

import os


@decorated
def half(x):
    raise NotImplementedError


class Box:
    def open(self):
        return os.sep

    def close(self):
        return None
'''
FILES = {"calc.py": CALC, "other.py": "def half_of_it(x):\n    return x\n\n\ndef same():\n    pass\n"}


@pytest.mark.parametrize(
    ("text", "patch"),
    [
        (f"Sure!\n```python\n{BLOCK}```\nBye", BLOCK),
        (BLOCK, BLOCK),
        (f"```diff\n{DIFF}```", DIFF),
        ("no patch here", "no patch here"),
    ],
)
def test_a_patch_is_found_in_what_a_model_says(tmp_path: Path, text: str, patch: str) -> None:
    assert patch_in(text, tmp_path, ()) == patch


def changed(root: Path, answer: str, *files: str) -> dict[str, str]:
    """Return what the files are after an answer was applied as the judge does."""
    write_project(root, FILES)
    change = apply_patch(patch_in(answer, root, files or tuple(FILES)), root)
    return {file.path: (file.after or b"").decode() for file in change.files}


def test_a_whole_function_replaces_the_one_of_its_name_with_its_decorators(tmp_path: Path) -> None:
    answer = (
        "Here:\n```python\nimport os\nimport math\n\ndef half(x):\n    return math.floor(x / 2)\n```\nIt rounds."
    )
    after = changed(tmp_path, answer)
    assert after == {
        "calc.py": CALC.replace("import os\n", "import os\nimport math\n").replace(
            "@decorated\ndef half(x):\n    raise NotImplementedError", "def half(x):\n    return math.floor(x / 2)"
        )
    }


def test_a_method_keeps_the_place_and_the_indentation_of_the_one_it_replaces(tmp_path: Path) -> None:
    answer = "calc.py\n```python\n    def close(self):\n        return 1\n```"
    assert changed(tmp_path, answer) == {"calc.py": CALC.replace("return None", "return 1")}


def test_the_file_before_the_fence_decides_where_several_have_the_name(tmp_path: Path) -> None:
    two = {"a.py": "def same():\n    return 1\n", "b.py": "def same():\n    return 2\n"}
    write_project(tmp_path, two)
    body = "```python\ndef same():\n    return 3\n```"
    assert patch_in(body, tmp_path, tuple(two)) == body, "which one is meant is not guessed"
    named = apply_patch(patch_in(f"In `b.py`:\n{body}", tmp_path, tuple(two)), tmp_path)
    assert named.paths == ("b.py",)


HALVED = "def half(x):\n    return x / 2"


@pytest.mark.parametrize(
    "answer",
    [
        f"calc.py\n{HALVED}\n",
        f"### calc.py:6-8\n{HALVED}\n\nThis halves it.",
        f"Sure, here it is:\n\n{HALVED}\n",
        f"```python\n{HALVED}\n",
        f"A class of its own is not needed.\n{HALVED}\n",
        f"```python\ndef name(argument):\n    return argument\n```\n```python\n{HALVED}\n```",
        f"```text\nno code (\n```\n```python\n{HALVED}\n```",
        f"```python\n# Map\ncalc.py\n  def half(x)  :7\n\n### calc.py:6-8\n{HALVED}\n\n### other.py:1-2\n```",
        f"```\npython\ncalc.py\n{indent(HALVED, '  ')}\n\n### other.py:5-5\ndef same():\n    pass\n```",
    ],
)
def test_code_is_found_without_fences_and_beside_what_is_none(tmp_path: Path, answer: str) -> None:
    expected = CALC.replace("@decorated\ndef half(x):\n    raise NotImplementedError", HALVED)
    assert changed(tmp_path, answer) == {"calc.py": expected}


def test_code_of_several_files_is_kept_apart_where_an_answer_quotes_them(tmp_path: Path) -> None:
    quoted = "### other.py:1-2\nfrom calc import half\n\ndef half_of_it(x):\n    return half(x)"
    after = changed(tmp_path, f"```python\n# Code\n### calc.py:6-8\n{HALVED}\n\n{quoted}\n\n### (end\n```")
    assert after["calc.py"] == CALC.replace("@decorated\ndef half(x):\n    raise NotImplementedError", HALVED)
    assert after["other.py"].startswith("from calc import half\ndef half_of_it(x):\n    return half(x)\n")


def test_what_a_function_brings_along_comes_before_it(tmp_path: Path) -> None:
    brought = "TWO = 2\n\ndef divided(x, y):\n    return x / y"
    answer = f"```python\n{brought}\n\ndef half(x):\n    return divided(x, TWO)\n```"
    after = changed(tmp_path, answer)["calc.py"]
    assert after.index("TWO = 2") < after.index("def divided") < after.index("def half")
    assert after.endswith(CALC[CALC.index("class Box") :])
    compile(after, "calc.py", "exec")


def test_what_a_method_brings_along_comes_before_its_class(tmp_path: Path) -> None:
    after = changed(tmp_path, "```python\nEMPTY = None\n\ndef close(self):\n    return EMPTY\n```")["calc.py"]
    assert after.index("EMPTY = None") < after.index("class Box")
    assert "    def close(self):\n        return EMPTY" in after


def test_what_has_its_place_is_not_added_besides(tmp_path: Path) -> None:
    methods = "def open(self):\n    return 1\n\ndef close(self):\n    return 2"
    answer = f"```python\n{methods}\n\ndef same():\n    return 3\n```"
    assert changed(tmp_path, answer) == {
        "calc.py": CALC.replace("return os.sep", "return 1").replace("return None", "return 2"),
        "other.py": FILES["other.py"].replace("pass", "return 3"),
    }


def test_what_the_file_defines_already_is_not_defined_twice(tmp_path: Path) -> None:
    source = "LIMIT = 1\n\n\ndef limit():\n    return 0\n"
    write_project(tmp_path, {"a.py": source})
    patch = patch_in("```python\nLIMIT = 5\n\ndef limit():\n    return LIMIT\n```", tmp_path, ("a.py",))
    (file,) = apply_patch(patch, tmp_path).files
    assert (file.after or b"").decode() == source.replace("return 0", "return LIMIT")


@pytest.mark.parametrize(
    "answer",
    [
        "```python\ndef unheard_of():\n    pass\n```",
        "```python\nclass Box:\n    def open(self):\n        return 1\n```",
        "```python\ndef half(x)\n    return\n```",
        "```python\nhalf = 2\n```",
        "```python\n" + "(" * 5000 + "\n```",
        "```\x00```",
    ],
)
def test_what_does_not_fit_is_left_for_the_judge_to_refuse(tmp_path: Path, answer: str) -> None:
    write_project(tmp_path, FILES)
    assert patch_in(answer, tmp_path, tuple(FILES)) == answer


def test_files_that_were_not_shown_and_links_are_not_touched(tmp_path: Path) -> None:
    write_project(tmp_path, FILES)
    (tmp_path / "link.py").symlink_to(tmp_path / "other.py")
    answer = "```python\ndef same():\n    return 1\n```"
    assert patch_in(answer, tmp_path, ("calc.py", "link.py", "gone.py")) == answer
