"""The tools that need no model: plan, submit, review."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.qagent.answers import change_answer, plan_answer, review_answer
from quantum_suite.servers.qagent.arguments import (
    ASKS_A_MODEL,
    READS,
    RUNS_CODE,
    Goal,
    Patch,
    ProjectPath,
    TokenBudget,
)
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qagent.change_answers import ChangeAnswer
from quantum_suite.tools.qagent.judge_change import ChangeDesk
from quantum_suite.tools.qagent.plan_change import ContextPack, Planner
from quantum_suite.tools.qagent.review_change import Review, Reviewer


def add_change_tools(
    server: MCPServer[Any], workspaces: Workspaces, planner: Planner, desk: ChangeDesk, reviewer: Reviewer
) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="plan_change",
        title="Plan a change",
        description="Say what one needs to know before changing code: the project's own instructions, a map, the "
        "code the goal speaks of, tests that reach it, risks, and the checks the change will be judged by, within "
        "a budget of tokens. Call it first. Indexes the workspace if nobody has yet.",
        annotations=READS,
        meta={"quantum/longRunning": True},
    )
    async def plan_change_tool(
        goal: Goal, ctx: Context[Any, Any], path: ProjectPath = ".", token_budget: TokenBudget = 6_000
    ) -> Annotated[CallToolResult, ContextPack]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            return plan_answer(await planner.plan(root, goal, token_budget, principal, ctx.report_progress))

    @server.tool(
        name="submit_change",
        title="Submit a change to the judge",
        description="Have a change you wrote judged: applied to a private copy (exactly, or refused with the "
        "reason), then syntax, imports, existence of the APIs called, lint, format, security, types and the "
        "affected tests, in a sandbox. Touches nothing. Returns accepted or refused at which gate, exact places, "
        "and the smallest next step. What failed before the change does not count against it. Submit code and its "
        "tests together; when it is accepted, call apply_change.",
        annotations=RUNS_CODE,
        meta={"quantum/longRunning": True},
    )
    async def submit_change_tool(
        patch: Patch,
        ctx: Context[Any, Any],
        path: ProjectPath = ".",
        summary: Annotated[
            str, Field(description="What the change is for, in a line: shown to who approves it.", max_length=500)
        ] = "",
        mutation_score_at_least: Annotated[
            float | None,
            Field(
                description="Mutate the changed Python lines as well, and refuse the change where its tests "
                "notice a smaller share of the mutants, e.g. 0.8. Takes minutes.",
                ge=0,
                le=1,
            ),
        ] = None,
    ) -> Annotated[CallToolResult, ChangeAnswer]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            judged = await desk.submit(
                root,
                patch,
                principal,
                ctx.report_progress,
                summary=summary,
                mutation_score_at_least=mutation_score_at_least,
            )
        return change_answer(judged.answer)

    @server.tool(
        name="review_change",
        title="Review a change",
        description="Have a change reviewed rather than judged: every check speaks, also after one that refuses, "
        "and where a model is configured it reads the change for mistakes that checks do not find. Without one "
        "you are the reader, and get the questions to read it with. Use submit_change to get a change accepted.",
        annotations=ASKS_A_MODEL,
        meta={"quantum/longRunning": True},
    )
    async def review_change_tool(
        patch: Patch,
        ctx: Context[Any, Any],
        path: ProjectPath = ".",
        goal: Annotated[str, Field(description="What the change is meant to do.", max_length=20_000)] = "",
        run_tests: Annotated[bool, Field(description="Run the affected tests as well.")] = False,
    ) -> Annotated[CallToolResult, Review]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            return review_answer(
                await reviewer.review(root, patch, goal, run_tests, principal, ctx.report_progress)
            )
