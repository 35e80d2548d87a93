"""Bounds on what a client may send, and JSON read so that nothing is silently changed by reading it."""

import json
import re
from typing import Any

import orjson

from quantum_suite.hub.call import INVALID_REQUEST, PARSE_ERROR, RpcError

MAX_BATCH = 100
"""Most messages in one batch (2025-03-26 only)."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_DIGITS = b"0" * 19
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode_json(body: bytes, max_nesting: int) -> Any:
    """Return the JSON value in `body`.

    Raises `RpcError` with `PARSE_ERROR` for anything RFC 8259 forbids (NaN, invalid UTF-8, a byte order mark), for
    lone surrogates and for numbers a 64-bit reader would change, and with `INVALID_REQUEST` when arrays and
    objects nest deeper than `max_nesting`.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RpcError(PARSE_ERROR, f"The message is not valid JSON: {error}.") from None
    if body.count(b"[") + body.count(b"{") > max_nesting and is_deeper(body, max_nesting):
        raise RpcError(INVALID_REQUEST, f"The message nests deeper than {max_nesting} levels; send a flatter one.")
    if _LONG_DIGITS in body.translate(_AS_ZEROS):
        _refuse_big_integers(body)
    return value


def is_deeper(body: bytes, limit: int) -> bool:
    """Whether the valid JSON text `body` nests deeper than `limit`.

    Works on the text, by taking the innermost pair of brackets away again and again, because a walk of the decoded
    value would hold the event loop for a tenth of a second on a body of a few megabytes.
    """
    brackets = _STRING.sub(b"", body).translate(_TO_SQUARE, _NOT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _bounded_integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise RpcError(PARSE_ERROR, "The message holds an integer of more than 64 bits; send it as a string.")
    return int(text)


def _refuse_big_integers(body: bytes) -> None:
    """Read again with the standard library, which keeps long integers: the fast reader makes floats of them."""
    try:
        json.loads(body, parse_int=_bounded_integer)
    except RecursionError:
        raise RpcError(PARSE_ERROR, "The message nests too deeply to be read; send a flatter one.") from None
