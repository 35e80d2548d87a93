"""JSON-RPC messages as MCP restricts them: told apart, read, and written."""

import asyncio
import json
import logging
from typing import Any, Literal, NamedTuple

import orjson

from quantum_suite.hub.call import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_VERSION,
    SUPPORTED_VERSIONS,
    UNSUPPORTED_PROTOCOL_VERSION,
    Call,
    Hub,
    Json,
    RpcError,
)

logger = logging.getLogger(__name__)

Kind = Literal["request", "notification", "response"]
RequestId = str | int


def kind_of(message: Any) -> Kind:
    """Say what a decoded message is; raises `RpcError` with `INVALID_REQUEST` when it is none."""
    if type(message) is not dict:
        raise RpcError(INVALID_REQUEST, "The message must be one JSON-RPC object.")
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'The message must carry "jsonrpc": "2.0".')
    if "method" in message:
        if type(message["method"]) is not str:
            raise RpcError(INVALID_REQUEST, "method must be a string.")
        if "id" not in message:
            return "notification"
        if type(message["id"]) not in (str, int):
            raise RpcError(INVALID_REQUEST, "id must be a string or an integer.")
        return "request"
    if "id" in message and ("result" in message) != ("error" in message):
        return "response"
    raise RpcError(INVALID_REQUEST, "The message has no method, and is no response either.")


def request_id_of(message: Any) -> RequestId | None:
    """Return the id an error about `message` must carry: its own where it has a valid one."""
    request_id = message.get("id") if type(message) is dict else None
    return request_id if type(request_id) in (str, int) else None


def params_of(message: Json) -> Json:
    """Return the message's params, `{}` when absent; raises `RpcError` when they are no object."""
    params = message.get("params")
    if params is None:
        return {}
    if type(params) is not dict:
        raise RpcError(INVALID_PARAMS, "params must be an object.")
    return params


class Envelope(NamedTuple):
    """A modern request's own description of its sender."""

    params: Json
    version: str
    capabilities: Json
    client_info: Json | None


def is_modern(message: Any) -> bool:
    """Whether a message's `_meta` opens the modern era (2026-07-28 basic/versioning)."""
    params = message.get("params") if type(message) is dict else None
    meta = params.get("_meta") if type(params) is dict else None
    return type(meta) is dict and (META_VERSION in meta or META_CLIENT_CAPABILITIES in meta)


def open_envelope(message: Json) -> Envelope:
    """Read the `_meta` of a modern request; raises `RpcError` with `INVALID_PARAMS` naming what is missing.

    Whether the version is one we serve is not looked at: over HTTP the headers are compared first.
    """
    params = params_of(message)
    meta = params.get("_meta")
    if type(meta) is not dict:
        raise RpcError(
            INVALID_PARAMS, f"params._meta must be an object with {META_VERSION} and {META_CLIENT_CAPABILITIES}."
        )
    if META_VERSION not in meta or META_CLIENT_CAPABILITIES not in meta:
        missing = [key for key in (META_VERSION, META_CLIENT_CAPABILITIES) if key not in meta]
        raise RpcError(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}.")
    version, capabilities, info = meta[META_VERSION], meta[META_CLIENT_CAPABILITIES], meta.get(META_CLIENT_INFO)
    if type(version) is not str:
        raise RpcError(INVALID_PARAMS, f"params._meta: {META_VERSION} must be a string.")
    if type(capabilities) is not dict:
        raise RpcError(INVALID_PARAMS, f"params._meta: {META_CLIENT_CAPABILITIES} must be an object.")
    if info is not None and type(info) is not dict:
        raise RpcError(INVALID_PARAMS, f"params._meta: {META_CLIENT_INFO} must be an object.")
    return Envelope(params, version, capabilities, info)


def unsupported_version(requested: str) -> RpcError:
    """Return the 2026-07-28 `UnsupportedProtocolVersionError`."""
    return RpcError(
        UNSUPPORTED_PROTOCOL_VERSION,
        f"Protocol version {requested[:40]!r} is not served as a request of its own.",
        {"supported": list(SUPPORTED_VERSIONS), "requested": requested},
    )


def encode(message: Json) -> bytes:
    """Return the message as JSON without line breaks; raises TypeError or ValueError when it is not JSON at all.

    What the fast writer refuses (integers of more than 64 bits, lone surrogates, integer keys) goes through the
    standard library.
    """
    try:
        return orjson.dumps(message)
    except TypeError:
        return json.dumps(message, separators=(",", ":"), allow_nan=False).encode()


def error_bytes(request_id: RequestId | None, error: RpcError) -> bytes:
    """Return a JSON-RPC error response; data that cannot be written is left out."""
    message: Json = {"jsonrpc": "2.0", "id": request_id, "error": error.as_json()}
    try:
        return encode(message)
    except (TypeError, ValueError, RecursionError):
        logger.exception("The data of an error cannot be written as JSON")
        del message["error"]["data"]
        return encode(message)


def notification_bytes(method: str, params: Json) -> bytes:
    """Return a JSON-RPC notification."""
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


class Answer(NamedTuple):
    """A response, written; `error` is what it reports, where it reports one."""

    body: bytes
    error: RpcError | None


async def outcome(hub: Hub, call: Call) -> Json | RpcError:
    """Have the hub answer a call; raises nothing but the cancellation of the awaiting task.

    An error that should not have come so far is logged with its traceback; the caller reads the call id alone.
    """
    try:
        return await hub.handle(call)
    except RpcError as error:
        return error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled this task: somebody else's cancellation leaked up through a future.
        logger.exception("Call %s (%s) ended by a stray cancellation", call.id, call.method)
    except Exception:
        logger.exception("Call %s (%s) failed by a bug", call.id, call.method)
    return internal_error(call)


def internal_error(call: Call) -> RpcError:
    """Return what a caller may know of a bug."""
    return RpcError(INTERNAL_ERROR, f"Internal error in call {call.id}; the hub's log says more.")


async def answer(hub: Hub, call: Call) -> Answer:
    """Have the hub answer a call, and write the response; raises what `outcome` raises."""
    result = await outcome(hub, call)
    if not isinstance(result, RpcError):
        try:
            return Answer(encode({"jsonrpc": "2.0", "id": call.request_id, "result": result}), None)
        except (TypeError, ValueError, RecursionError):
            logger.exception("The result of call %s (%s) cannot be written as JSON", call.id, call.method)
            result = internal_error(call)
    return Answer(error_bytes(call.request_id, result), result)
