"""Names for requests and answers that say nothing of what is in them."""

import hashlib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import orjson

from quantum_suite.services.llm.interface import ModelRequest, ToolCall

_NOT_ASKED = ("budget_tokens", "budget_usd", "call_id", "correlation_id", "deadline_seconds", "purpose")
_ASKED = tuple(field.name for field in fields(ModelRequest) if field.name not in _NOT_ASKED)


def request_digest(masked: ModelRequest) -> str:
    """Return the SHA-256 of everything that bears on the answer."""
    # A dataclass is written as it is: nothing of it is copied.
    return _digest({name: getattr(masked, name) for name in _ASKED})


def answer_digest(text: str, calls: Iterable[ToolCall]) -> str:
    """Return the SHA-256 of an answer."""
    return _digest({"text": text, "tool_calls": list(calls)})


def _digest(value: Any) -> str:
    # Texts that no encoding takes (lone surrogates) are named by their escapes.
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        data = repr(value).encode("ascii", "backslashreplace")
    return hashlib.sha256(data).hexdigest()
