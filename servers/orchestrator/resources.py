"""The resources: runs and definitions, read under the caller's own rights."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer

from quantum_suite.core.errors import NotFound
from quantum_suite.resources.orchestrator.definition import definitions_json
from quantum_suite.resources.orchestrator.run import run_json, runs_json, steps_json
from quantum_suite.servers.callers import principal_of, resource_errors
from quantum_suite.servers.orchestrator.callers import owner_of
from quantum_suite.servers.orchestrator.runs import Runs
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.workflows.composite.composites import Composites
from quantum_suite.services.workflows.composite.interpreter import REPORT_STATUS
from quantum_suite.services.workflows.composite.mermaid import definition_graph, plain_graph, run_graph

RUNS = "quantum://orchestrator/runs/{run}"
DEFINITIONS = "quantum://orchestrator/definitions/{name}"
MERMAID = "text/vnd.mermaid"
_LISTED = 20
_MOST_DEFINITIONS = 100


def add_run_resources(server: MCPServer[Any], runs: Runs, composites: Composites, objects: ObjectStore) -> None:
    """Register the templates of runs on `server`."""

    @server.resource(
        RUNS,
        name="run",
        title="A workflow's run",
        description="Everything about a run but its steps. The id 'latest' lists your newest runs.",
        mime_type="application/json",
    )
    async def read_run(run: str, ctx: Context[Any, Any]) -> str:
        principal = principal_of(ctx)
        with resource_errors():
            if run == "latest":
                found, _ = await runs.find(principal, state=None, limit=_LISTED, cursor=None)
                return runs_json(found)
            return run_json(await runs.get(run, principal))

    @server.resource(
        f"{RUNS}/steps",
        name="run_steps",
        title="The steps of a run",
        description="What a run has done so far, step by step; long results are cut.",
        mime_type="application/json",
    )
    async def read_steps(run: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            _, steps = await runs.steps(run, principal_of(ctx))
        return steps_json(steps)

    @server.resource(
        f"{RUNS}/graph",
        name="run_graph",
        title="A run as a graph",
        description="The run's definition as a Mermaid flowchart, coloured by how its steps stand.",
        mime_type=MERMAID,
    )
    async def read_run_graph(run: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            found, steps = await runs.steps(run, principal_of(ctx))
            definition = await composites.of_run(found)
        return plain_graph(found, steps) if definition is None else run_graph(definition, found, steps)

    @server.resource(
        f"{RUNS}/report",
        name="run_report",
        title="The report of a run",
        description="What the run wrote for people, once it has.",
        mime_type="text/markdown",
    )
    async def read_report(run: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            found = await runs.get(run, principal_of(ctx))
            report = found.status.get(REPORT_STATUS)
            if not report:
                raise NotFound(f"Run {run} has no report.", "Look at its state.", argument="run")
            return (await objects.get(report["digest"])).decode()


def add_definition_resources(server: MCPServer[Any], composites: Composites) -> None:
    """Register the templates of definitions on `server`."""

    @server.resource(
        DEFINITIONS,
        name="definition",
        title="A workflow's definition",
        description="The newest version as it was written, in YAML. The name 'all' lists those you can start.",
        mime_type="application/yaml",
    )
    async def read_definition(name: str, ctx: Context[Any, Any]) -> str:
        owner = owner_of(principal_of(ctx))
        with resource_errors():
            if name == "all":
                known, _ = await composites.described(owner, limit=_MOST_DEFINITIONS)
                return definitions_json(known)
            return (await composites.find(name, owner)).source

    @server.resource(
        f"{DEFINITIONS}/graph",
        name="definition_graph",
        title="A definition as a graph",
        description="The newest version as a Mermaid flowchart.",
        mime_type=MERMAID,
    )
    async def read_definition_graph(name: str, ctx: Context[Any, Any]) -> str:
        with resource_errors():
            found = await composites.find(name, owner_of(principal_of(ctx)))
            return definition_graph(await composites.read(found.source))
