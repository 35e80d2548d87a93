"""The tools in which the configured model is the author, if there is one."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult
from pydantic import Field

from quantum_suite.servers.callers import principal_of, tool_errors
from quantum_suite.servers.qagent.answers import generated_answer, improvement_answer
from quantum_suite.servers.qagent.arguments import ASKS_A_MODEL, Goal, ProjectPath, TokenBudget
from quantum_suite.services.workspaces import Workspaces
from quantum_suite.tools.qagent.generate_code import CodeGenerator, GeneratedCode
from quantum_suite.tools.qagent.improve_change import Improvement, Improver, Rule, checked_oracle
from quantum_suite.tools.qagent.oracle import OracleValidator
from quantum_suite.tools.qagent.workshop import Workshop


def add_author_tools(
    server: MCPServer[Any],
    workspaces: Workspaces,
    generator: CodeGenerator,
    improver: Improver,
    workshop: Workshop,
) -> None:
    """Register the tools on `server`."""

    @server.tool(
        name="generate_code",
        title="Have a change written",
        description="Have the configured model write a change for a goal, and judge it as submit_change does. "
        "Without a configured model you are the author: the answer is the context to write it with. Prefer to "
        "write changes yourself with plan_change and submit_change; use this to delegate.",
        annotations=ASKS_A_MODEL,
        meta={"quantum/longRunning": True},
    )
    async def generate_code_tool(
        goal: Goal, ctx: Context[Any, Any], path: ProjectPath = ".", token_budget: TokenBudget = 6_000
    ) -> Annotated[CallToolResult, GeneratedCode]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            made = await generator.generate(root, goal, token_budget, principal, ctx.report_progress)
            context = b""
            if made.change is None:
                context = await improver.records.report(made.plan.plan, "context", principal)
        return generated_answer(made, context.decode())

    @server.tool(
        name="improve_change",
        title="Improve a change against an oracle",
        description="Improve a change in rounds, measured by an oracle: tests that you or the user wrote, which "
        "the author of the change can neither see changed nor change. Keeps the best try, stops when a try gains "
        "nothing, and reports the gain of each round. The configured model writes the tries after your first; "
        "without a model you get one round's verdict and write the next try yourself.",
        annotations=ASKS_A_MODEL,
        meta={"quantum/longRunning": True},
    )
    async def improve_change_tool(
        goal: Goal,
        ctx: Context[Any, Any],
        path: ProjectPath = ".",
        patch: Annotated[
            str | None, Field(description="The first try, if you have one, in the form submit_change takes.")
        ] = None,
        oracle_files: Annotated[
            dict[str, str] | None,
            Field(description="Test files that judge the tries, path below the project -> text.", max_length=20),
        ] = None,
        oracle_tests: Annotated[
            list[str] | None,
            Field(description="Tests of the project that judge the tries, by id or file.", max_length=200),
        ] = None,
        rounds: Annotated[int, Field(description="Most tries in all.", ge=1, le=10)] = 4,
        patience: Annotated[int, Field(description="Tries without a gain after which it stops.", ge=1, le=5)] = 2,
        most_tokens: Annotated[
            int, Field(description="Tokens of the model after which no try is begun.", ge=1_000, le=1_000_000)
        ] = 60_000,
        token_budget: TokenBudget = 6_000,
    ) -> Annotated[CallToolResult, Improvement]:
        principal = principal_of(ctx)
        with tool_errors():
            root = workspaces.resolve(path, principal)
            checked_oracle(oracle_files, oracle_tests)
            tools = await workshop.tools()
            oracle = OracleValidator(oracle_files or {}, tuple(oracle_tests or ()), tools.runners, workshop.limits)
            rule = Rule(rounds=rounds, patience=patience, tokens=most_tokens)
            improvement = await improver.improve(
                root, goal, patch, oracle, rule, token_budget, principal, ctx.report_progress
            )
        return improvement_answer(improvement)
