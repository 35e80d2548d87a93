"""What is written to the terminal: results to stdout, everything about them to stderr."""

import json
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def out() -> "Console":
    """Return the console results go to."""
    from rich.console import Console

    return Console(highlight=False)


def err() -> "Console":
    """Return the console for everything that is not the result."""
    from rich.console import Console

    sys.stdout.flush()
    return Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """Return foreign text without what would steer the terminal (escape sequences, direction marks)."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def write_json(value: Any) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_line(text: str) -> None:
    """Write one line to stdout as it is."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """Write a remark to stderr, after what was written to stdout before it."""
    sys.stdout.flush()
    sys.stderr.write(printable(text) + "\n")
