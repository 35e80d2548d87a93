"""What is wrong with a definition, and exactly where."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from quantum_suite.core.errors import CallerError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or (a warning) that may be meant otherwise."""

    path: str
    """Where, as one writes it: `steps[2].with.path`."""
    line: int
    """Counts from 1, as `column` does."""
    column: int
    message: str
    """What is wrong, as a sentence."""
    hint: str = ""
    """What would be right, as a sentence."""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}"
        where = f"{self.path} ({place})" if self.path else place
        prefix = "warning: " if self.severity == "warning" else ""
        return f"{prefix}{where}: {self.message} {self.hint}".rstrip()


class InvalidDefinition(CallerError):
    """A definition that cannot be run; `problems` are all that were found, warnings included."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        errors = [str(problem) for problem in self.problems if problem.severity == "error"]
        super().__init__("\n".join(errors), argument="definition")


def near(word: str, known: Iterable[str], *, kind: str = "") -> str:
    """Return a hint: the known word that was probably meant, else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word[:_LONGEST_WORD], names[:_MOST_COMPARED], n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    if not names:
        return f"There is no {kind or 'name'} at all here."
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"There is: {', '.join(names[:_MOST_NAMES])}{more}."


_MOST_NAMES = 12
_MOST_COMPARED = 300
_LONGEST_WORD = 100
