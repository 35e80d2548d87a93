"""The modern era's per-request `_meta`, for requests the hub makes or translates."""

from quantum_suite import __version__
from quantum_suite.hub.call import (
    LATEST_MODERN,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_SERVER_INFO,
    META_VERSION,
    Call,
    Json,
)

HUB_INFO: Json = {"name": "quantum-suite", "title": "Quantum Suite", "version": __version__}

HUB_META: Json = {META_SERVER_INFO: HUB_INFO}
"""The `_meta` of results the hub composes itself; a relayed result names the server it came from."""


def hub_envelope(capabilities: Json | None = None) -> Json:
    """Return the envelope of a request the hub makes on its own account."""
    return {META_VERSION: LATEST_MODERN, META_CLIENT_INFO: HUB_INFO, META_CLIENT_CAPABILITIES: capabilities or {}}


def modern_params(call: Call, params: Json) -> Json:
    """Return `params` with the envelope a modern upstream needs, whatever era the call came in."""
    if call.era == "modern":
        return params
    meta = dict(params.get("_meta") or {})
    meta[META_VERSION] = LATEST_MODERN
    meta[META_CLIENT_CAPABILITIES] = call.client_capabilities
    if call.client_info is not None:
        meta[META_CLIENT_INFO] = call.client_info
    if call.session is not None and call.session.log_level is not None:
        meta[META_LOG_LEVEL] = call.session.log_level
    return {**params, "_meta": meta}


_MODERN_ONLY = frozenset({META_VERSION, META_CLIENT_INFO, META_CLIENT_CAPABILITIES, META_LOG_LEVEL})


def handshake_params(params: Json) -> Json:
    """Return `params` without what only a modern server understands."""
    meta = params.get("_meta")
    kept = {key: value for key, value in params.items() if key not in ("_meta", "inputResponses", "requestState")}
    if isinstance(meta, dict) and (rest := {k: v for k, v in meta.items() if k not in _MODERN_ONLY}):
        kept["_meta"] = rest
    return kept
