"""The types gate: each changed language by the checker that knows it."""

from typing import Protocol

from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.validators.interface import ChangedTree
from quantum_suite.services.validators.reporting import join_reports, report


class TypeChecker(Protocol):
    """A type checker for one language."""

    @property
    def name(self) -> str:
        """Return its name."""
        ...

    def concerns(self, tree: ChangedTree) -> bool:
        """Whether the change has anything for it."""
        ...

    async def check(self, tree: ChangedTree) -> GateReport:
        """Return the report on its language, as a validator would."""
        ...


class TypesValidator:
    """Checks types; errors that were there before never block."""

    gate = "types"

    def __init__(self, *checkers: TypeChecker) -> None:
        self._checkers = checkers

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Have each checker look at its language."""
        parts = {one.name: await one.check(tree) for one in self._checkers if one.concerns(tree)}
        if not parts:
            return report(self.gate, (), passed="No changed file is in a language whose types are checked.")
        return join_reports(self.gate, parts)
