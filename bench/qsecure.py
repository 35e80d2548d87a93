"""How often QSecure's scan is right, on OWASP BenchmarkPython.

    git clone https://github.com/OWASP-Benchmark/BenchmarkPython
    python bench/qsecure.py --benchmark BenchmarkPython

Each of the benchmark's small programs is labelled as vulnerable or safe for one CWE. A program counts as flagged
when the scan reports that CWE in it, whatever the severity. The score of a category is its true-positive rate less
its false-positive rate (0 is guessing, 1 is perfect), and the benchmark's own overall figure is their mean. Rules
and their CWEs were written down before the first measurement and are not tuned on it.

`--write` renews `services/code_scanning/rules/accuracy.json`, which explain_finding shows beside its verdicts.
With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import csv
import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import anyio

from quantum_suite.core.principals import LOCAL
from quantum_suite.core.scan_events import SCAN_EVENTS
from quantum_suite.core.scans import SCANNERS, ScanRecord, ScanRequest
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.code_scanning.ruff_security import RuffSecurityEngine
from quantum_suite.services.code_scanning.rule_book import RuleBook
from quantum_suite.services.code_scanning.trivy import TrivyEngine
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.scans.interface import FindingQuery
from quantum_suite.services.scans.memory import MemoryScanStore
from quantum_suite.tools.qsecure.scan_repository import RepositoryScanner

ACCURACY = Path(__file__).resolve().parent.parent / "services" / "code_scanning" / "rules" / "accuracy.json"
COMMAND = "python bench/qsecure.py --benchmark BenchmarkPython"


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled program."""

    name: str
    category: str
    vulnerable: bool
    cwe: int


@dataclass(slots=True)
class Score:
    """Counts of one category."""

    cwe: int
    true_positives: int = 0
    false_negatives: int = 0
    false_positives: int = 0
    true_negatives: int = 0

    def add(self, *, vulnerable: bool, flagged: bool) -> None:
        """Count one case."""
        if vulnerable:
            self.true_positives += flagged
            self.false_negatives += not flagged
        else:
            self.false_positives += flagged
            self.true_negatives += not flagged

    @property
    def true_positive_rate(self) -> float:
        """Share of vulnerable cases flagged."""
        return self.true_positives / max(1, self.true_positives + self.false_negatives)

    @property
    def false_positive_rate(self) -> float:
        """Share of safe cases flagged."""
        return self.false_positives / max(1, self.false_positives + self.true_negatives)


def read_cases(benchmark: Path) -> tuple[str, list[Case]]:
    """Return the benchmark's version and its labelled programs."""
    expected = sorted(benchmark.glob("expectedresults-*.csv"))
    if not expected:
        raise SystemExit(f"{benchmark} holds no expectedresults-*.csv: give the checkout of BenchmarkPython.")
    version = expected[-1].stem.removeprefix("expectedresults-")
    with expected[-1].open(newline="") as file:
        rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    return version, [Case(name, category, real == "true", int(cwe)) for name, category, real, cwe, *_ in rows]


async def scan(benchmark: Path) -> tuple[ScanRecord, dict[str, dict[str, set[int]]], float]:
    """Scan the programs; returns the record, the CWEs each engine reported by program, and the seconds taken."""
    rules = RuleBook()
    store = MemoryScanStore()
    with tempfile.TemporaryDirectory() as scratch:
        engines = (TrivyEngine(rules, Path(scratch, "trivy")), RuffSecurityEngine(rules))
        scanner = RepositoryScanner(
            engines, store, Path(scratch, "work"), MemoryCapacity(1), MemoryEventStore(EventRegistry(SCAN_EVENTS))
        )

        async def silent(done: int, total: int, message: str) -> None:
            """Say nothing: the run is timed."""

        started = time.monotonic()
        request = ScanRequest(root=str(benchmark.resolve() / "testcode"), scanners=SCANNERS)
        record = await scanner.scan(request, LOCAL, silent)
        seconds = time.monotonic() - started
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    page = await store.findings(record.id, FindingQuery(suppressed=None), limit=1_000_000)
    for finding in page.findings:
        program = PurePosixPath(finding.location.path).stem
        for engine in (*finding.engines, "suite"):
            found[engine][program].update(finding.cwe)
    return record, found, seconds


def score(cases: list[Case], reported: dict[str, set[int]]) -> dict[str, Score]:
    """Return the counts of each category for one engine."""
    scores: dict[str, Score] = {}
    for case in cases:
        counts = scores.setdefault(case.category, Score(case.cwe))
        counts.add(vulnerable=case.vulnerable, flagged=case.cwe in reported.get(case.name, ()))
    return scores


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)


def write_accuracy(version: str, record: ScanRecord, by_engine: dict[str, dict[str, Score]]) -> None:
    """Renew the table that is shown beside verdicts: engines and weaknesses with at least one alarm."""
    versions = {run.name: run.version for run in record.engines}
    results = [
        {
            "engine": engine,
            "cwe": counts.cwe,
            "true_positives": counts.true_positives,
            "false_negatives": counts.false_negatives,
            "false_positives": counts.false_positives,
            "true_negatives": counts.true_negatives,
        }
        for engine, scores in sorted(by_engine.items())
        for counts in scores.values()
        if engine != "suite" and counts.true_positives + counts.false_positives
    ]
    tools = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    table = {
        "corpus": f"OWASP BenchmarkPython {version} ({tools})",
        "measured_on": datetime.now(UTC).date().isoformat(),
        "command": COMMAND,
        "results": results,
    }
    ACCURACY.write_text(json.dumps(table, indent=2) + "\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, required=True, help="a checkout of BenchmarkPython")
    parser.add_argument("--json", action="store_true", help="end with one line of figures")
    parser.add_argument("--write", action="store_true", help="renew the accuracy table the suite ships")
    options = parser.parse_args()
    version, cases = read_cases(options.benchmark)
    record, found, seconds = anyio.run(scan, options.benchmark)
    by_engine = {engine: score(cases, dict(reported)) for engine, reported in found.items()}
    suite = by_engine.get("suite") or score(cases, {})
    print(f"OWASP BenchmarkPython {version}: {len(cases)} programs, scanned in {seconds:.1f} s")
    for run in record.engines:
        print(f"  {run.name} {run.version}: {run.files_assessed} files in {run.seconds:.1f} s")
    print(f"{'category':<18}{'CWE':>5}{'cases':>7}{'TPR':>7}{'FPR':>7}{'score':>7}")
    for category, counts in sorted(suite.items()):
        tpr, fpr = counts.true_positive_rate, counts.false_positive_rate
        total = sum(case.category == category for case in cases)
        print(f"{category:<18}{counts.cwe:>5}{total:>7}{tpr:>7.2f}{fpr:>7.2f}{tpr - fpr:>+7.2f}")
    overall_tpr = mean([counts.true_positive_rate for counts in suite.values()])
    overall_fpr = mean([counts.false_positive_rate for counts in suite.values()])
    overall = f"{overall_tpr:>7.2f}{overall_fpr:>7.2f}{overall_tpr - overall_fpr:>+7.2f}"
    print(f"{'mean':<18}{'':>5}{len(cases):>7}{overall}")
    if options.write:
        write_accuracy(version, record, by_engine)
    if options.json:
        figures: dict[str, float] = {
            "benchmark_tpr": round(overall_tpr, 4),
            "benchmark_fpr": round(overall_fpr, 4),
            "benchmark_score": round(overall_tpr - overall_fpr, 4),
            "scan_seconds": round(seconds, 2),
        }
        for category, counts in sorted(suite.items()):
            figures[f"{category}_score"] = round(counts.true_positive_rate - counts.false_positive_rate, 4)
        print(json.dumps({"figures": figures}))


if __name__ == "__main__":
    main()
