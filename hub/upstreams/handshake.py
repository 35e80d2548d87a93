"""How a link opens: `server/discover` in the modern era, `initialize` in the handshake era."""

import orjson

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.call import (
    HANDSHAKE_VERSIONS,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LATEST_HANDSHAKE,
    META_SERVER_INFO,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    MODERN_VERSIONS,
    UNSUPPORTED_PROTOCOL_VERSION,
    Json,
    RpcError,
)
from quantum_suite.hub.envelope import HUB_INFO, hub_envelope
from quantum_suite.hub.upstreams.interface import Hello, LinkKey

ACCEPTED_HANDSHAKES = ("2024-11-05", *HANDSHAKE_VERSIONS)
"""Revisions a handshake may end in. The oldest differs in its HTTP transport alone: over stdio it works."""

MODERN_ERRORS = frozenset({UNSUPPORTED_PROTOCOL_VERSION, MISSING_CLIENT_CAPABILITY, HEADER_MISMATCH})
"""Errors that only a modern server sends (2026-07-28, versioning)."""

_NO_HANDSHAKE = frozenset({METHOD_NOT_FOUND, INVALID_REQUEST, INVALID_PARAMS, *MODERN_ERRORS})


def envelope(key: LinkKey) -> Json:
    """Return the `_meta` of a request the link makes for itself."""
    return hub_envelope(orjson.loads(key.capabilities))


def initialize_params(key: LinkKey) -> Json:
    """Return the params of `initialize`."""
    return {
        "protocolVersion": LATEST_HANDSHAKE,
        "capabilities": orjson.loads(key.capabilities),
        "clientInfo": HUB_INFO,
    }


def wrong_era(message: str, supported: object = None) -> RpcError:
    """Return the error of a server that does not speak the era asked for."""
    return RpcError(UNSUPPORTED_PROTOCOL_VERSION, message, None if supported is None else {"supported": supported})


def hello_from_discover(result: Json) -> Hello:
    """Read a `DiscoverResult`; raises `UNSUPPORTED_PROTOCOL_VERSION`, or `Unavailable` when it is malformed."""
    versions = result.get("supportedVersions")
    if not isinstance(versions, list):
        raise wrong_era("The server answered server/discover without supportedVersions.")
    spoken = [name for name in reversed(MODERN_VERSIONS) if name in versions]
    if not spoken:
        raise wrong_era(
            f"The server speaks {', '.join(map(str, versions[:10]))}, none of them modern.", versions[:10]
        )
    meta = result.get("_meta")
    info = meta.get(META_SERVER_INFO) if isinstance(meta, dict) else None
    return _hello("modern", spoken[0], result, info)


def hello_from_initialize(result: Json) -> Hello:
    """Read an `InitializeResult`; raises like `hello_from_discover`."""
    spoken = result.get("protocolVersion")
    if spoken not in ACCEPTED_HANDSHAKES:
        raise wrong_era(f"The server answered initialize with protocol version {str(spoken)[:40]}.", [spoken])
    return _hello("handshake", spoken, result, result.get("serverInfo"))


def _hello(era: str, spoken: str, result: Json, info: object) -> Hello:
    capabilities = result.get("capabilities")
    if not isinstance(capabilities, dict):
        raise Unavailable(
            "The server said nothing of its capabilities.", "It breaks the protocol; report it there."
        )
    instructions = result.get("instructions")
    return Hello(
        era="modern" if era == "modern" else "handshake",
        protocol_version=spoken,
        capabilities=capabilities,
        server_info=info if isinstance(info, dict) else {},
        instructions=instructions if isinstance(instructions, str) else None,
    )


def refused_discover(error: RpcError) -> Exception:
    """Read an error that answers `server/discover`; most mean that the server is a legacy one."""
    if error.code == UNSUPPORTED_PROTOCOL_VERSION:
        supported = error.data.get("supported") if isinstance(error.data, dict) else None
        return wrong_era("The server speaks another revision of the modern era.", supported)
    if error.code in MODERN_ERRORS:
        return Unavailable(
            f"The server is a modern one, and refused to be discovered ({error.code} {error.message[:200]}).",
            "It breaks the protocol; report it there.",
        )
    return wrong_era(f"The server does not know server/discover ({error.code} {error.message[:200]}).")


def refused_initialize(error: RpcError) -> Exception:
    """Read an error that answers `initialize`: a server without the handshake, or one that is in trouble."""
    if error.code in _NO_HANDSHAKE:
        return wrong_era(f"The server refused the handshake ({error.code} {error.message[:200]}).")
    return Unavailable(
        f"The server refused the handshake ({error.code} {error.message[:200]}).", "See what it printed."
    )
