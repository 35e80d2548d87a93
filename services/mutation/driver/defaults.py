"""Default arguments that can be exchanged in a function that lives, without importing its module anew.

That is so for plain values, in functions whose decorators look at a call and not at the signature.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from quantum_suite.services.mutation.driver.model import Site, last_name
from quantum_suite.services.mutation.driver.text import SourceText

_HARMLESS = frozenset(
    {
        "abstractmethod",
        "asynccontextmanager",
        "cache",
        "classmethod",
        "contextmanager",
        "final",
        "lru_cache",
        "override",
        "staticmethod",
        "wraps",
    }
)
"""Decorators that leave defaults to the function they wrap."""


@dataclass(frozen=True)
class DefaultValue:
    """Another value for a default argument."""

    keyword: str | None
    """The argument's name when it is keyword-only."""
    place: int
    """Which of the positional defaults, counted from the first."""
    old: Any
    new: Any

    def fits(self, function: FunctionType) -> bool:
        """Whether a function has the old value there."""
        try:
            return _same(self._of(function), self.old)
        except LookupError:
            return False

    def exchange(self, functions: Sequence[FunctionType]) -> bool:
        """Give them the new value; False, and nothing was changed, when one of them has another than the old."""
        if not functions or not all(self.fits(function) for function in functions):
            return False
        for function in functions:
            self._put(function, self.new)
        return True

    def put_back(self, functions: Sequence[FunctionType]) -> None:
        """Give them the old value."""
        for function in functions:
            self._put(function, self.old)

    def _of(self, function: FunctionType) -> Any:
        if self.keyword is not None:
            return (function.__kwdefaults__ or {})[self.keyword]
        return (function.__defaults__ or ())[self.place]

    def _put(self, function: FunctionType, value: Any) -> None:
        if self.keyword is not None:
            function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), self.keyword: value}
            return
        before = function.__defaults__ or ()
        function.__defaults__ = (*before[: self.place], value, *before[self.place + 1 :])


def default_value(site: Site, source: SourceText) -> DefaultValue | None:
    """Return what a mutant makes of a default argument; None where that takes an import."""
    if site.operator != "default" or site.about is None or not _plain_decorators(site.about.node):
        return None
    arguments = site.about.node.args
    for name in ("defaults", "kw_defaults"):
        for place, node in enumerate(getattr(arguments, name)):
            if node is not None and _covers(source.span(node), site):
                # Looked up anew: the mutant may stand in the whole value's place.
                old = _value(getattr(arguments, name)[place])
                with site.edit.applied():
                    new = _value(getattr(arguments, name)[place])
                if old is None or new is None:
                    return None
                keyword = arguments.kwonlyargs[place].arg if name == "kw_defaults" else None
                return DefaultValue(keyword, place, old[0], new[0])
    return None


def _plain_decorators(node: ast.AST) -> bool:
    return all(last_name(decorator) in _HARMLESS for decorator in getattr(node, "decorator_list", ()))


def _covers(span: tuple[int, int], site: Site) -> bool:
    return span[0] <= site.start and site.end <= span[1]


def _value(node: ast.expr) -> tuple[Any] | None:
    """Return the value of a literal that nobody can change, in a tuple: it may be None."""
    try:
        value = ast.literal_eval(node)
        hash(value)
        return (value,)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)  # 1 and True are equal, and not the same.
