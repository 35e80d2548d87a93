"""How the hub introduces itself: `server/discover` and `initialize`."""

from collections.abc import Sequence

from quantum_suite.hub.call import (
    HANDSHAKE_VERSIONS,
    INVALID_PARAMS,
    LATEST_HANDSHAKE,
    MODERN_VERSIONS,
    Call,
    Json,
    RpcError,
)
from quantum_suite.hub.envelope import HUB_INFO, HUB_META
from quantum_suite.hub.tasks.extension import EXTENSION, HANDSHAKE_REVISION
from quantum_suite.hub.upstream import Upstream

_INSTRUCTIONS = (
    "Quantum Suite puts several servers behind this one endpoint. A tool is named after the server that owns it, "
    "then its own name; resource links in an answer are read through this endpoint too. Answers are short: "
    "follow their links for the long form."
)
_MAX_INSTRUCTIONS = 600
_TASKS: Json = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}  # the form of 2025-11-25


def discover(upstreams: Sequence[Upstream]) -> Json:
    """Return the `server/discover` result."""
    return {
        "resultType": "complete",
        "supportedVersions": [*MODERN_VERSIONS, *reversed(HANDSHAKE_VERSIONS)],
        "capabilities": {**_capabilities(), "extensions": _extensions(upstreams)},
        "instructions": _instructions(upstreams),
        "ttlMs": 60_000,
        "cacheScope": "private",
        "_meta": HUB_META,
    }


def initialize(call: Call, upstreams: Sequence[Upstream]) -> Json:
    """Return the `initialize` result, with the revision asked for where it is served, else the latest."""
    asked = call.params.get("protocolVersion")
    if not isinstance(asked, str):
        raise RpcError(INVALID_PARAMS, "initialize needs protocolVersion, a string such as '2025-11-25'.")
    version = asked if asked in HANDSHAKE_VERSIONS else LATEST_HANDSHAKE
    tasks = {"tasks": _TASKS} if version == HANDSHAKE_REVISION else {}
    return {
        "protocolVersion": version,
        "capabilities": {**_capabilities(), "logging": {}, **tasks},
        "serverInfo": HUB_INFO,
        "instructions": _instructions(upstreams),
    }


def _capabilities() -> Json:
    return {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"listChanged": True, "subscribe": True},
        "completions": {},
    }


def _extensions(upstreams: Sequence[Upstream]) -> Json:
    merged: Json = {EXTENSION: {}}  # the hub's own, whatever servers behind it do
    for upstream in upstreams:
        offered = upstream.hello.capabilities.get("extensions") if upstream.hello else None
        for name, settings in offered.items() if isinstance(offered, dict) else ():
            merged.setdefault(name, settings)
    return merged


def _instructions(upstreams: Sequence[Upstream]) -> str:
    lines = [_INSTRUCTIONS]
    for upstream in upstreams:
        said = upstream.hello.instructions if upstream.hello else None
        if said:
            lines.append(f"{upstream.name}: {said[:_MAX_INSTRUCTIONS]}")
    return "\n\n".join(lines)
