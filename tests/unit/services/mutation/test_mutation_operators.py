"""Mutants on the syntax tree, and what their text says."""

import ast
import inspect
import random
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from quantum_suite.services.mutation.driver.compiled import MutatedFile
from quantum_suite.services.mutation.driver.loading import Switchboard
from quantum_suite.services.mutation.driver.model import Site

STANDARD_LIBRARY = Path(inspect.__file__).parent
REAL_FILES = ("textwrap.py", "functools.py", "contextlib.py", "bisect.py", "shlex.py", "fractions.py")


def mutated(source: str) -> MutatedFile:
    return MutatedFile(textwrap.dedent(source).encode(), "m.py", "m.py", 1)


def changes(source: str) -> set[tuple[str, str, str]]:
    file = mutated(source)
    return {(site.operator, file.source.piece(site.start, site.end), site.replacement) for site in file.sites}


def written(file: MutatedFile, site: Site) -> bytes:
    return file.source.with_piece(site.start, site.end, site.replacement)


@pytest.mark.parametrize("name", REAL_FILES)
def test_a_mutant_written_into_the_source_parses_to_the_tree_that_is_compiled(name: str) -> None:
    file = MutatedFile((STANDARD_LIBRARY / name).read_bytes(), name, name, 1)
    original = ast.dump(file.walk.tree)
    chosen = random.Random(4).sample(file.sites, min(40, len(file.sites)))
    for site in chosen:
        with site.edit.applied():
            expected = ast.dump(file.walk.tree)
        assert ast.dump(ast.parse(written(file, site))) == expected
        assert expected != original
    assert ast.dump(file.walk.tree) == original


@pytest.mark.parametrize("name", REAL_FILES)
def test_every_function_of_a_real_file_can_be_switched_to_every_mutant_in_it(name: str) -> None:
    file = MutatedFile((STANDARD_LIBRARY / name).read_bytes(), name, name, 1)
    inside = [site for site in file.sites if site.unit is not None]
    for site in random.Random(5).sample(inside, min(60, len(inside))):
        assert site.unit is not None
        own = file.unit_code(site.unit)
        if own is not None:
            variant = file.variant(site)
            assert isinstance(variant, CodeType)
            assert variant.co_freevars == own.co_freevars


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a):\n    return a < 1", ("comparison", "a < 1", "(a >= 1)")),
        ("def f(a):\n    return a < 1", ("boundary", "a < 1", "(a <= 1)")),
        ("def f(a):\n    return a + 2", ("arithmetic", "a + 2", "(a - 2)")),
        ("def f(a, b):\n    return a and b", ("boolean", "a and b", "(a or b)")),
        ("def f(a):\n    return not a", ("not", "not a", "a")),
        ("def f(a):\n    return -a", ("unary", "-a", "a")),
        ("def f():\n    return 7", ("number", "7", "8")),
        ("def f():\n    return 'é'", ("string", "'é'", "'XXéXX'")),
        ("def f():\n    return True", ("constant", "True", "False")),
        ("def f(a):\n    return a", ("return", "a", "None")),
        ("def f(a):\n    if a:\n        return 1", ("condition", "a", "(not a)")),
        ("def f(a):\n    a.pop()", ("statement", "a.pop()", "pass")),
        ("def f(a):\n    for b in a:\n        break", ("loop", "break", "continue")),
        ("def f(a=1):\n    pass", ("default", "1", "2")),
        ("@cache\ndef f():\n    pass", ("decorator", "@cache", "")),
        ("def f():\n    try:\n        g()\n    except E:\n        h()", ("handler", "h()", "raise")),
        ("def f(a):\n    return a[1:]", ("slice", "a[1:]", "a[:]")),
        ("def f(a):\n    a += 1", ("augmented", "a += 1", "a -= 1")),
        ("def f(a):\n    a += 1", ("augmented", "a += 1", "a = 1")),
        ("def f(a):\n    return g(a, key=1)", ("keyword", "g(a, key=1)", "g(a)")),
        ("def f(a):\n    return min(a)", ("call", "min(a)", "max(a)")),
        ("def f(a):\n    a = g()\n    return a", ("assignment", "g()", "None")),
        ("def f(a):\n    match a:\n        case 1:\n            return 2", ("number", "1", "2")),
    ],
)
def test_each_kind_of_change_is_made(source: str, expected: tuple[str, str, str]) -> None:
    assert expected in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""\n__all__ = ["f"]\n__version__ = "1"',
        "def f(a: int = ...) -> 'str':\n    \"Says.\"\n    b: 'int'",
        "if TYPE_CHECKING:\n    A = 1",
        "if __name__ == '__main__':\n    main(1)",
        "@overload\ndef f(a=1): ...",
        "T = TypeVar('T', bound=int)\n".replace("T = ", "x: Any; del x  # pragma: no mutate\n#"),
        "def f():\n    logger.info('at %s', 1)",
        "def f():\n    assert 1 < 2",
        "Order = Literal['pre', 'post']",
        "Names = typing.Optional[Callable[['str'], 'int']]",
        "Names: TypeAlias = 'dict[str, int]'",
        "A = 1  # pragma: no mutate",
    ],
)
def test_what_says_nothing_of_behaviour_is_left_alone(source: str) -> None:
    assert changes(source) <= {("constant", "...", "...")}


def test_the_message_of_an_exception_is_left_alone_and_the_raise_is_not() -> None:
    found = changes("def f():\n    raise ValueError('no')")
    assert found == {("statement", "raise ValueError('no')", "pass")}


def test_a_replacement_never_runs_into_the_word_beside_it() -> None:
    file = mutated("def f(a):\n    return-a\n")
    texts = {written(file, site) for site in file.sites if site.operator == "unary"}
    assert texts == {b"def f(a):\n    return a\n"}


def test_places_count_code_points_and_survive_windows_line_ends_and_encodings() -> None:
    raw = "# coding: latin-1\r\nx = 'ü'; y = 1\r\n".encode("latin-1")
    file = MutatedFile(raw, "m.py", "m.py", 1)
    (site,) = [site for site in file.sites if site.operator == "number"]
    assert file.source.place(site.start) == (2, 14)
    assert file.source.offset_of(2, 14) == site.start
    assert written(file, site) == "# coding: latin-1\r\nx = 'ü'; y = 2\r\n".encode("latin-1")


def test_ids_stay_when_other_functions_change() -> None:
    before = mutated("def f(a):\n    return a + 1\n")
    after = mutated("import os\n\n\ndef g(b):\n    return b * 3\n\n\ndef f(a):\n    return a + 1\n")
    ids = {site.id for site in after.sites if site.function == "f"}
    assert {site.id for site in before.sites} == ids
    assert len({site.id for site in after.sites}) == len(after.sites)


SNIPPETS = {
    "closure": "def f(n):\n    def add(m):\n        nonlocal n\n        n += m\n        return n\n"
    "    return add(2) + add(3)",
    "generator": "def f(n):\n    def g():\n        for i in range(n):\n            if i % 2:\n"
    "                continue\n"
    "            yield i * 2\n    return list(g())",
    "class": "class A:\n    def __init__(self, n):\n        self.n = n\n    def __f(self):\n"
    "        return self.n + 1\n"
    "class B(A):\n    def __init__(self, n):\n        super().__init__(n + 1)\n        self.m = self.n * 2\n"
    "    def get(self):\n        return self.m - 1, getattr(self, '_A__f')()\ndef f(n):\n    return B(n).get()",
    "comprehension": "def f(n):\n    return {k: [j for j in range(k) if j > 1] for k in range(n) if k != 2}",
    "match": "def f(n):\n    match n:\n        case 0 | 1:\n            return 'few'\n"
    "        case _ if n > 5:\n            return 'many'\n    return f'{n}'",
    "exceptions": "def f(n):\n    try:\n        return 10 // n\n    except ZeroDivisionError:\n        return -1\n"
    "    finally:\n        n = 0",
    "async": "import asyncio\nasync def g(n):\n    await asyncio.sleep(0)\n    return n + 1\ndef f(n):\n"
    "    return asyncio.run(g(n))",
    "lambda": "key = lambda n: n - 3\ndef f(n):\n    return sorted(range(n), key=lambda i: -i), key(n)",
    "decorated": "import functools\ndef twice(g):\n    @functools.wraps(g)\n    def inner(n):\n"
    "        return g(n) * 2\n"
    "    return inner\n@twice\ndef f(n):\n    return n + 1",
}


def outcome(namespace: dict[str, Any]) -> list[str]:
    said = []
    for argument in (0, 1, 2, 5, 7):
        try:
            said.append(repr(namespace["f"](argument)))
        except Exception as error:
            said.append(type(error).__name__)
    return said


def loops(file: MutatedFile) -> Iterator[Site]:
    return (site for site in file.sites if site.unit is not None)


@pytest.mark.parametrize("name", SNIPPETS)
def test_switching_a_mutant_on_does_what_writing_it_does(name: str) -> None:
    judged = 0
    count = len(list(loops(mutated(SNIPPETS[name]))))
    for number in range(count):
        file = MutatedFile(SNIPPETS[name].encode(), "m.py", "m.py", 1)
        site = list(loops(file))[number]
        board = Switchboard({"m.py": file})
        living: dict[str, Any] = {"__name__": "m"}
        exec(board.code_for("m.py"), living)
        if site.statement in board.reached:
            continue  # It ran at import: judged by importing anew.
        board.find_living()
        good = board.strip_probes()
        assert site.unit in good
        variant = file.variant(site)
        assert variant is not None
        if not board.switch_on(site, variant):
            continue  # A function that lives uses a cell that the mutant has no use for: judged likewise.
        fresh: dict[str, Any] = {"__name__": "m"}
        exec(compile(written(file, site), "m.py", "exec"), fresh)
        assert outcome(living) == outcome(fresh)
        judged += 1
    assert judged >= 2


def test_probes_say_which_statements_were_reached() -> None:
    file = mutated("def f(a):\n    if a:\n        return 1\n    return 2\n")
    reached: set[int] = set()
    namespace: dict[str, Any] = {}
    exec(file.probed(reached.add), namespace)
    assert reached == set()
    assert namespace["f"](True) == 1
    assert reached == {1, 2}


def test_code_that_compiles_to_the_same_is_equivalent() -> None:
    file = mutated("def f(a):\n    a = 1 if 0 else 2\n    return a\n")
    verdicts = {(file.source.piece(s.start, s.end), s.replacement): file.is_equivalent(s) for s in file.sites}
    assert verdicts[("1", "2")]
    assert not verdicts[("2", "3")]
    assert not verdicts[("0", "1")]


def test_a_statement_of_the_module_that_is_left_out_is_missed() -> None:
    file = mutated("words = []\nwords.append('man')\n")
    removed = [file.is_equivalent(site) for site in file.sites if site.replacement == "pass"]
    assert removed
    assert not any(removed)


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("def f(a):\n    return sorted(a, reverse=False)", True),
        ("def f(a):\n    return sorted(a, reverse=True)", False),
        ("def f(a):\n    return sorted(a, reverse=0)", False),
        ("from b import sorted\n\n\ndef f(a):\n    return sorted(a, reverse=False)", False),
        ("def f(a):\n    return a.sorted(reverse=False)", False),
        ("def f(a):\n    return [sorted(a, reverse=False), 1]", True),
    ],
)
def test_an_argument_that_says_what_a_builtin_does_anyway_makes_no_difference(source: str, same: bool) -> None:
    file = mutated(source)
    assert [file.is_equivalent(site) for site in file.sites if site.operator == "keyword"] == [same]
