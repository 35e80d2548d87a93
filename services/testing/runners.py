"""The frameworks the suite knows, and which of them a project uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantum_suite.core.errors import CallerError
from quantum_suite.services.sandbox.interface import Sandbox
from quantum_suite.services.testing.go_test import GoTestRunner
from quantum_suite.services.testing.interface import Runner
from quantum_suite.services.testing.jest import JestRunner
from quantum_suite.services.testing.node_test import NodeTestRunner
from quantum_suite.services.testing.pytest import PytestRunner
from quantum_suite.services.testing.unittest import UnittestRunner
from quantum_suite.services.testing.vitest import VitestRunner

RUNNER_NAMES = ("pytest", "unittest", "node", "vitest", "jest", "go")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A runner, and why it is this one."""

    runner: Runner
    reason: str
    others: tuple[str, ...] = ()
    """Frameworks the project uses as well, which are not run."""


def all_runners(sandbox: Sandbox, work_dir: Path | None = None, node: Path | None = None) -> tuple[Runner, ...]:
    """Return every runner, in the order in which they are tried. `work_dir` is for what runs leave behind."""
    return (
        UnittestRunner(sandbox, work_dir),
        PytestRunner(sandbox, work_dir),
        VitestRunner(sandbox, node),
        JestRunner(sandbox, node),
        NodeTestRunner(sandbox, node),
        GoTestRunner(sandbox),
    )


def choose_runner(runners: Sequence[Runner], root: Path, asked: str | None = None) -> Chosen:
    """Return the runner asked for, else the first that the project shows signs of. Raises CallerError (`runner`).

    pytest runs unittest's tests as well: where it is set up, or its files are there, it is taken.
    """
    if asked is not None:
        runner = next((runner for runner in runners if runner.name == asked), None)
        if runner is None:
            names = ", ".join(runner.name for runner in runners)
            raise CallerError(f"There is no runner '{asked}'.", f"It is one of {names}.", argument="runner")
        return Chosen(runner, "it was asked for")
    found = {runner.name: (runner, why) for runner in runners if (why := runner.detect(root)) is not None}
    if "pytest" in found and _set_up(found["pytest"][1]):
        found.pop("unittest", None)
    elif "unittest" in found:
        found.pop("pytest", None)
    if not found:
        raise CallerError(
            # The root is a private copy; its folder is called as the project's.
            f"No tests were recognised in the folder '{root.name}'.",
            "Name the folder that holds the project, or, where the tool takes one, the runner: "
            f"{', '.join(RUNNER_NAMES)}.",
            argument="runner",
        )
    (runner, why), *others = found.values()
    return Chosen(runner, why, tuple(other.name for other, _ in others))


def _set_up(why: str) -> bool:
    """Whether the sign of pytest is a setting of its own, not a file that unittest would take as well."""
    return "pytest" in why or why == "conftest.py"
