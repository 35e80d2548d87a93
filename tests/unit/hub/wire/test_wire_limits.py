"""Reading JSON with bounds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.hub.call import INVALID_REQUEST, PARSE_ERROR, RpcError
from quantum_suite.hub.wire.limits import decode_json, is_deeper

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(JSON)
def test_what_is_within_bounds_is_read_unchanged(value: object) -> None:
    assert decode_json(json.dumps(value).encode(), 64) == value


@given(JSON, st.integers(0, 5))
def test_nesting_is_measured_exactly_whatever_strings_hold(value: object, limit: int) -> None:
    assert is_deeper(json.dumps(value).encode(), limit) == (depth(value) > limit)


def test_brackets_in_strings_are_no_nesting() -> None:
    text = json.dumps({"a": "[" * 1000 + '\\"{' * 1000}).encode()
    assert decode_json(text, 3) == json.loads(text)


@pytest.mark.parametrize("body", [b"[" * 4 + b"]" * 4, b'{"a":[{"b":[1]}]}'])
def test_one_level_too_many_is_refused(body: bytes) -> None:
    decode_json(body, 4)
    with pytest.raises(RpcError, match="3 levels") as caught:
        decode_json(body, 3)
    assert caught.value.code == INVALID_REQUEST


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"[1,]",
        b'"\xff"',
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
        b"[" * 2000 + b"]" * 2000,
    ],
)
def test_what_is_no_json_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        decode_json(body, 5000)
    assert caught.value.code == PARSE_ERROR


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, 10**300])
def test_integers_that_would_lose_digits_are_refused(number: int) -> None:
    with pytest.raises(RpcError, match="64 bits") as caught:
        decode_json(b'{"n":%s}' % str(number).encode(), 64)
    assert caught.value.code == PARSE_ERROR


def test_long_runs_of_digits_that_are_no_integers_are_fine() -> None:
    body = b'{"id":"12345678901234567890123456789","n":18446744073709551615,"f":0.1234567890123456789012}'
    assert decode_json(body, 64)["n"] == 18446744073709551615
