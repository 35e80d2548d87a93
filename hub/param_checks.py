"""A tool call's arguments, checked against the headers that mirror them."""

from quantum_suite.hub.call import HEADER_MISMATCH, INVALID_PARAMS, Call, RpcError
from quantum_suite.hub.target import Target
from quantum_suite.hub.wire.param_headers import check_param_headers, param_headers


def checked_headers(call: Call, target: Target) -> dict[str, str] | None:
    """Check a tool call's arguments against its `Mcp-Param-*` headers, and return the headers the upstream needs
    (2026-07-28, custom headers)."""
    arguments = call.params.get("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "arguments must be an object.")
    arguments = arguments or {}
    schema = target.input_schema
    if not target.mirrors_params or schema is None:
        return None
    if call.era == "modern" and call.credentials.transport == "http":
        problem = check_param_headers(schema, arguments, call.headers)
        if problem is not None:
            raise RpcError(HEADER_MISMATCH, problem)
    return param_headers(schema, arguments)
