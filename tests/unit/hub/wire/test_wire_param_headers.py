"""Headers that mirror parameters."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.hub.wire.param_headers import (
    annotated_params,
    check_param_headers,
    decode_header_value,
    encode_header_value,
    param_headers,
)

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "where": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
        "query": {"type": "string"},
    },
}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_the_way_through_a_header(text: str) -> None:
    encoded = encode_header_value(text)
    assert encoded.isascii()
    assert encoded == encoded.strip()
    assert decode_header_value(encoded) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("us-west1", "us-west1"),
        ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界"),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ("SGVsbG8=?=", "SGVsbG8=?="),
        ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="),
        ("=?base64??=", ""),
        ("=?base64?=", "=?base64?="),
        ("=?base64?SGVsbG8?=", None),
        ("=?base64?SGVs!!!bG8=?=", None),
        ("=?base64?SGVsbG9=?=", None),
        (f"=?base64?{base64.b64encode(bytes([255])).decode()}?=", None),
        ("caf\xe9", None),
        ("a\x01b", None),
    ],
)
def test_values_are_decoded_strictly(value: str, text: str | None) -> None:
    assert decode_header_value(value) == text


@pytest.mark.parametrize(
    ("arguments", "headers", "problem"),
    [
        ({"region": "eu"}, {"mcp-param-region": "eu"}, None),
        ({"region": "世"}, {"mcp-param-region": "=?base64?5LiW?="}, None),
        ({"count": 42}, {"mcp-param-count": "42.0"}, None),
        ({"count": 42.0}, {"mcp-param-count": "42"}, None),
        ({"where": {"dry": True}}, {"mcp-param-dry": "true"}, None),
        ({"region": None, "count": None}, {}, None),
        ({}, {"mcp-param-unknown": "x"}, None),
        ({"region": {"no": "scalar"}}, {}, None),
        ({"region": "eu"}, {}, "missing"),
        ({}, {"mcp-param-region": "eu"}, "holds nothing"),
        ({"region": None}, {"mcp-param-region": "eu"}, "holds nothing"),
        ({"region": "eu"}, {"mcp-param-region": "us"}, "does not match"),
        ({"region": "eu"}, {"mcp-param-region": "=?base64?ZXU?="}, "malformed"),
        ({"count": 42}, {"mcp-param-count": "4.2e1"}, "does not match"),
        ({"count": True}, {"mcp-param-count": "1"}, "does not match"),
        ({"where": {"dry": False}}, {"mcp-param-dry": "False"}, "does not match"),
        ({"where": "text"}, {"mcp-param-dry": "true"}, "holds nothing"),
    ],
)
def test_headers_and_arguments_must_agree(arguments: Any, headers: dict[str, str], problem: str | None) -> None:
    found = check_param_headers(SCHEMA, arguments, headers)
    assert found is None if problem is None else found is not None and problem in found


@given(
    st.fixed_dictionaries(
        {}, optional={"region": st.text(st.characters(exclude_categories=["Cs"])), "count": st.integers()}
    )
)
def test_the_headers_we_send_pass_the_check_we_make(arguments: dict[str, Any]) -> None:
    headers = param_headers(SCHEMA, arguments)
    assert check_param_headers(SCHEMA, arguments, {name.lower(): value for name, value in headers.items()}) is None


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"x-mcp-header": "Root", "type": "string"},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "no space"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 5}}},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"items": {"type": "string", "x-mcp-header": "A"}}}},
        {"properties": {"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}},
        {"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
        {"properties": {n: {"type": "string", "x-mcp-header": h} for n, h in (("a", "Same"), ("b", "sAME"))}},
    ],
)
def test_a_schema_without_valid_annotations_asks_for_no_headers(schema: Any) -> None:
    assert annotated_params(schema) == ()
    assert check_param_headers(schema, {"a": "x"}, {"mcp-param-a": "y"}) is None


def test_annotations_are_not_looked_for_in_data() -> None:
    schema = {"properties": {"a": {"type": "object", "default": {"x-mcp-header": "A", "type": "string"}}}}
    assert annotated_params(schema) == ()


def test_a_very_deep_schema_is_walked_without_recursion() -> None:
    schema: dict[str, Any] = {"type": "string", "x-mcp-header": "Deep"}
    for _ in range(5000):
        schema = {"properties": {"a": schema}}
    assert len(annotated_params(schema)[0].path) == 5000
