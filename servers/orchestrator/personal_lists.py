"""Lists and completions that depend on who asks; `servers/qsecure/personal_lists.py` says why in a middleware.

A list asked for by nobody in particular names no runs, only the resource under which each reader finds their own.
"""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, Resource

from quantum_suite.core.principals import Caller, Principal
from quantum_suite.resources.orchestrator.run import definition_name
from quantum_suite.resources.orchestrator.uris import ALL_DEFINITIONS, LATEST_RUNS, run_uri
from quantum_suite.servers.callers import caller_of
from quantum_suite.servers.orchestrator.callers import owner_of
from quantum_suite.servers.orchestrator.runs import Runs
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import Run

_MAX_VALUES = 100  # of the protocol, for one completion
_LISTED = 20


class PersonalLists:
    """Adds runs to `resources/list`, and runs and definitions to `completion/complete`."""

    def __init__(self, runs: Runs, composites: Composites) -> None:
        self._runs = runs
        self._composites = composites

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if not isinstance(result, dict):
            return result
        if ctx.method == "resources/list":
            return {**result, "resources": [*result["resources"], *await self._resources(ctx.request)]}
        if ctx.method == "completion/complete":
            argument = (ctx.params or {})["argument"]
            principal = caller_of(ctx.request)
            values = await self._values(argument["name"], principal)
            fitting = [value for value in values if value.startswith(argument["value"])]
            more = len(fitting) > _MAX_VALUES
            return {
                **result,
                "completion": {"values": fitting[:_MAX_VALUES], "total": len(fitting), "hasMore": more},
            }
        return result

    async def _resources(self, request: Any) -> list[dict[str, Any]]:
        listed = [
            Resource(
                uri=ALL_DEFINITIONS,
                name="workflow_definitions",
                title="Workflows you can start",
                description="What each does and what it takes.",
                mime_type="application/json",
            ),
            Resource(
                uri=LATEST_RUNS,
                name="latest_runs",
                title="Your latest runs",
                description="Ids, workflows and states of the newest runs you may see.",
                mime_type="application/json",
            ),
        ]
        if isinstance(request, Caller):
            found, _ = await self._runs.find(request.principal, state=None, limit=_LISTED, cursor=None)
            listed += [_resource(run) for run in found]
        return [resource.model_dump(mode="json", by_alias=True, exclude_none=True) for resource in listed]

    async def _values(self, argument: str, principal: Principal) -> list[str]:
        if argument == "name":
            return [known.name for known in await self._composites.known(owner_of(principal))]
        if argument == "run":
            found, _ = await self._runs.find(principal, state=None, limit=_MAX_VALUES, cursor=None)
            return [run.id for run in found]
        return []


async def _no_values(*_: object) -> Completion:
    return Completion(values=[])


def add_personal_lists(server: MCPServer[Any], runs: Runs, composites: Composites) -> None:
    """Offer completions and personal lists on `server`."""

    # Declares the capability and answers nothing; `PersonalLists` fills the values in.
    server.completion()(_no_values)  # type: ignore[no-untyped-call]  # the SDK leaves this decorator untyped
    server.middleware.append(PersonalLists(runs, composites))


def _resource(run: Run) -> Resource:
    return Resource(
        uri=run_uri(run.id),
        name=run.id,
        title=f"Run of {definition_name(run)}",
        description=f"{run.state}, started {run.created_at:%Y-%m-%d %H:%M} UTC",
        mime_type="application/json",
    )
