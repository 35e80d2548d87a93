"""How fast mutants are judged, and how often rightly.

    python bench/mutation.py --data DIR --python ENV/bin/python

Every folder in DIR is the source tree of a library whose tests pytest runs; ENV has pytest, what the libraries'
tests need, and `mutmut==3.8.1` (without it that side is left out). On each library, one after the other:

- speed: the suite's engine and mutmut each get `--seconds` and two workers; counted are mutants that tests were
  run for, divided by the wall time from start to end, with everything before the first mutant in it. The engine
  runs twice: on all it mutates, and on what lies in the bodies of functions, which is all that mutmut mutates;
- agreement: `--mutants` mutants in all, drawn at random, are judged by the engine and by brute force: the mutant
  written into a copy, the whole suite in a process of its own by plain `pytest -x`, noticed when that does not
  exit with 0. Where the two differ, brute force is repeated, to tell a test that wavers from a wrong verdict.

`--smoke` makes a small project and does all of it there but mutmut. With `--json` the last line is
`{"figures": {...}}`.
"""

import argparse
import ast
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from quantum_suite.services.mutation.driver.text import SourceText
from quantum_suite.services.mutation.engine import PythonMutationEngine
from quantum_suite.services.mutation.interface import MutantResult, MutantVerdict, MutationReport, MutationRequest
from quantum_suite.services.mutation.python_sources import sources
from quantum_suite.services.sandbox.interface import Limits
from quantum_suite.services.sandbox.opening import best_sandbox

_NOT_RUN = (MutantVerdict.NO_COVERAGE, MutantVerdict.EQUIVALENT)
_ENDING_SECONDS = 10.0
_MUTMUT_NOT_RUN = (None, 33, 34)
"""Exit codes in mutmut's records: not yet, no tests, skipped."""


@dataclass(slots=True)
class Row:
    """One library."""

    name: str
    generated: int = 0
    judged: int = 0
    seconds: float = 0.0
    in_bodies: int = 0
    in_bodies_seconds: float = 0.0
    mutmut_judged: int | None = None
    mutmut_seconds: float = 0.0
    compared: int = 0
    agreed: int = 0
    corrected: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Mutants a second."""
        return self.judged / self.seconds if self.seconds else 0.0

    @property
    def in_bodies_rate(self) -> float:
        """Mutants a second, of those in the bodies of functions."""
        return self.in_bodies / self.in_bodies_seconds if self.in_bodies_seconds else 0.0

    @property
    def mutmut_rate(self) -> float | None:
        """Mutants a second, of mutmut; None when it was not run or refused."""
        return self.mutmut_judged / self.mutmut_seconds if self.mutmut_judged else None


async def engine_run(folder: Path, request: MutationRequest) -> MutationReport:
    """Run the suite's engine in the strictest sandbox there is."""
    choice = await best_sandbox(folder=folder)
    return await PythonMutationEngine(choice.sandbox, folder).run(request)


def judged_in(
    root: Path, python: Path, seconds: float, folder: Path, lines: dict[str, frozenset[int]] | None = None
) -> tuple[MutationReport, int, float]:
    """Let the engine judge for so long, without confirming anything: the others do not either.

    Returns its report, how many mutants tests were run for, and the seconds it took."""
    limits = Limits(seconds=seconds / 0.75)  # The engine keeps a quarter for confirming.
    request = MutationRequest(
        root, python=python, changed_lines=lines, verify_killed=0, verify_survivors=0, limits=limits
    )
    started = time.monotonic()
    report = anyio.run(engine_run, folder, request)
    took = time.monotonic() - started
    return report, sum(result.verdict not in _NOT_RUN for result in report.results), took


def body_lines(root: Path) -> dict[str, frozenset[int]]:
    """Return the lines on which the bodies of functions lie, by file."""
    found: dict[str, frozenset[int]] = {}
    for path in sources(root, ()):
        tree = ast.parse((root / path).read_bytes())
        functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        found[path] = frozenset(
            line for node in functions for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)
        )
    return found


def measure_speed(row: Row, root: Path, python: Path, seconds: float, folder: Path) -> None:
    """Measure the engine on all it mutates."""
    report, row.judged, row.seconds = judged_in(root, python, seconds, folder)
    row.generated = report.generated


def measure_in_bodies(row: Row, root: Path, python: Path, seconds: float, folder: Path) -> None:
    """Measure the engine on what lies in the bodies of functions."""
    _, row.in_bodies, row.in_bodies_seconds = judged_in(root, python, seconds, folder, body_lines(root))


def measure_mutmut(row: Row, root: Path, python: Path, seconds: float) -> None:
    """Let mutmut judge the same files for as long, with as many workers."""
    program = python.with_name("mutmut")
    if not program.exists():
        return
    files = sources(root, ())
    tops = sorted({path.split("/")[0] if "/" in path else path for path in files})
    (root / "setup.cfg").write_text(
        "[mutmut]\nsource_paths=\n"
        + "".join(f"    {top}\n" for top in tops)
        + "only_mutate=\n"
        + "".join(f"    {path}\n" for path in files)
        + "also_copy=\n"
        + "".join(f"    {item.name}\n" for item in sorted(root.iterdir()) if item.name not in (*tops, "mutants"))
    )
    started = time.monotonic()
    process = subprocess.Popen(
        [program, "run", "--max-children", "2"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"},
    )
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # Asked first: killed at once it may leave half a record.
        os.killpg(process.pid, signal.SIGINT)
        row.mutmut_seconds = time.monotonic() - started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_ENDING_SECONDS)
    else:
        row.mutmut_seconds = time.monotonic() - started
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    # What it judged while it ended counts, too.
    codes = [
        code
        for record in (root / "mutants").rglob("*.meta")
        for code in json.loads(record.read_text()).get("exit_code_by_key", {}).values()
    ]
    row.mutmut_judged = sum(code not in _MUTMUT_NOT_RUN for code in codes)


class BruteForce:
    """The whole suite in a process of its own, by plain pytest, on a copy."""

    def __init__(self, root: Path, python: Path, folder: Path) -> None:
        self.root, self.python, self.folder = root, python, folder
        self.seconds = 60.0
        started = time.monotonic()
        if self.noticed(None, "baseline"):
            raise SystemExit(f"The tests in {root} do not pass unmutated.")
        self.seconds = 30.0 + 10 * (time.monotonic() - started)

    def noticed(self, result: MutantResult | None, name: str) -> bool:
        """Whether the suite fails, or does not end, with a mutant in the source."""
        copy = self.folder / f"brute-{name}"
        shutil.copytree(self.root, copy, symlinks=True)
        try:
            if result is not None:
                _write(copy, result)
            paths = os.pathsep.join([str(copy / "src"), str(copy)])
            run = subprocess.run(
                [self.python, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": paths},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=self.seconds,
                check=False,
            )
            return run.returncode != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            shutil.rmtree(copy, ignore_errors=True)


def _write(copy: Path, result: MutantResult) -> None:
    region = result.mutant.location.region
    assert region is not None
    assert region.start_column is not None
    assert region.end_column is not None
    path = copy / result.mutant.location.path
    text = SourceText(path.read_bytes())
    start = text.offset_of(region.start_line, region.start_column)
    end = text.offset_of(region.end_line, region.end_column)
    path.write_bytes(text.with_piece(start, end, result.mutant.replacement))


def noticed(result: MutantResult) -> bool:
    """Whether the engine says that the tests notice a mutant."""
    if result.verdict is MutantVerdict.IMPORT_TIME:
        return result.killed_by is not None
    return result.verdict in (MutantVerdict.KILLED, MutantVerdict.TIMEOUT)


def measure_agreement(row: Row, root: Path, python: Path, mutants: int, seed: int, folder: Path) -> None:
    """Compare the engine's verdicts with brute force."""
    request = MutationRequest(root, python=python, sample=mutants, seed=seed, verify_killed=10)
    report = anyio.run(engine_run, folder, request)
    row.corrected = len(report.disagreements)
    row.differences += [f"corrected by the engine: {text}" for text in report.disagreements]
    brute = BruteForce(root, python, folder)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda r: brute.noticed(r, r.mutant.id), report.results))
    for result, answer in zip(report.results, answers, strict=True):
        row.compared += 1
        if answer == noticed(result):
            row.agreed += 1
            continue
        mutant = result.mutant
        again = [brute.noticed(result, mutant.id) for _ in range(2)]
        why = "brute force wavers" if again != [answer, answer] else f"brute force says noticed={answer}, always"
        row.differences.append(
            f"{mutant.location} {mutant.original!r} -> {mutant.replacement!r}: {result.verdict}"
            f" ({result.killed_by}), but {why}"
        )


def smoke_project(folder: Path) -> Path:
    """Make a small project; brute force waits half a minute for a loop without end, so it has none."""
    root = folder / "small"
    root.mkdir()
    (root / "prices.py").write_text(
        "LIMIT = 10\n\n\ndef price(count, each=2):\n    if count > LIMIT:\n        return count * each - 1\n"
        "    total = 0\n    for _ in range(count):\n        total += each\n    return total\n"
    )
    (root / "test_prices.py").write_text(
        "from prices import price\n\n\ndef test_few():\n    assert price(3) == 6\n\n\n"
        "def test_many():\n    assert price(20) == 39\n"
    )
    return root


def show(rows: list[Row]) -> dict[str, float]:
    """Print the table, and return the figures."""
    heads = f"{'library':24} {'mutants':>8} {'judged':>7} {'/s':>7} {'bodies':>7} {'/s':>7}"
    print(f"{heads} {'mutmut /s':>10} {'agreed':>10}")
    for row in rows:
        peer = "-" if row.mutmut_rate is None else f"{row.mutmut_rate:.2f}"
        agreed = f"{row.agreed}/{row.compared}"
        bodies = f"{row.in_bodies:7} {row.in_bodies_rate:7.2f}"
        print(f"{row.name:24} {row.generated:8} {row.judged:7} {row.rate:7.2f} {bodies} {peer:>10} {agreed:>10}")
        for text in row.differences:
            print(f"    {text}")
    ran = [row for row in rows if row.mutmut_rate is not None]
    compared, agreeing = sum(row.compared for row in rows), sum(row.agreed for row in rows)
    figures: dict[str, float] = {
        "mutants_per_s": sum(row.judged for row in rows) / max(0.001, sum(row.seconds for row in rows)),
        "compared": compared,
        "agreement": agreeing / compared if compared else 0.0,
        "corrected_by_fresh_processes": sum(row.corrected for row in rows),
        "differences": compared - agreeing,
    }
    if ran:
        ours = sum(row.judged for row in ran) / sum(row.seconds for row in ran)
        theirs = sum(row.mutmut_judged or 0 for row in ran) / sum(row.mutmut_seconds for row in ran)
        alike = sum(row.in_bodies for row in ran) / sum(row.in_bodies_seconds for row in ran)
        figures |= {
            "mutmut_mutants_per_s": theirs,
            "times_mutmut": ours / theirs if theirs else 0.0,
            "in_bodies_mutants_per_s": alike,
            "in_bodies_times_mutmut": alike / theirs if theirs else 0.0,
        }
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with a source tree a library")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="the interpreter for their tests"
    )
    parser.add_argument("--only", nargs="*", help="folders in DIR; all when left out")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each library and engine")
    parser.add_argument("--mutants", type=int, default=300, help="compared with brute force, in all")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data is None and not options.smoke:
        parser.error("give --data DIR, or --smoke")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-mutation-") as temporary:
        folder = Path(temporary).resolve()
        if options.smoke:
            roots, options.seconds, options.mutants = [smoke_project(folder)], 20.0, 3
        else:
            roots = [path for path in sorted(options.data.iterdir()) if path.is_dir()]
            roots = [path for path in roots if not options.only or path.name in options.only]
        for root in roots:
            row = Row(root.name)
            rows.append(row)
            for step in ("speed", "in bodies", "mutmut", "agreement"):
                copy = folder / f"{root.name}-{step}"
                shutil.copytree(root, copy, symlinks=True)
                if step == "speed":
                    measure_speed(row, copy, options.python, options.seconds, folder)
                elif step == "in bodies":
                    measure_in_bodies(row, copy, options.python, options.seconds, folder)
                elif step == "mutmut" and not options.smoke:
                    measure_mutmut(row, copy, options.python, options.seconds)
                elif step == "agreement" and options.mutants:
                    share = max(1, options.mutants // len(roots))
                    measure_agreement(row, copy, options.python, share, options.seed, folder)
                shutil.rmtree(copy, ignore_errors=True)
            print(row, file=sys.stderr, flush=True)
    figures = show(rows)
    if options.json:
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
