"""Names for requests and answers that say nothing of what is in them."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson

from quantum_suite.services.llm.interface import ModelRequest, ToolCall

_NOT_ASKED = ("budget_tokens", "budget_usd", "call_id", "correlation_id", "deadline_seconds", "purpose")


def request_digest(masked: ModelRequest) -> str:
    """Return the SHA-256 of everything that bears on the answer."""
    asked = {name: value for name, value in asdict(masked).items() if name not in _NOT_ASKED}
    return _digest(asked)


def answer_digest(text: str, calls: Iterable[ToolCall]) -> str:
    """Return the SHA-256 of an answer."""
    return _digest({"text": text, "tool_calls": [asdict(call) for call in calls]})


def _digest(value: Any) -> str:
    # Texts that no encoding takes (lone surrogates) are named by their escapes.
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        data = repr(value).encode("ascii", "backslashreplace")
    return hashlib.sha256(data).hexdigest()
