"""Vitest, as the project has it installed."""

from pathlib import Path

from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.interface import TestRequest
from quantum_suite.services.testing.jest_like import JestLikeRunner, Program, files_of, names_pattern


def _options(request: TestRequest, work: Path) -> list[str]:
    options = ["run", "--reporter=json", f"--outputFile={work / 'report.json'}", "--includeTaskLocation"]
    options += [f"--testTimeout={int(request.case_seconds * 1000)}", f"--maxWorkers={max(1, request.processes)}"]
    options += ["--minWorkers=1"] if request.processes <= 1 else []
    if request.order_seed is not None:
        options += ["--sequence.shuffle", f"--sequence.seed={request.order_seed}"]
    if request.stop_at_first_failure:
        options.append("--bail=1")
    if request.coverage or request.contexts:
        options += [
            "--coverage.enabled",
            "--coverage.reporter=json",
            f"--coverage.reportsDirectory={work / 'coverage'}",
        ]
        options.append("--coverage.reportOnFailure")
    return [*options, *names_pattern(request), *files_of(request)]


class VitestRunner(JestLikeRunner):
    """Runs Vitest; see `Runner`."""

    def __init__(self, sandbox: Sandbox, node: Path | None = None) -> None:
        super().__init__(sandbox, Program("vitest", "vitest.mjs", _options), node)
