"""The tools that judge tests: mutation, what is missing, and what an author sends."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.qtest.answers import mutation_answer, plan_answer, submission_answer
from quantum_suite.servers.qtest.running_tools import LONG, RUNS, ProjectPath, Seconds
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qtest.mutate_code import MutationAnswer, Mutator
from quantum_suite.tools.qtest.plan_tests import MUTANTS, TestPlan, TestPlanner
from quantum_suite.tools.qtest.submit_tests import SubmissionAnswer, TestJudge

_WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
Against = Annotated[
    str | None, Field(description="Commit or branch: only lines that differ from it count, e.g. main.")
]
Paths = Annotated[
    list[str] | None,
    Field(description="Only these files or folders below path; all code when left out.", max_length=200),
]


class SubmittedFile(BaseModel):
    """A test file, whole."""

    path: str = Field(description="Path below the project's folder, new or existing.", max_length=500)
    content: str = Field(description="The file's whole new content.", max_length=1_000_000)


def add_judging_tools(
    server: MCPServer[Any], workspaces: Workspaces, mutator: Mutator, planner: TestPlanner, judge: TestJudge
) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="mutate",
        title="Mutate",
        description="Change Python code in small ways, one at a time, in a private copy, and see which changes no "
        "test notices: those survivors show what tests run but do not check. Survivors are verified in fresh "
        "processes. Restrict it with diff_against, paths or sample: it runs tests many times.",
        annotations=RUNS,
        meta=LONG,
    )
    async def mutate(
        path: ProjectPath,
        ctx: Context[Any, Any],
        paths: Paths = None,
        diff_against: Against = None,
        sample: Annotated[
            int | None,
            Field(description="At most so many mutants, drawn at random; gives an interval.", ge=1, le=10_000),
        ] = None,
        seed: Annotated[int, Field(description="For the draw.", ge=0)] = 0,
        timeout_seconds: Seconds = 1800,
    ) -> Annotated[CallToolResult, MutationAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            return mutation_answer(
                await mutator.mutate(
                    root, paths or (), diff_against, sample, seed, timeout_seconds, principal, ctx.report_progress
                )
            )

    @server.tool(
        name="plan_tests",
        title="Plan tests",
        description="Say which tests are missing, before writing any: lines and branches no test reaches by risk, "
        "mutants that survive with the code around them, and properties worth stating. Then write tests and send "
        "them to submit_tests.",
        annotations=RUNS,
        meta=LONG,
    )
    async def plan_tests(
        path: ProjectPath,
        ctx: Context[Any, Any],
        paths: Paths = None,
        diff_against: Against = None,
        limit: Annotated[int, Field(description="Most gaps, survivors and properties each.", ge=1, le=50)] = 10,
        mutants: Annotated[
            int, Field(description="How many mutants to try; 0 for none, which is much faster.", ge=0, le=2000)
        ] = MUTANTS,
        timeout_seconds: Seconds = 900,
    ) -> Annotated[CallToolResult, TestPlan]:
        with tool_errors():
            root = workspaces.resolve(path, principal_of(ctx))
            return plan_answer(
                await planner.plan(
                    root, paths or (), diff_against, limit, mutants, timeout_seconds, ctx.report_progress
                )
            )

    @server.tool(
        name="submit_tests",
        title="Submit tests",
        description="Judge tests you wrote. Each is kept only if it passes 5 times in random order and reaches a "
        "line or branch no other test does, or kills a mutant that survives all others; the verdict says which, "
        "or why not. Kept tests come back as a patch; with write they are written to the project.",
        annotations=_WRITES,
        meta=LONG,
    )
    async def submit_tests(
        path: ProjectPath,
        ctx: Context[Any, Any],
        files: Annotated[
            list[SubmittedFile] | None, Field(description="Test files, whole. Give this or patch.", max_length=50)
        ] = None,
        patch: Annotated[
            str | None,
            Field(description="A unified diff or search/replace blocks that add tests. Give this or files."),
        ] = None,
        write: Annotated[
            bool, Field(description="Write the kept tests to the project; it can be undone.")
        ] = False,
        timeout_seconds: Seconds = 600,
    ) -> Annotated[CallToolResult, SubmissionAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            contents = {file.path: file.content for file in files or ()}
            return submission_answer(
                await judge.submit(root, contents, patch, write, timeout_seconds, principal, ctx.report_progress)
            )
