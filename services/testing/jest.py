"""Jest, as the project has it installed."""

import re
from pathlib import Path

from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.interface import TestRequest
from quantum_suite.services.testing.jest_like import JestLikeRunner, Program, files_of, names_pattern


def _options(request: TestRequest, work: Path) -> list[str]:
    options = ["--json", f"--outputFile={work / 'report.json'}", "--testLocationInResults", "--ci"]
    options += [f"--testTimeout={int(request.case_seconds * 1000)}", f"--maxWorkers={max(1, request.processes)}"]
    options += [f"--cacheDirectory={work / 'cache'}", "--watchman=false", "--passWithNoTests"]
    if request.order_seed is not None:
        options += ["--randomize", f"--seed={request.order_seed % 2**31}"]
    if request.stop_at_first_failure:
        options.append("--bail=1")
    if request.coverage or request.contexts:
        options += ["--coverage", "--coverageReporters=json", f"--coverageDirectory={work / 'coverage'}"]
    return [*options, *names_pattern(request), *(f"{re.escape(path)}$" for path in files_of(request))]


class JestRunner(JestLikeRunner):
    """Runs Jest; see `Runner`."""

    def __init__(self, sandbox: Sandbox, node: Path | None = None) -> None:
        super().__init__(sandbox, Program("jest", "bin/jest.js", _options), node)
