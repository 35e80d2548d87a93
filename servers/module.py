"""What a module's package hands to the hub."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.principals import Principal, Role
from quantum_suite.services.analytics.interface import Analytics
from quantum_suite.services.anomalies.watches import AnomalyWatches
from quantum_suite.services.capacity.interface import Capacity
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.infrastructure.opening import Infrastructure
from quantum_suite.services.knowledge.interface import Knowledge
from quantum_suite.services.llm.interface import Gateway
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.projections.runner import ProjectionRunner
from quantum_suite.services.recovery.opening import Recovery
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.interface import Workflows
from quantum_suite.services.workspaces import Workspaces


def _no_engines() -> Sequence[EngineStatus]:
    return ()


OpenWorkflows = Callable[[], Awaitable[Workflows]]


@dataclass(frozen=True, slots=True)
class Services:
    """The shared services a module is built from. The composition root opens and closes them."""

    data_dir: Path
    """Where the module may keep state, in a folder named after it."""
    workspaces: Workspaces
    capacity: Capacity
    """Where heavy work waits for its turn on this machine. Taken by the tools, around the work alone."""
    events: EventStore
    """Where the module says what happened."""
    objects: ObjectStore | None = None
    """Where reports and artefacts are kept."""
    open_workflows: OpenWorkflows | None = None
    """Returns the orchestrator, opened on first need: it is heavy to open."""
    composites: Composites | None = None
    """Workflows written as data; the orchestrator knows their `workflows()`."""
    projections: ProjectionRunner | None = None
    """What follows the events: how it is doing, and what it could not deal with."""
    analytics: Analytics | None = None
    """The events as tables; None where DuckDB is not installed."""
    knowledge: Knowledge | None = None
    """What is known of the code in workspaces. Roots are checked against the caller's grant before it is asked."""
    models: Gateway | None = None
    """Where language models are asked. Where none is configured, asking is refused with how to configure one."""
    watches: AnomalyWatches | None = None
    """What looks at watched metrics; the orchestrator knows its `workflow`."""
    metrics: MetricSources | None = None
    """Where metrics are asked for, by the names the operator gave. One that is not there says how to add it."""
    infrastructure: Infrastructure | None = None
    """Infrastructure as code: its engine, the states of stacks, and plans."""
    recovery: Recovery | None = None
    """What drills the recovery of databases, and the evidence of past drills."""


@dataclass(frozen=True, slots=True)
class Hook:
    """What programs that do not speak MCP may post JSON to: the hub serves it at `/hooks/<module>/<name>`."""

    name: str
    take: Callable[[Any, Principal, str], Awaitable[Mapping[str, Any]]]
    """Gets the body, who posted it and the id of the call; returns the answer. A post may come more than once."""
    role: Role = Role.OPERATOR
    """What whoever posts needs to be trusted with."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its MCP server, and the engines it can use (looked up each time it is asked)."""

    server: MCPServer[Any]
    engines: Callable[[], Sequence[EngineStatus]] = field(default=_no_engines)
    """Starts no process that takes longer than a version query."""
    hooks: Sequence[Hook] = ()
    """What the hub serves beside MCP, for as long as the module is mounted."""


Build = Callable[[Services], Module]
"""What an entry point of the group `quantum_suite.servers` names. Third parties may also name a callable without
parameters that returns an `MCPServer`."""
