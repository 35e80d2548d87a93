"""What the tools answer: structured for programs, a few lines of text for a model, links for what is long."""

from mcp_types import CallToolResult, ContentBlock, ResourceLink, TextContent
from pydantic import BaseModel

from quantum_suite.tools.qtest.choose_affected import AffectedAnswer
from quantum_suite.tools.qtest.measure_coverage import CoverageAnswer
from quantum_suite.tools.qtest.mutate_code import MutationAnswer, Survivor
from quantum_suite.tools.qtest.plan_tests import TestPlan
from quantum_suite.tools.qtest.rank_gaps import Gap
from quantum_suite.tools.qtest.run_answers import TestAnswer
from quantum_suite.tools.qtest.submit_tests import SubmissionAnswer

_TOLD = 8
_WHY = 300


def tests_answer(answer: TestAnswer) -> CallToolResult:
    """Return the answer of run_tests."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in answer.counts.items()) or "no test"
    lines = [f"{'Passed' if answer.passed else 'Not passed'} ({answer.ended}): {counts}. {answer.runner}."]
    if answer.left_out is not None:
        lines.append(f"{answer.left_out} known tests are not concerned and were left out.")
    lines += [f"- {case.outcome} {case.id}: {_short(case.message)}" for case in answer.failures[:_TOLD]]
    lines += [
        f"- flaky {case.id}: {'/'.join(case.outcomes)}, order_seed {case.failing_seed} failed"
        for case in answer.flaky[:_TOLD]
    ]
    lines.append(answer.explanation)
    link = _link(answer.junit, "JUnit XML", "application/xml", "Every test of the run.")
    return _result(answer, "\n".join(lines), link)


def coverage_answer(answer: CoverageAnswer) -> CallToolResult:
    """Return the answer of measure_coverage."""
    if not answer.assessed:
        return _result(answer, f"Coverage was not assessed. {answer.explanation}")
    branches = f", {answer.branch_rate:.1%} of branches" if answer.branch_rate is not None else ""
    lines = [f"{answer.line_rate or 0:.1%} of {answer.lines} lines{branches} reached ({answer.scope})."]
    lines += [_gap_line(gap) for gap in answer.gaps[:_TOLD]]
    lines.append(answer.explanation)
    return _result(
        answer,
        "\n".join(lines),
        _link(answer.html, "Coverage as a page", "text/html", "The code with what is missing marked."),
        _link(answer.cobertura, "Cobertura XML", "application/xml", "For CI servers."),
        _link(answer.lcov, "LCOV", "text/plain", "For editors."),
    )


def affected_answer(answer: AffectedAnswer) -> CallToolResult:
    """Return the answer of affected_tests."""
    if not answer.known:
        text = (
            "Nothing is known of the tests yet: call measure_coverage once; until then all of them are concerned."
        )
    else:
        text = f"{answer.chosen} tests are concerned, {answer.known} are known. {answer.explanation}"
    lines = [text, *(f"- {test.id}: {test.why}" for test in answer.tests[:_TOLD])]
    return _result(answer, "\n".join(lines))


def mutation_answer(answer: MutationAnswer) -> CallToolResult:
    """Return the answer of mutate."""
    score = f"{answer.score:.1%} of counted mutants noticed" if answer.score is not None else "No mutant counted"
    interval = f" (95 %: {answer.interval[0]:.1%} to {answer.interval[1]:.1%})" if answer.interval else ""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in answer.verdicts.items())
    lines = [f"{score}{interval}. {verdicts}; {answer.generated} generated."]
    if answer.verdicts.get("import_time"):
        lines.append("import_time: it runs at import; not counted, noticed or not. The report tells which were.")
    lines += [answer.stopped_early] if answer.stopped_early else []
    lines += [_survivor_line(survivor) for survivor in answer.survivors[:_TOLD]]
    link = _link(answer.report, "Mutants in JSON", "application/json", "Every mutant with its verdict.")
    return _result(answer, "\n".join(lines), link)


def plan_answer(answer: TestPlan) -> CallToolResult:
    """Return the answer of plan_tests."""
    lines = [f"Write for {answer.runner}."]
    lines += [f"- mend first: {case.id} ({case.outcome})" for case in answer.failing[:_TOLD]]
    lines += [_gap_line(gap) for gap in answer.gaps[:_TOLD]]
    lines += [_survivor_line(survivor) for survivor in answer.survivors[:_TOLD]]
    lines += [f"- property at {each.place}: {each.statement}" for each in answer.properties[:_TOLD]]
    lines += [f"Not assessed: {each}." for each in answer.not_assessed]
    return _result(answer, "\n".join(lines))


def submission_answer(answer: SubmissionAnswer) -> CallToolResult:
    """Return the answer of submit_tests."""
    lines = [f"{answer.kept} kept, {answer.refused} refused."]
    lines += [f"- {'kept' if each.kept else 'refused'} {each.id}: {each.reason}" for each in answer.verdicts]
    if answer.written:
        lines.append(f"The kept tests were written: change {answer.change}.")
    elif answer.patch:
        lines.append("Nothing was written. The kept tests as a patch:")
        lines.append(answer.patch)
    lines += [f"Not assessed: {each}." for each in answer.not_assessed]
    return _result(answer, "\n".join(lines))


def _gap_line(gap: Gap) -> str:
    where = f"{gap.path}:{gap.first_line} {gap.function or '(module)'}"
    branches = f", branches {', '.join(gap.missing_branches[:5])}" if gap.missing_branches else ""
    return f"- gap (risk {gap.risk}) {where}: lines {list(gap.missing_lines[:8])}{branches}"


def _survivor_line(survivor: Survivor) -> str:
    return f"- survivor {survivor.place} {survivor.function}: `{survivor.original}` -> `{survivor.replacement}`"


def _short(message: str) -> str:
    last = [line for line in message.strip().splitlines() if line.strip()][-1:]
    return last[0][:_WHY] if last else ""


def _link(uri: str, name: str, mime_type: str, description: str) -> ResourceLink:
    return ResourceLink(uri=uri, name=name, mime_type=mime_type, description=description)


def _result(answer: BaseModel, text: str, *links: ContentBlock) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(text=text), *links], structured_content=answer.model_dump(mode="json")
    )
