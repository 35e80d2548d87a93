"""Lists and completions that depend on who asks.

The SDK's own lists are the same for everybody and its completion hook does not say who asks, so both are done in a
middleware, which sees the request. A list asked for by nobody in particular (the hub filling its catalogue, which
all callers share) names no scans, only the resource under which each reader finds their own.
"""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp_types import Completion, Resource

from quantum_suite.core.principals import Caller, Principal
from quantum_suite.core.scans import ScanRecord
from quantum_suite.resources.qsecure.summary import LATEST, scan_uri
from quantum_suite.servers.callers import caller_of
from quantum_suite.services.scans.interface import FindingQuery, ScanStore
from quantum_suite.tools.qsecure.explain_finding import finding_id
from quantum_suite.tools.qsecure.open_scan import list_scans

_MAX_VALUES = 100  # of the protocol, for one completion


class PersonalLists:
    """Adds scans to `resources/list`, and scans and findings to `completion/complete`."""

    def __init__(self, store: ScanStore) -> None:
        self._store = store

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        result = await call_next(ctx)
        if not isinstance(result, dict):
            return result
        if ctx.method == "resources/list":
            return {**result, "resources": [*result["resources"], *await self._resources(ctx.request)]}
        if ctx.method == "completion/complete":
            argument = (ctx.params or {})["argument"]
            values = await self._values(argument["name"], caller_of(ctx.request))
            fitting = [value for value in values if value.startswith(argument["value"])]
            return {
                **result,
                "completion": {
                    "values": fitting[:_MAX_VALUES],
                    "total": len(fitting),
                    "hasMore": len(fitting) > _MAX_VALUES,
                },
            }
        return result

    async def _resources(self, request: Any) -> list[dict[str, Any]]:
        listed = [
            Resource(
                uri=LATEST,
                name="latest_scans",
                title="Your latest scans",
                description="Ids, states and counts of the newest scans you may see.",
                mime_type="application/json",
            )
        ]
        if isinstance(request, Caller):
            listed += [_resource(record) for record in await list_scans(self._store, request.principal)]
        return [resource.model_dump(mode="json", by_alias=True, exclude_none=True) for resource in listed]

    async def _values(self, argument: str, principal: Principal) -> list[str]:
        if argument not in ("scan", "finding"):
            return []
        scans = await list_scans(self._store, principal)
        if argument == "scan":
            return [record.id for record in scans]
        if not scans:
            return []
        newest = scans[0].id
        page = await self._store.findings(newest, FindingQuery(), limit=_MAX_VALUES)
        return [finding_id(newest, finding) for finding in page.findings]


async def _no_values(*_: object) -> Completion:
    return Completion(values=[])


def add_completions(server: MCPServer[Any], store: ScanStore) -> None:
    """Offer completions and personal lists on `server`."""

    # Declares the capability and answers nothing; `PersonalLists` fills the values in.
    server.completion()(_no_values)  # type: ignore[no-untyped-call]  # the SDK leaves this decorator untyped
    server.middleware.append(PersonalLists(store))


def _resource(record: ScanRecord) -> Resource:
    return Resource(
        uri=scan_uri(record.id),
        name=record.id,
        title=f"Scan of {record.request.root}",
        description=f"{record.state}, started {record.started_at:%Y-%m-%d %H:%M} UTC, findings: {record.counts}",
        mime_type="application/json",
    )
