"""The gates of a change to code, in their order: what is cheap and certain first."""

from collections.abc import Sequence
from pathlib import Path

from quantum_suite.services.code_scanning.interface import Engine
from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.interface import ReachMap, Runner
from quantum_suite.services.validators.api_existence import ApiValidator
from quantum_suite.services.validators.imports import ImportsValidator
from quantum_suite.services.validators.interface import Validator
from quantum_suite.services.validators.mypy_types import MypyChecker
from quantum_suite.services.validators.ruff import FormatValidator, LintValidator
from quantum_suite.services.validators.safeguards import SafeguardsValidator
from quantum_suite.services.validators.sandboxed import Bench
from quantum_suite.services.validators.security import SecurityValidator
from quantum_suite.services.validators.syntax import SyntaxValidator
from quantum_suite.services.validators.tests_gate import TestLimits, TestsValidator
from quantum_suite.services.validators.types_gate import TypesValidator
from quantum_suite.services.validators.typescript_types import TypeScriptChecker


def code_gates(
    sandbox: Sandbox,
    engines: Sequence[Engine],
    runners: Sequence[Runner],
    *,
    reach: ReachMap | None = None,
    limits: TestLimits | None = None,
    work_dir: Path | None = None,
) -> tuple[Validator, ...]:
    """Return the gates every change is led through. `work_dir` is for what engines leave while they run."""
    bench = Bench(sandbox)
    return (
        SyntaxValidator(bench),
        ImportsValidator(bench),
        ApiValidator(bench),
        LintValidator(bench),
        FormatValidator(bench),
        SafeguardsValidator(),
        SecurityValidator(engines, work_dir),
        TypesValidator(MypyChecker(bench, work_dir), TypeScriptChecker(bench)),
        TestsValidator(runners, reach, limits),
    )
