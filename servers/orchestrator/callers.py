"""Who is calling, on whose behalf runs work, and how errors reach callers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError

from quantum_suite.core.errors import CallerError, NotFound, SuiteError
from quantum_suite.core.principals import LOCAL, Caller, Principal
from quantum_suite.services.workflows.interface import Owner

IDEMPOTENCY_KEY = "quantum/idempotencyKey"
"""In a call's `_meta`: there when a run or a task makes the call, the same for every attempt at it."""


def principal_of(ctx: Context[Any, Any]) -> Principal:
    """Return who a request comes from. The hub attaches a `Caller`; without one the caller is at this machine."""
    request = ctx.request_context.request
    return request.principal if isinstance(request, Caller) else LOCAL


def owner_of(principal: Principal) -> Owner:
    """Return a principal in the form that runs keep."""
    return Owner(principal.id, tuple(sorted(role.value for role in principal.roles)), principal.workspaces)


def idempotency_key(ctx: Context[Any, Any]) -> str | None:
    """Return the key that a run or a task calls under; None for anybody else."""
    meta = ctx.request_context.meta
    key = meta.get(IDEMPOTENCY_KEY) if isinstance(meta, Mapping) else None
    return key if isinstance(key, str) else None


@contextmanager
def tool_errors() -> Iterator[None]:
    """Turn the suite's errors into the tool's answer: which argument, what is wrong, what would be right."""
    try:
        yield
    except CallerError as error:
        raise ToolError(f"{error.argument}: {error}" if error.argument else str(error)) from error
    except SuiteError as error:
        raise ToolError(str(error)) from error


@contextmanager
def resource_errors() -> Iterator[None]:
    """Turn the suite's errors into the resource's: not found, or what is wrong."""
    try:
        yield
    except NotFound as error:
        raise ResourceNotFoundError(str(error)) from error
    except SuiteError as error:
        raise ResourceError(str(error)) from error
