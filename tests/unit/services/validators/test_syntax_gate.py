from pathlib import Path

import pytest
from reference.judging import Files, open_court, write_project

from quantum_suite.core.verdicts import GateReport, Outcome
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.validators.sandboxed import Bench
from quantum_suite.services.validators.syntax import SyntaxValidator

pytestmark = pytest.mark.anyio


async def checked(tmp_path: Path, before: Files, after: Files) -> GateReport:
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"README": "x", **before})
        judgement = await court.judge(root, dict(after), SyntaxValidator(court.bench))
    report = judgement.verdict.gate("syntax")
    assert report is not None
    return report


GOOD: dict[str, str] = {
    "a.py": "def f(x):\n    return [x for _ in range(3)]\n",
    "a.js": "export const f = async (x) => ({ ...x, y: 1 });\n",
    "a.jsx": "export const A = () => <div className='x'>{1}</div>;\n",
    "a.ts": "interface A<T> { x: T }\nexport const f = <T,>(a: A<T>): T => a.x satisfies T;\n",
    "a.tsx": "export const A = ({ x }: { x: string }) => <b>{x}</b>;\n",
    "a.go": "package a\n\nfunc F[T any](x T) T { return x }\n",
    "a.java": "class A { record P(int x) {} int f() { return switch (1) { case 1 -> 2; default -> 3; }; } }\n",
    "a.rs": "pub fn f<'a>(x: &'a str) -> Option<&'a str> { x.strip_prefix(\"a\") }\n",
    "a.c": '#include <stdio.h>\nint main(void) { printf("%d", 1); return 0; }\n',
    "a.cpp": "#include <vector>\ntemplate <typename T> auto f(std::vector<T> v) { return v.size(); }\n",
    "a.cs": "namespace A; public record P(int X) { public int Y => X switch { > 1 => 2, _ => 3 }; }\n",
    "a.rb": "def f(x)\n  x.map { |y| y + 1 }\nend\n",
    "a.php": "<?php\nfunction f(int $x): int { return match(true) { $x > 1 => 2, default => 3 }; }\n",
    "a.sh": 'f() { for x in "$@"; do echo "${x%.*}"; done; }\n',
    "a.json": '{"a": [1, 2, null]}\n',
    "a.toml": "[a]\nb = 1\n",
}

BAD: dict[str, tuple[str, int]] = {
    "a.py": ("def f(x:\n    return x\n", 1),
    "a.js": ("const a = 1;\nfunction f( { return 1 }\n", 2),
    "a.ts": ("const a: number = 1;\nconst b: = 2;\n", 2),
    "a.tsx": ("const a = 1;\nexport const A = () => <div><b></div>;\n", 2),
    "a.go": ("package a\n\nfunc F( { return 1 }\n", 3),
    "a.java": ("class A {\n  int f( { return 1; }\n}\n", 2),
    "a.rs": ("fn f() -> i32 {\n  let = 1;\n  1\n}\n", 2),
    "a.cs": ("class A {\n  int F( { return 1; }\n}\n", 2),
    "a.rb": ("def f(x\n  x +\nend\n", 1),
    "a.php": ("<?php\nfunction f( { return 1; }\n", 2),
    "a.sh": ("f() {\n  if true; then echo; \n}\n", 1),
    "a.json": ('{"a": [1, 2,]}\n', 1),
    "a.toml": ("[a]\nb = \n", 2),
}


async def test_good_files_of_every_language_pass(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, GOOD)
    assert report.outcome is Outcome.PASSED
    assert report.problems == ()


async def test_a_bad_file_of_each_language_is_refused_at_its_line(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {path: text for path, (text, _) in BAD.items()})
    assert report.outcome is Outcome.FAILED
    lines: dict[str, list[int]] = {}
    for problem in report.problems:
        assert problem.location is not None
        assert problem.location.region is not None
        assert problem.blocking
        lines.setdefault(problem.location.path, []).append(problem.location.region.start_line)
    for path, (_, line) in BAD.items():
        assert path in lines, path
        assert min(lines[path]) <= line, path


async def test_what_was_wrong_before_does_not_block(tmp_path: Path) -> None:
    broken = "function f( { return 1 }\n"
    report = await checked(tmp_path, {"a.js": broken}, {"a.js": broken + "const x = 1;\n"})
    assert report.outcome is Outcome.PASSED
    assert [problem.introduced for problem in report.problems] == [False]


async def test_a_c_file_full_of_macros_gets_advice(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"a.c": "DEFINE_LIST(struct a, next) {\n  FOREACH(x, y) z;\n} }\n"})
    assert report.outcome is Outcome.PASSED
    assert report.problems
    assert not any(problem.blocking for problem in report.problems)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bytes.py", b"x = '\xff\xfe'\n"),
        ("null.py", b"x = 1\x00\n"),
        ("cookie.py", b"# -*- coding: no-such-encoding -*-\nx = 1\n"),
        ("minus.py", b"x = " + b"-" * 200_000 + b"1\n"),
        ("brackets.py", b"x = " + b"(" * 100_000 + b"1" + b")" * 100_000),
        ("deep.json", b"[" * 200_000 + b"]" * 200_000),
        ("large.py", b"x = 1\n" * 400_000),
    ],
)
async def test_hostile_source_is_refused_with_its_reason(tmp_path: Path, name: str, content: bytes) -> None:
    report = await checked(tmp_path, {}, {name: content, "good.py": "x = 1\n"})
    assert report.outcome is Outcome.FAILED
    blamed = {problem.location.path for problem in report.problems if problem.location is not None}
    assert blamed == {name}


async def test_source_in_another_encoding_is_read_as_it_says(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"a.py": "# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1")})
    assert report.outcome is Outcome.PASSED


async def test_a_file_that_stalls_the_parser_costs_itself_alone(tmp_path: Path) -> None:
    # No time at all: whatever is being parsed when it is over is to blame, and the others are looked at again.
    async with open_court(tmp_path / "court") as court:
        root = write_project(tmp_path / "project", {"README": "x"})
        slow = Bench(court.sandbox, Limits(seconds=0.05))
        judgement = await court.judge(root, {"a.py": "x = 1\n"}, SyntaxValidator(slow))
    report = judgement.verdict.gate("syntax")
    assert report is not None
    assert report.outcome in (Outcome.NOT_ASSESSED, Outcome.FAILED)
    assert report.outcome is Outcome.FAILED or "parser gave no answer" in report.summary


async def test_a_warning_of_the_compiler_is_advice(tmp_path: Path) -> None:
    report = await checked(tmp_path, {}, {"a.py": "x = 1\nif x is 1:\n    pass\n"})
    assert report.outcome is Outcome.PASSED
    assert [problem.code for problem in report.problems] == ["syntax-warning"]
