"""What is wrong with a definition, and exactly where."""

import difflib
from collections.abc import Iterable

from quantum_suite.core.errors import CallerError
from quantum_suite.services.yaml_nodes import Problem


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
