"""Texts with places for an event's fields: `{data.counts.critical}`. No code, no calls, no formats."""

import re
from collections.abc import Mapping
from typing import Any

from quantum_suite.core.events import Event
from quantum_suite.core.masking import mask_text

MISSING = "?"
_LONGEST_VALUE = 500
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*")
_ROOTS = frozenset(
    {"id", "type", "stream", "version", "time", "subject", "principal", "correlation_id", "data", "position"}
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_BRACES = {"{{": "{", "}}": "}"}


def check_path(path: str) -> str:
    """Return a dotted path into an event; raises ValueError with what would be right."""
    if not _PATH.fullmatch(path) or path.partition(".")[0] not in _ROOTS:
        raise ValueError(f"'{path}' is no field of an event: it begins with {', '.join(sorted(_ROOTS))}")
    return path


def check_template(text: str) -> str:
    """Return a template; raises ValueError for a place that is none."""
    for match in _PLACE.finditer(text):
        if match[0] in _BRACES:
            continue
        if match[1] is None:
            raise ValueError(f"a lone {match[0]} at character {match.start()}: write it twice")
        check_path(match[1])
    return text


def look_up(event: Event, path: str) -> Any:
    """Return the value at a dotted path; None where there is none. Personal data cannot be reached."""
    root, *rest = path.split(".")
    if root not in _ROOTS:
        return None
    value: Any = getattr(event, root)
    for name in rest:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def fill(text: str, event: Event) -> str:
    """Return the template with the event's values, each bounded, masked and without control characters."""

    def place(match: re.Match[str]) -> str:
        return _BRACES[match[0]] if match[0] in _BRACES else _as_text(look_up(event, match[1]))

    return mask_text(_PLACE.sub(place, text))


def _as_text(value: Any) -> str:
    if value is None:
        return MISSING
    if hasattr(value, "isoformat"):
        return str(value.isoformat(timespec="seconds"))
    return _CONTROL.sub(" ", str(value))[:_LONGEST_VALUE]
