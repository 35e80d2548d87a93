"""What a resource's properties are, so that providers check, compare and read them all in the same way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pulumi.output import Unknown
from pulumi.runtime import rpc

IDENTITY: Final = "__identity"
"""Where the engine reads under which id `read` finds what `create` is going to make."""

REQUIRED: Final = object()
"""The default of what must be given."""


def as_given(value: Any) -> Any:
    """Return a value as it is."""
    return value


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a resource."""

    default: Any = REQUIRED
    """What it is where the program says nothing; None where the cloud decides, which is then no difference."""
    normal: Callable[[Any], Any] = as_given
    """Returns the one form of a value; raises ValueError saying what is wrong."""
    replaces: bool = False
    """Whether another value needs another resource."""


def checked(
    properties: Mapping[str, Property], news: Mapping[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return inputs in their one form with defaults, and what is wrong, as property and words.

    A property that holds something not known yet is not known as a whole: what it becomes is another form.
    """
    inputs: dict[str, Any] = {key: value for key, value in news.items() if key.startswith("__")}
    wrong = [(key, "there is no such property") for key in news if key not in properties and key not in inputs]
    for name, one in properties.items():
        value = news.get(name)
        if value is None:
            if one.default is REQUIRED:
                wrong.append((name, "it is missing"))
            elif one.default is not None:
                inputs[name] = one.default
            continue
        if holds_unknown(value):
            inputs[name] = rpc.UNKNOWN
            continue
        try:
            inputs[name] = one.normal(value)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            wrong.append((name, str(error)))
    return inputs, wrong


def differing(properties: Mapping[str, Property], olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    """Return the names of properties that are to be other than they are."""
    return [
        name
        for name, one in properties.items()
        if (news.get(name) is not None or one.default is not None) and olds.get(name) != news.get(name)
    ]


def holds_unknown(value: Any) -> bool:
    """Whether something in a value is known only once something else exists."""
    if isinstance(value, Mapping):
        return any(map(holds_unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(holds_unknown, value))
    return isinstance(value, Unknown) or (isinstance(value, str) and value == rpc.UNKNOWN)


def text(value: Any) -> str:
    """Return a text; raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"it must be a text, not {type(value).__name__}")
    return value


def flag(value: Any) -> bool:
    """Return a truth value; raises ValueError for anything else."""
    if not isinstance(value, bool):
        raise ValueError("it must be true or false")
    return value


def number(lowest: int, highest: int) -> Callable[[Any], int]:
    """Return a check for whole numbers within bounds."""

    def within(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise ValueError("it must be a whole number")
        if not lowest <= value <= highest:
            raise ValueError(f"it must be from {lowest} to {highest}")
        return int(value)

    return within


def choice(*allowed: str) -> Callable[[Any], str]:
    """Return a check for one of several words."""

    def one_of(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return str(value)

    return one_of


def texts(value: Any) -> list[str]:
    """Return a list of texts whose order means nothing: sorted, each once."""
    if not isinstance(value, list | tuple):
        raise ValueError("it must be a list of texts")
    return sorted({text(item) for item in value})


def text_map(value: Any) -> dict[str, str]:
    """Return texts by name."""
    if not isinstance(value, Mapping):
        raise ValueError("it must map names to texts")
    return {text(key): text(item) for key, item in sorted(value.items())}
