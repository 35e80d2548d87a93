"""Says which tests a change concerns, from the map that coverage runs keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.testing.interface import ReachMap
from quantum_suite.tools.qtest.project_copy import Progress, ProjectCopies

SHOWN_TESTS = 200


class ConcernedTest(BaseModel):
    """A test, and why it is among the chosen."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="The test; a function or file stands for all its cases.")
    why: str = Field(description="What of it changed.")


class AffectedAnswer(BaseModel):
    """The tests a change concerns."""

    model_config = ConfigDict(frozen=True)

    everything: bool = Field(description="Whether every test is concerned, since the map cannot tell.")
    chosen: int = Field(description="How many tests are concerned.")
    known: int = Field(description="How many the map knows; 0 means: call measure_coverage first.")
    tests: tuple[ConcernedTest, ...] = Field(description="The concerned ones, the first ones.")
    more_tests: int = Field(description="How many more there are. run_tests(only_affected=true) runs them all.")
    changed: tuple[str, ...] = Field(description="The files that differ from the state the map knows.")
    explanation: str = Field(description="How it is known.")


@dataclass(frozen=True, slots=True)
class AffectedChooser:
    """Chooses tests. One object serves every call."""

    copies: ProjectCopies
    reach: ReachMap

    async def choose(
        self, root: Path, lines: Mapping[str, Sequence[int]] | None, progress: Progress
    ) -> AffectedAnswer:
        """Return the tests concerned by what differs from the last coverage run, or would by changing `lines`."""
        async with self.copies.copy(root, None, "a look at the tests", progress) as copy:
            changed: dict[str, frozenset[int] | None] = dict(
                await self.reach.changed_since(copy.origin, copy.root)
            )
            for path, numbers in (lines or {}).items():
                if not (copy.root / path).is_file():
                    raise CallerError(f"There is no file '{path}'.", "Name files below path.", argument="lines")
                changed[path] = frozenset(numbers)
            affected = await self.reach.affected(copy.origin, changed, copy.root)
            known = await self.reach.known_tests(copy.origin)
        listed = [ConcernedTest(id=test, why=affected.reasons.get(test, "")) for test in affected.tests]
        return AffectedAnswer(
            everything=affected.everything,
            chosen=len(listed),
            known=len(known),
            tests=tuple(listed[:SHOWN_TESTS]),
            more_tests=max(0, len(listed) - SHOWN_TESTS),
            changed=tuple(sorted(changed))[:SHOWN_TESTS],
            explanation=affected.explanation,
        )
