"""Who is calling, and how errors reach them: the same in every module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError

from quantum_suite.core.errors import CallerError, NotFound, SuiteError
from quantum_suite.core.principals import LOCAL, Caller, Principal


def principal_of(ctx: Context[Any, Any]) -> Principal:
    """Return who a request comes from. The hub attaches a `Caller`; without one the caller is at this machine."""
    return caller_of(ctx.request_context.request)


def run_of(ctx: Context[Any, Any]) -> str | None:
    """Return the workflow run that made a call; None for a client's."""
    request = ctx.request_context.request
    return request.run if isinstance(request, Caller) else None


def correlation_of(ctx: Context[Any, Any]) -> str | None:
    """Return what events of a request are correlated with: the workflow run that made the call, else the call."""
    request = ctx.request_context.request
    return (request.run or request.call_id) if isinstance(request, Caller) else None


def caller_of(request: object) -> Principal:
    """`principal_of` for a request as middleware sees it."""
    return request.principal if isinstance(request, Caller) else LOCAL


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
