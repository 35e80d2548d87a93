"""The functions of the expression language, and what its values are."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantum_suite.core.findings import Severity
from quantum_suite.services.workflows.interface import Json

MAX_ITEMS = 10_000
"""Longest list, and MAX_TEXT longest text, that an expression may make."""
MAX_TEXT = 256 * 1024
MAX_NUMBER = 2**53
"""Largest whole number, the largest that JSON carries everywhere."""


class BadExpression(Exception):
    """The expression cannot be read, or cannot be worked out: what is wrong, and what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".rstrip())
        self.message = message
        self.hint = hint


class Missing(BadExpression):
    """A path that leads nowhere; `default` takes it."""


def bounded(value: Json) -> Json:
    """Return a value that may be made; raises BadExpression for one too large."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise BadExpression(f"The text is longer than {MAX_TEXT} characters.")
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise BadExpression(f"The list is longer than {MAX_ITEMS} items.")
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise BadExpression("The number is too large.")
    return value


def type_of(value: Json) -> str:
    """Return the JSON type of a value."""
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return "null"


def kind_of(value: Json) -> str:
    """Return the JSON type of a value with its article."""
    name = type_of(value)
    return name if name == "null" else f"an {name}" if name[0] in "aeiou" else f"a {name}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language."""

    work: Callable[..., Json]
    arguments: int
    usage: str


def _first(value: Json, _other: Json) -> Json:
    return value


def _length(value: Json) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    raise BadExpression(f"{kind_of(value)} has no length.")


def _at_least(severity: Json, floor: Json) -> bool:
    try:
        return Severity(severity).at_least(Severity(floor))
    except ValueError as error:
        raise BadExpression(f"{error}.", f"Severities are {', '.join(Severity)}.") from None


def _pluck(items: Json, path: Json) -> Json:
    found = []
    for item in _list(items):
        for part in str(path).split("."):
            if not isinstance(item, Mapping) or part not in item:
                item = None
                break
            item = item[part]
        found.append(item)
    return found


def _flatten(items: Json) -> Json:
    return [inner for item in _list(items) for inner in (item if isinstance(item, list) else [item])]


def _sum(items: Json) -> Json:
    numbers = _list(items)
    if any(type_of(item) != "number" for item in numbers):
        raise BadExpression("Only numbers can be summed up.")
    return sum(numbers)


def _join(items: Json, separator: Json) -> str:
    texts = [as_text(item) for item in _list(items)]
    if len(texts) * len(as_text(separator)) + sum(map(len, texts)) > MAX_TEXT:
        raise BadExpression(f"The text is longer than {MAX_TEXT} characters.")
    return as_text(separator).join(texts)


def _list(value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    raise BadExpression(f"A list is needed here, not {kind_of(value)}.")


def as_text(value: Json) -> str:
    """Return a value as it is written into text: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


FUNCTIONS: dict[str, Function] = {
    "len": Function(_length, 1, "len(list, object or text)"),
    "default": Function(_first, 2, "default(path, what to take where it is absent or null)"),
    "at_least": Function(_at_least, 2, "at_least(severity, floor): whether it is as bad as the floor, or worse"),
    "pluck": Function(_pluck, 2, "pluck(list, 'a.b'): that member of every item"),
    "flatten": Function(_flatten, 1, "flatten(list of lists)"),
    "sum": Function(_sum, 1, "sum(list of numbers)"),
    "join": Function(_join, 2, "join(list, ', ')"),
}

_TYPES: tuple[tuple[Any, str], ...] = (
    (bool, "boolean"),
    ((int, float), "number"),
    (str, "string"),
    (list, "array"),
    (Mapping, "object"),
)
