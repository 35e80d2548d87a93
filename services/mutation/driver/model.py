"""Places that can be mutated, and the functions they lie in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def last_name(node: ast.AST) -> str:
    """Return the last part of a name, or of the name that is called; nothing for other expressions."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@dataclass(eq=False)
class Unit:
    """An outermost function: what lies in it is switched by exchanging its code; what lies in none runs at
    import."""

    node: FunctionNode
    classes: tuple[ast.ClassDef, ...]
    """The classes around it, outermost first."""
    name: str
    first_line: int
    """As its code object has it: the first decorator's, if there is one."""
    statements: list[int] = field(default_factory=list)
    """Numbers of the statements in it."""


@dataclass(frozen=True)
class Edit:
    """A field of a node and its other value."""

    owner: ast.AST
    name: str
    value: Any

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Change the tree while the context lasts."""
        before = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.value)
        try:
            yield
        finally:
            setattr(self.owner, self.name, before)


@dataclass(eq=False)
class Site:
    """One mutant, as the driver knows it."""

    operator: str
    edit: Edit
    start: int
    end: int
    """Offsets of what is replaced."""
    replacement: str
    """The text written into the source, parentheses included where they may be needed."""
    function: str
    unit: Unit | None
    statement: int | None
    """Number of the statement it lies in; None for what runs at import."""
    about: Unit | None
    """The function whose default argument or decorator it changes: only who calls that one can notice."""
    lines: tuple[int, int]
    id: str = ""


@dataclass(eq=False)
class ProbedList:
    """A list of statements in a function, with the number of each."""

    owner: ast.AST
    name: str
    numbers: list[tuple[ast.stmt, int]]
