"""The api gate: do the attributes, functions and arguments used exist in the versions that are installed."""

from collections.abc import Mapping
from typing import Any

from quantum_suite.core.verdicts import GateReport, Problem
from quantum_suite.services.validators.imports import no_environment
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import Found, not_assessed, problem, report
from quantum_suite.services.validators.sandboxed import Bench, CheckFailed, changed_python

GATE = "api"


class ApiValidator:
    """Looks up what changed Python files use of installed packages and of the standard library.

    It speaks only of what it is sure of: names bound once, by an import that nothing guards, and variables that
    hold a literal or an instance of a plain class.
    """

    gate = GATE

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Say what does not exist, with the nearest name that does."""
        files = changed_python(tree)
        if not files:
            return report(GATE, (), passed="No Python file changed.")
        request = {"files": files, "environment": tree.python is not None}
        try:
            answer, run = await self._bench.ask_whole("python_api", request, tree)
        except CheckFailed as error:
            return not_assessed(GATE, str(error))
        return report(
            GATE,
            [_problem(row) for row in answer["problems"]],
            passed=f"{answer['checked']} uses of imported names looked up.",
            isolation=run.isolation,
            unassessed=[no_environment(answer["unchecked"])] if answer["unchecked"] else [],
        )


def _problem(row: Mapping[str, Any]) -> Problem:
    found = Found(
        row["path"],
        row["code"],
        row["message"],
        row["line"],
        row["column"],
        end_column=row["end_column"],
        suggestion=row["suggestion"],
    )
    return problem(found, introduced=not row["known"])
