"""What the tools answer: structured for programs, a few lines of text for a model, links for what is long."""

from typing import Any

from mcp_types import CallToolResult, ResourceLink, TextContent
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.resources.qinfra.plan_markdown import summary_line
from quantum_suite.services.infrastructure.plan import Plan, PolicyVerdict, Problem
from quantum_suite.tools.qinfra.apply_stack import StackRun

PLAN_TEMPLATE = "quantum://qinfra/plans/{digest}"
NAMED = 15
"""Changes named in an answer's text."""


class PlanAnswer(BaseModel):
    """A plan, short. The resources hold everything."""

    model_config = ConfigDict(frozen=True)

    digest: str = Field(description="What is approved: pass it to apply_stack or destroy_stack.")
    kind: str = Field(description="update or destroy.")
    project: str = Field(description="The project's name.")
    stack: str = Field(description="The stack's name.")
    counts: dict[str, int] = Field(description="Resources by what is done with them.")
    changes: tuple[str, ...] = Field(description="What changes, the first of them: operation, name, type.")
    drifted: int = Field(description="Resources that are not as the state says; 0 where nobody looked.")
    applicable: bool = Field(description="Whether it may be applied.")
    problems: tuple[Problem, ...] = Field(description="Why it may not be applied.")
    verdicts: tuple[PolicyVerdict, ...] = Field(description="What policies object to.")
    outputs: dict[str, Any] = Field(description="The stack's outputs to be; secrets masked.")
    markdown: str = Field(description="URI of the plan for reading.")
    graph: str = Field(description="URI of the plan as a Mermaid graph.")
    document: str = Field(description="URI of the whole plan in JSON.")


class RunAnswer(BaseModel):
    """What a run did."""

    model_config = ConfigDict(frozen=True)

    run: str = Field(description="The run's id in the record of events.")
    state: str = Field(description="succeeded, failed or interrupted.")
    digest: str = Field(description="The plan that was carried out.")
    done: dict[str, int] = Field(description="Steps carried out, by operation.")
    failures: tuple[str, ...] = Field(description="What failed, and why.")
    pending: tuple[str, ...] = Field(
        description="URNs of creations whose outcome is open; preview again to settle."
    )
    outputs: dict[str, Any] = Field(description="The stack's outputs; secrets masked.")
    serial: int = Field(description="Counts every write of the stack's state.")


def plan_answer(plan: Plan) -> CallToolResult:
    """Return the answer of preview_stack."""
    uri = PLAN_TEMPLATE.format(digest=plan.digest)
    changes = [f"{step.operation} {step.name} ({step.type})" for step in plan.changes if step.custom]
    answer = PlanAnswer(
        digest=plan.digest,
        kind=plan.kind,
        project=plan.project,
        stack=plan.stack,
        counts=plan.counts,
        changes=tuple(changes[:NAMED]),
        drifted=len(plan.drift),
        applicable=plan.applicable,
        problems=plan.problems,
        verdicts=plan.verdicts,
        outputs=dict(plan.outputs),
        markdown=f"{uri}/markdown",
        graph=f"{uri}/graph",
        document=uri,
    )
    lines = [
        f"{plan.project}/{plan.stack}: {summary_line(plan)}.",
        *(f"- {line}" for line in changes[:NAMED]),
        *([f"- and {len(changes) - NAMED} more"] if len(changes) > NAMED else []),
        *([f"{len(plan.drift)} resources are not as the state says."] if plan.drift else []),
        *(f"Cannot be applied: {problem.message}" for problem in plan.problems),
        *(f"Policy, {verdict.level}: {verdict.rule}: {verdict.message}" for verdict in plan.verdicts),
        f"Plan digest: {plan.digest}",
    ]
    return tool_result(
        answer,
        lines,
        _link(f"{uri}/markdown", "Plan for reading", "text/markdown", "Every change, property by property."),
        _link(f"{uri}/graph", "Plan as a graph", "text/vnd.mermaid", "What changes, and what depends on it."),
        _link(uri, "Plan in JSON", "application/json", "Everything, for programs and policies."),
    )


def run_answer(run: StackRun) -> CallToolResult:
    """Return the answer of apply_stack, destroy_stack and import_resource; a run that failed is an error."""
    outcome = run.outcome
    failures = tuple(f"{urn.rpartition('::')[2] or 'the program'}: {message}" for urn, message in outcome.failures)
    answer = RunAnswer(
        run=run.run,
        state=outcome.state,
        digest=outcome.plan.digest,
        done=dict(outcome.done),
        failures=failures,
        pending=tuple(outcome.pending),
        outputs=dict(outcome.outputs),
        serial=outcome.serial,
    )
    told = ", ".join(f"{number} {operation}" for operation, number in outcome.done.items()) or "nothing changed"
    lines = [
        f"{outcome.plan.project}/{outcome.plan.stack} {outcome.state}: {told}.",
        *(f"Failed: {line}" for line in failures[:NAMED]),
        *(f"Open: {urn}" for urn in outcome.pending),
        *(f"{name} = {value}" for name, value in list(outcome.outputs.items())[:NAMED]),
    ]
    if outcome.state != "succeeded":
        lines.append("What was done is kept and written down. Preview again: the plan has what is left.")
    return tool_result(answer, lines, is_error=outcome.state != "succeeded")


def _link(uri: str, name: str, mime_type: str, description: str) -> ResourceLink:
    return ResourceLink(uri=uri, name=name, mime_type=mime_type, description=description)


def tool_result(
    answer: BaseModel, lines: list[str], *links: ResourceLink, is_error: bool = False
) -> CallToolResult:
    """Return an answer as a tool gives it: as data, in lines of text, and with links to what is long."""
    return CallToolResult(
        content=[TextContent(text="\n".join(lines)), *links],
        structured_content=answer.model_dump(mode="json"),
        is_error=is_error,
    )
