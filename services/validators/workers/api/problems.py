"""What is said of a use of something that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """One use that cannot work."""

    code: str
    message: str
    suggestion: str | None
    """The nearest name that would be right."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that looks most like one, or None when none does."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return near[0] if near else None
