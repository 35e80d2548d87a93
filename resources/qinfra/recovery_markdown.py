"""A recovery plan in Markdown: the judgement first, then what is missing, then the runbooks."""

from quantum_suite.services.recovery.plan import RecoveryPlan, Strategy

TITLES = {"failover": "Streaming replica, failover", "point_in_time": "Encrypted backup, point-in-time restore"}
REACHES = {
    "yes": "reaches the objectives",
    "not_drilled": "set up, but not drilled yet",
    "after_changes": "can reach them after changes",
    "no": "cannot reach them",
}


def strategy_line(strategy: Strategy) -> str:
    """Return a way of recovery, judged, in a sentence."""
    judged = f"{TITLES[strategy.kind]}: {REACHES[strategy.reach]}."
    return f"{judged} {strategy.why} Recovery time: {_expected(strategy)}."


def recovery_markdown(plan: RecoveryPlan) -> str:
    """Return the whole plan as a page."""
    facts = plan.facts
    wanted = plan.objectives.model_dump(exclude_none=True)
    lines = [
        f"# Recovery plan for {plan.target}",
        "",
        f"Objectives: {', '.join(f'{name} at most {value:g}' for name, value in wanted.items())}.",
        "",
        *(f"- **{strategy_line(strategy)}**" for strategy in plan.strategies),
        "",
    ]
    if plan.warnings:
        lines += ["## Worth a look", "", *(f"- {_text(line)}" for line in plan.warnings), ""]
    for strategy in plan.strategies:
        lines += _strategy(strategy)
    lines += [
        "## As it was looked at",
        "",
        f"PostgreSQL {facts.version}, {facts.size_bytes} bytes in databases that could be measured, "
        f"{facts.unseen_databases} databases that could not. Looked at {plan.made}.",
        "",
        *(f"- {name}: `{_text(value)}`" for name, value in sorted(facts.settings.items())),
        f"- archived segments: {facts.archived}, failures: {facts.archive_failures}",
        *(
            [f"- WAL a second: {facts.wal_bytes_a_second:.0f} bytes"]
            if facts.wal_bytes_a_second is not None
            else []
        ),
        *(
            f"- replica `{_text(one.name)}`: {one.state}, {one.sync_state}, {one.lag_bytes} bytes and "
            f"{one.lag_seconds} s behind"
            for one in facts.replicas
        ),
        *(
            f"- slot `{_text(one.name)}`: active {one.active}, {one.retained_bytes} bytes kept"
            for one in facts.slots
        ),
        *(f"- backup `{_text(one.folder)}` of {one.taken}: {one.size_bytes} bytes" for one in plan.backups[:20]),
        "",
    ]
    return "\n".join(lines)


def _strategy(strategy: Strategy) -> list[str]:
    lines = [f"## {TITLES[strategy.kind]}", "", f"Expected recovery time: {_expected(strategy)}.", ""]
    if strategy.gaps:
        lines += ["Missing:", ""]
        for gap in strategy.gaps:
            must = "required" if gap.required else "advised"
            lines.append(f"- {_text(gap.what)} ({must}; {gap.needs}) `{_text(gap.change)}`")
        lines.append("")
    lines += ["Runbook:", "", *(f"{number}. {step}" for number, step in enumerate(strategy.steps, 1)), ""]
    return lines


def _expected(strategy: Strategy) -> str:
    evidence = strategy.evidence
    if evidence is None:
        return "not drilled yet"
    return (
        f"{evidence.median_seconds:.2f} s in the median and {evidence.worst_seconds:.2f} s at worst of "
        f"{evidence.drills} drills, {evidence.lost_rows} acknowledged rows lost in all (last: {evidence.last})"
    )


def _text(text: str) -> str:
    return text.replace("\n", " ").replace("`", "'").replace("<", "&lt;")
