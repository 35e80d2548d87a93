"""The port of a check: two states of a tree in, one gate's report out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quantum_suite.core.verdicts import GateReport
from quantum_suite.services.patches.interface import ChangeSet
from quantum_suite.services.scratch.interface import Scratch


class Original(Protocol):
    """The state before the change: a copy of its own, made when a check first asks for it, then shared."""

    async def root(self) -> Path:
        """Return the top of the copy. Raises Conflict when the workspace has changed since the change was read."""
        ...


@dataclass(frozen=True, slots=True)
class ChangedTree:
    """A change that was applied to a private copy."""

    scratch: Scratch
    """The copy, with the change in it."""
    change: ChangeSet
    changed_lines: dict[str, frozenset[int]]
    """By path, line numbers of the new version that the change brought."""
    original: Original
    python: Path | None = None
    """The interpreter of the project's environment, where there is one."""

    @property
    def root(self) -> Path:
        """Return the top of the changed copy."""
        return self.scratch.root


class Validator(Protocol):
    """One gate. Never changes the tree it is shown, beyond what running it leaves behind."""

    @property
    def gate(self) -> str:
        """Return the gate's name."""
        ...

    async def validate(self, tree: ChangedTree) -> GateReport:
        """Check the change.

        What was wrong before is told apart by comparing with the original (`introduced=False`, not blocking). A
        missing engine gives `not_assessed` with the command that installs it; an engine that crashes gives
        `not_assessed` with what it printed. Never raises for what the change holds.
        """
        ...
