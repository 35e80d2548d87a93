"""Results and errors in the words of the other era."""

from quantum_suite.hub.call import (
    INVALID_PARAMS,
    LEGACY_RESOURCE_NOT_FOUND,
    META_SERVER_INFO,
    Era,
    Json,
    RpcError,
)

_CACHEABLE = frozenset({"resources/read"})
_MODERN_FIELDS = frozenset({"resultType", "ttlMs", "cacheScope"})


def to_modern(method: str, result: Json, server_info: Json) -> Json:
    """Complete a handshake server's result to a 2026-07-28 one: result type, cache hints, who answered."""
    modern: Json = {"resultType": "complete", **result}
    if method in _CACHEABLE:
        modern.setdefault("ttlMs", 0)
        modern.setdefault("cacheScope", "private")
    meta = result.get("_meta")
    modern["_meta"] = {META_SERVER_INFO: server_info, **(meta if isinstance(meta, dict) else {})}
    return modern


def to_handshake(result: Json) -> Json:
    """Reduce a modern server's result to what earlier revisions define.

    Structured content that is no object is left out: before 2026-07-28 it had to be one, and the text content
    carries the same.
    """
    kept = {key: value for key, value in result.items() if key not in _MODERN_FIELDS}
    meta = kept.get("_meta")
    if isinstance(meta, dict):
        rest = {key: value for key, value in meta.items() if key != META_SERVER_INFO}
        kept["_meta"] = rest
        if not rest:
            del kept["_meta"]
    if "structuredContent" in kept and not isinstance(kept["structuredContent"], dict):
        del kept["structuredContent"]
    return kept


def error_for(era: Era, method: str, error: RpcError) -> RpcError:
    """Return the error with the code `era` uses for a missing resource (changelog 2026-07-28, minor change 6)."""
    if method == "resources/read" and era == "modern" and error.code == LEGACY_RESOURCE_NOT_FOUND:
        return RpcError(INVALID_PARAMS, error.message, error.data)
    return error
