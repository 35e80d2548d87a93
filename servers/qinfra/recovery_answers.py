"""What the recovery tools answer."""

from mcp_types import CallToolResult, ResourceLink
from pydantic import BaseModel, ConfigDict, Field

from quantum_suite.resources.qinfra.drill_markdown import drill_line
from quantum_suite.resources.qinfra.recovery_markdown import strategy_line
from quantum_suite.servers.qinfra.answers import tool_result
from quantum_suite.services.recovery.interface import Phase, RowCount, Verdict
from quantum_suite.services.recovery.plan import Gap, RecoveryPlan
from quantum_suite.tools.qinfra.run_drill import KeptDrill

DRILL_TEMPLATE = "quantum://qinfra/drills/{drill}"
RECOVERY_PLAN_TEMPLATE = "quantum://qinfra/recovery/{plan}"


class StrategyAnswer(BaseModel):
    """One way of recovery."""

    model_config = ConfigDict(frozen=True)

    kind: str = Field(description="failover or point_in_time.")
    reach: str = Field(description="yes, not_drilled, after_changes or no.")
    why: str = Field(description="The judgement in a sentence.")
    gaps: tuple[Gap, ...] = Field(description="What is missing, with the exact change.")
    expected_rto_seconds: float | None = Field(
        description="Median of past drills; null where it was not drilled yet."
    )
    worst_rto_seconds: float | None = Field(description="The worst of past drills.")


class RecoveryPlanAnswer(BaseModel):
    """A recovery plan, short. The page has the runbooks."""

    model_config = ConfigDict(frozen=True)

    plan: str = Field(description="The plan's id.")
    target: str = Field(description="The server, without credentials.")
    version: str = Field(description="Its version.")
    size_bytes: int = Field(description="Size of its databases.")
    strategies: tuple[StrategyAnswer, ...] = Field(description="Both ways, judged.")
    warnings: tuple[str, ...] = Field(description="What else is worth a look.")
    markdown: str = Field(description="URI of the plan for reading, runbooks included.")


class DrillAnswer(BaseModel):
    """What a drill found, short. The resources have all of its evidence."""

    model_config = ConfigDict(frozen=True)

    drill: str = Field(description="The drill's id.")
    state: str = Field(description="met, missed, measured (no objectives given), or failed.")
    rto_seconds: float | None = Field(description="From disaster to the first acknowledged write.")
    phases: tuple[Phase, ...] = Field(description="The recovery time, phase by phase.")
    rows: RowCount | None = Field(description="Every row accounted for.")
    verdicts: tuple[Verdict, ...] = Field(description="Each objective, judged.")
    problem: str = Field(description="Why the drill did not come to its end.")
    digest: str = Field(description="SHA-256 of the evidence.")
    evidence: str = Field(description="URI of the evidence in JSON.")
    markdown: str = Field(description="URI of the evidence for reading.")


def recovery_plan_answer(plan: RecoveryPlan) -> CallToolResult:
    """Return the answer of plan_recovery."""
    uri = RECOVERY_PLAN_TEMPLATE.format(plan=plan.id)
    answer = RecoveryPlanAnswer(
        plan=plan.id,
        target=plan.target,
        version=plan.facts.version,
        size_bytes=plan.facts.size_bytes,
        strategies=tuple(
            StrategyAnswer(
                kind=one.kind,
                reach=one.reach,
                why=one.why,
                gaps=one.gaps,
                expected_rto_seconds=one.evidence.median_seconds if one.evidence else None,
                worst_rto_seconds=one.evidence.worst_seconds if one.evidence else None,
            )
            for one in plan.strategies
        ),
        warnings=plan.warnings,
        markdown=f"{uri}/markdown",
    )
    lines = [f"{plan.target}, PostgreSQL {plan.facts.version}:"]
    for strategy in plan.strategies:
        lines.append(f"- {strategy_line(strategy)}")
        lines += [f"  - {gap.what} -> {gap.change}" for gap in strategy.gaps if gap.required]
    lines += [f"Worth a look: {line}" for line in plan.warnings]
    link = ResourceLink(
        uri=f"{uri}/markdown", name="Recovery plan", mime_type="text/markdown", description="Gaps and runbooks."
    )
    return tool_result(answer, lines, link)


def drill_answer(kept: KeptDrill) -> CallToolResult:
    """Return the answer of run_drill; a drill that came to no end is an error."""
    report, uri = kept.report, DRILL_TEMPLATE.format(drill=kept.report.id)
    answer = DrillAnswer(
        drill=report.id,
        state=report.state,
        rto_seconds=report.rto_seconds,
        phases=report.phases,
        rows=report.rows,
        verdicts=report.verdicts,
        problem=report.problem,
        digest=kept.digest,
        evidence=uri,
        markdown=f"{uri}/markdown",
    )
    lines = [drill_line(report)]
    if report.problem:
        lines.append(report.problem)
    if report.phases:
        lines.append("Phases: " + ", ".join(f"{one.name} {one.seconds:.2f} s" for one in report.phases) + ".")
    if report.rows is not None:
        lines.append(
            f"In doubt {report.rows.in_doubt} (present {report.rows.in_doubt_present}), altered "
            f"{report.rows.altered}, unexpected {report.rows.unexpected}."
        )
    lines += [
        f"{one.objective}: {one.measured:g} of at most {one.wanted:g}, {'met' if one.met else 'missed'}"
        for one in report.verdicts
    ]
    links = [
        ResourceLink(uri=f"{uri}/markdown", name="Evidence for reading", mime_type="text/markdown"),
        ResourceLink(uri=uri, name="Evidence in JSON", mime_type="application/json"),
    ]
    return tool_result(answer, lines, *links, is_error=report.state == "failed")
