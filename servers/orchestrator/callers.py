"""On whose behalf runs work, and under which key they call."""

from collections.abc import Mapping
from typing import Any

from mcp.server.mcpserver import Context

from quantum_suite.core.principals import Principal
from quantum_suite.services.workflows.interface import Owner

IDEMPOTENCY_KEY = "quantum/idempotencyKey"
"""In a call's `_meta`: there when a run or a task makes the call, the same for every attempt at it."""


def owner_of(principal: Principal) -> Owner:
    """Return a principal in the form that runs keep."""
    return Owner(principal.id, tuple(sorted(role.value for role in principal.roles)), principal.workspaces)


def idempotency_key(ctx: Context[Any, Any]) -> str | None:
    """Return the key that a run or a task calls under; None for anybody else."""
    meta = ctx.request_context.meta
    key = meta.get(IDEMPOTENCY_KEY) if isinstance(meta, Mapping) else None
    return key if isinstance(key, str) else None
