"""Request headers that mirror parts of the body, as 2026-07-28 Streamable HTTP defines them.

Intermediaries route on the headers while the hub acts on the body, so a request in which they differ is refused.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ANNOTATION = "x-mcp-header"
PREFIX = "mcp-param-"

_SENTINEL_START, _SENTINEL_END = "=?base64?", "?="
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"-?[0-9]{1,40}(?:\.0{1,40})?")
_VISIBLE = re.compile(r"[\x20-\x7e\t]*")
_PRIMITIVES = frozenset({"string", "integer", "boolean"})

_ONE_SCHEMA = frozenset(
    {"items", "contains", "unevaluatedItems", "additionalItems", "additionalProperties", "propertyNames"}
    | {"unevaluatedProperties", "not", "if", "then", "else", "contentSchema"}
)
_SCHEMA_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAP = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def decode_header_value(value: str) -> str | None:
    """Return what a header value stands for: its text, or what the base64 sentinel wraps.

    None when the value is malformed: characters HTTP forbids, base64 that is not canonical, bytes that are not
    UTF-8. A value with only one half of the sentinel is plain text.
    """
    if not (
        value.startswith(_SENTINEL_START)
        and value.endswith(_SENTINEL_END)
        and len(value) >= len(_SENTINEL_START) + len(_SENTINEL_END)
    ):
        return value if _VISIBLE.fullmatch(value) else None
    payload = value[len(_SENTINEL_START) : -len(_SENTINEL_END)]
    try:
        raw = base64.b64decode(payload, validate=True)
        return raw.decode() if base64.b64encode(raw).decode() == payload else None
    except (binascii.Error, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class ParamHeader:
    """One annotated parameter: where it is in the arguments, and the header that mirrors it."""

    path: tuple[str, ...]
    name: str
    """The header's name as the tool spells it, `Mcp-Param-Region`."""
    type: str


ParamHeaders = tuple[ParamHeader, ...]


def _positions(schema: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Yield every subschema with its chain of `properties` keys, None once another keyword was crossed."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), schema)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for keyword, value in node.items():
            if keyword == "properties" and isinstance(value, dict):
                stack.extend((None if path is None else (*path, name), sub) for name, sub in value.items())
            elif keyword in _ONE_SCHEMA:
                stack.append((None, value))
            elif keyword in _SCHEMA_LIST and isinstance(value, list):
                stack.extend((None, sub) for sub in value)
            elif keyword in _SCHEMA_MAP and isinstance(value, dict):
                stack.extend((None, sub) for sub in value.values())


def encode_header_value(value: str) -> str:
    """Return `value` as a header can carry it: as it is, or wrapped in the base64 sentinel."""
    plain = _VISIBLE.fullmatch(value) and value == value.strip() and not value.startswith(_SENTINEL_START)
    if plain:
        return value
    return f"{_SENTINEL_START}{base64.b64encode(value.encode()).decode()}{_SENTINEL_END}"


def annotated_params(schema: Mapping[str, Any] | None) -> ParamHeaders:
    """Return a tool's annotated parameters; what callers keep, since finding them walks the whole schema.

    Empty when an annotation is invalid, too: conforming clients then leave the tool out and send no headers.
    """
    found: list[ParamHeader] = []
    names: set[str] = set()
    for path, node in _positions(schema):
        if ANNOTATION not in node:
            continue
        token, kind = node[ANNOTATION], node.get("type")
        if (
            not path
            or not isinstance(token, str)
            or not _TOKEN.fullmatch(token)
            or not isinstance(kind, str)
            or kind not in _PRIMITIVES
            or token.lower() in names
        ):
            return ()
        names.add(token.lower())
        found.append(ParamHeader(path, f"Mcp-Param-{token}", kind))
    return tuple(found)


def check_headers(expected: ParamHeaders, arguments: Mapping[str, Any], headers: Mapping[str, str]) -> str | None:
    """Compare a call's `mcp-param-*` headers (lower-case names) with its arguments; return the first problem."""
    for param in expected:
        value = _value_at(arguments, param.path)
        rendered = _rendered(value)
        raw = headers.get(param.name.lower())
        where = ".".join(param.path)
        if raw is None:
            if rendered is not None:
                return f"The {param.name} header is missing, though the argument '{where}' is given."
            continue
        if rendered is None:
            return f"The {param.name} header is present, but the argument '{where}' holds nothing it could mirror."
        text = decode_header_value(raw)
        if text is None:
            return f"The {param.name} header is malformed: characters or base64 that are not allowed."
        if not _same(param.type, value, rendered, text):
            return f"The {param.name} header does not match the argument '{where}'."
    return None


def check_param_headers(
    schema: Mapping[str, Any] | None, arguments: Mapping[str, Any], headers: Mapping[str, str]
) -> str | None:
    """Compare a call's `mcp-param-*` headers with its arguments, by the tool's input schema; return the problem.

    Finds the annotations anew each time. Where many calls share a schema, keep `annotated_params(schema)` and use
    `check_headers`.
    """
    return check_headers(annotated_params(schema), arguments, headers)


def param_headers(schema: Mapping[str, Any] | None, arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the `Mcp-Param-*` headers a `tools/call` with these arguments must carry."""
    headers = {}
    for param in annotated_params(schema):
        rendered = _rendered(_value_at(arguments, param.path))
        if rendered is not None:
            headers[param.name] = encode_header_value(rendered)
    return headers


def _value_at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(key)
    return arguments


def _rendered(value: Any) -> str | None:
    """Return a scalar as a client writes it into a header; None for null and for what has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _same(kind: str, value: Any, rendered: str, text: str) -> bool:
    """Integers are compared as numbers (`42.0` is 42), everything else as text."""
    integral = not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    )
    if kind == "integer" and integral and _DECIMAL.fullmatch(text):
        return int(text.partition(".")[0]) == int(value)
    return text == rendered
