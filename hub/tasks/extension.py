"""The names of the tasks extension (`io.modelcontextprotocol/tasks`, SEP-2663), and who declares it."""

from typing import Any

from quantum_suite.hub.call import MISSING_CLIENT_CAPABILITY, Json, RpcError

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED_TASK = "io.modelcontextprotocol/related-task"
"""The `_meta` key that ties a message to its task in 2025-11-25; the extension has none."""

REQUIRED: Json = {"extensions": {EXTENSION: {}}}

LONG_RUNNING = "quantum/longRunning"
"""In a tool's `_meta`: `true`, or `"required"` where nobody should wait for it inline."""
ASKS_FIRST = "quantum/asksFirst"
"""In a tool's `_meta`: `true` where it asks what it needs to know before it begins its work."""
IDEMPOTENCY_KEY = "quantum/idempotencyKey"
"""In a call's `_meta`: the key itself. In a tool's `_meta`: `true` where it does nothing twice under one key."""

HANDSHAKE_REVISION = "2025-11-25"
"""The one handshake revision that has tasks, in a form of its own."""


def declares_tasks(capabilities: Json) -> bool:
    """Whether a client's capabilities say that it takes a task for an answer."""
    extensions = capabilities.get("extensions")
    return isinstance(extensions, dict) and isinstance(extensions.get(EXTENSION), dict)


def declaring_tasks(capabilities: Json) -> Json:
    """Return the capabilities with the extension among them."""
    extensions = capabilities.get("extensions")
    return {**capabilities, "extensions": {**(extensions if isinstance(extensions, dict) else {}), EXTENSION: {}}}


def without_tasks(capabilities: Json) -> Json:
    """Return the capabilities with the extension left out."""
    extensions = capabilities.get("extensions")
    if not isinstance(extensions, dict) or EXTENSION not in extensions:
        return capabilities
    return {**capabilities, "extensions": {name: value for name, value in extensions.items() if name != EXTENSION}}


def tasks_missing(what: str) -> RpcError:
    """Return the error for a client that would need the extension and does not declare it."""
    return RpcError(
        MISSING_CLIENT_CAPABILITY,
        f"{what} needs a client that declares the extension {EXTENSION}.",
        {"requiredCapabilities": REQUIRED},
    )


def asks_for_tasks(error: RpcError) -> bool:
    """Whether a server refused a call because it answers it with a task alone."""
    data: Any = error.data
    required = data.get("requiredCapabilities") if isinstance(data, dict) else None
    return error.code == MISSING_CLIENT_CAPABILITY and isinstance(required, dict) and declares_tasks(required)
