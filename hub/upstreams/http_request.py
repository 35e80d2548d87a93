"""Request heads of the Streamable HTTP transport (2026-07-28, streamable-http, "Request Metadata")."""

import base64
import re
from collections.abc import Mapping

from quantum_suite import __version__
from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.call import INVALID_PARAMS, Json, RpcError
from quantum_suite.hub.upstreams.http_client import Endpoint

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(r"[\x20-\x7e]*")
_FIELD_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "last-event-id",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "transfer-encoding",
        "upgrade",
    }
)
_NAMED_BY = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


def configured_headers(headers: Mapping[str, str]) -> bytes:
    """Return the header lines an operator configured; raises ConfigurationError, which shows no value."""
    lines = []
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"'{name}' is not a header name.", "Use letters, digits and hyphens.")
        if name.lower() in _OURS or name.lower().startswith("mcp-param-"):
            raise ConfigurationError(f"The header {name} is set by the hub.", "Leave it out.")
        if not _FIELD_TEXT.fullmatch(value):
            raise ConfigurationError(
                f"The value of header {name} holds characters a header cannot carry.", "Remove line breaks."
            )
        lines.append(f"{name}: {value.strip()}\r\n")
    return "".join(lines).encode("latin-1")


def head(verb: str, endpoint: Endpoint, configured: bytes, extra: Mapping[str, str]) -> bytes:
    """Return a request head up to, and without, what differs from request to request and the empty line."""
    accept = "text/event-stream" if verb == "GET" else "application/json, text/event-stream"
    lines = [
        f"{verb} {endpoint.target} HTTP/1.1",
        f"Host: {endpoint.authority}",
        f"User-Agent: quantum-suite/{__version__}",
        f"Accept: {accept}",
        "Accept-Encoding: identity",
        *(["Content-Type: application/json"] if verb == "POST" else []),
        *(f"{name}: {value}" for name, value in extra.items()),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n" + configured


def post(prefix: bytes, body: bytes, lines: str = "") -> bytes:
    """Return a whole POST: the head begun by `prefix`, more header `lines`, and the body."""
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (prefix, lines.encode("ascii"), len(body), body)


def encode_value(value: str) -> str:
    """Write a value as a header carries it: in Base64 where it would not survive as it is."""
    if (
        _VISIBLE.fullmatch(value)
        and value == value.strip()
        and not (value.startswith("=?base64?") and value.endswith("?="))
    ):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def mirrored(method: str, params: Json, headers: Mapping[str, str] | None) -> str:
    """Return the header lines that mirror the body of a modern request.

    `headers` are a call's `mcp-param-*`, already in their encoded form; others are left out.
    """
    lines = f"Mcp-Method: {encode_value(method)}\r\n"
    if (source := _NAMED_BY.get(method)) is not None and isinstance(name := params.get(source), str):
        lines += f"Mcp-Name: {encode_value(name)}\r\n"
    for name, value in (headers or {}).items():
        if not name.lower().startswith("mcp-param-"):
            continue
        if not _TOKEN.fullmatch(name) or not _VISIBLE.fullmatch(value):
            raise RpcError(INVALID_PARAMS, f"The header {name[:100]} holds characters a header cannot carry.")
        lines += f"{name}: {value}\r\n"
    return lines
