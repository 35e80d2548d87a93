"""What the tools on SLOs answer: structured for programs, a few lines for a model, a picture."""

import base64

from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import BaseModel

from quantum_suite.tools.qsre.define_slo import DefinedSlos
from quantum_suite.tools.qsre.error_budget import BudgetForecast, BudgetReply
from quantum_suite.tools.qsre.explain_alert import AlertExplanation
from quantum_suite.tools.qsre.slo_status import SloRow, SloStatus, WindowRow

_DIFF_TOLD = 3_000


def defined_answer(defined: DefinedSlos) -> CallToolResult:
    """Return the answer of define_slo."""
    told = "Written" if defined.written else "Dry run, nothing was written"
    lines = [f"{told}: {defined.path} and {defined.rules_path}, {defined.rules} rules."]
    lines.append(f"promtool: {defined.promtool}")
    for row in defined.slos:
        measured = "no data now" if row.measured_percent is None else f"{row.measured_percent:.5g} % good now"
        lines.append(f"- {row.slo}: {row.objective_percent:g} % over {row.period}; {measured}.")
        lines += [f"  - {alert}" for alert in row.alerts]
    lines += [f"Mind: {note}" for note in defined.notes]
    if not defined.written:
        if not defined.diff:
            lines.append("Nothing would change.")
        else:
            expected = f" and expected={defined.digest}" if defined.digest is not None else ""
            lines.append(f"To write it, call again with dry_run=false{expected}. What would change:")
            lines.append(defined.diff[:_DIFF_TOLD])
    else:
        lines.append(f"digest: {defined.digest}. Have Prometheus read the rule file (rule_files) and reload.")
    return _result(defined, "\n".join(lines))


def status_answer(status: SloStatus) -> CallToolResult:
    """Return the answer of slo_status."""
    many = "1 SLO" if len(status.slos) == 1 else f"{len(status.slos)} SLOs"
    lines = [f"{many} from {status.source} at {status.at}:"]
    for row in status.slos:
        lines.append(_slo(row))
        lines += [f"  - holds: {alert}" for alert in row.alerts]
        lines.append("  " + "; ".join(_window(window) for window in row.windows))
        if row.low_traffic:
            quick = [one for one in row.windows if one.one_failure_percent is not None]
            shares = ", ".join(f"{one.one_failure_percent:.3g} % of {one.window}" for one in quick[:4])
            lines.append(f"  - low traffic: one failure is {shares}")
    lines += [f"Not read: {problem}" for problem in status.problems]
    lines += [f"Note: {note}" for note in status.notes]
    return _result(status, "\n".join(lines))


def budget_answer(reply: BudgetReply) -> CallToolResult:
    """Return the answer of error_budget."""
    budget = reply.budget
    left = "unknown" if budget.left_percent is None else f"{budget.left_percent:.4g} %"
    lines = [
        f"{budget.slo}: {left} of the error budget left ({budget.objective_percent:g} % over {budget.period})."
    ]
    if budget.bad is not None and budget.events is not None and budget.allowed is not None:
        lines.append(f"{budget.bad:.6g} bad of {budget.events:.6g} events; {budget.allowed:.6g} are allowed.")
    if budget.burn_rate is not None:
        gone = f": gone in {budget.gone_at_this_rate} at this rate" if budget.gone_at_this_rate else ""
        lines.append(f"It burns at {budget.burn_rate:.3g} now{gone}.")
    lines.append(_forecast(budget.forecast))
    lines += [f"Mind: {note}" for note in budget.notes]
    blocks: list[ContentBlock] = [TextContent(text="\n".join(lines))]
    if reply.picture is not None:
        blocks.append(ImageContent(data=base64.b64encode(reply.picture).decode(), mime_type="image/png"))
    return CallToolResult(content=blocks, structured_content=budget.model_dump(mode="json"))


def explanation_answer(found: AlertExplanation) -> CallToolResult:
    """Return the answer of explain_alert."""
    lines = [found.explanation]
    for pair in found.pairs:
        holds = "holds" if pair.holds else "does not hold"
        windows = f"{_window(pair.long)}; {_window(pair.short)}"
        lines.append(f"- {pair.severity} above {pair.threshold:g}x {holds}: {windows}")
    lines.append("Look at:")
    lines += [f"- {query}" for query in found.look_at]
    lines += [f"Note: {note}" for note in found.notes]
    return _result(found, "\n".join(lines))


def _slo(row: SloRow) -> str:
    good = "no data" if row.good_percent is None else f"{row.good_percent:.5g} % good"
    left = "" if row.budget_left_percent is None else f", {row.budget_left_percent:.3g} % of the budget left"
    return f"- {row.slo}: {row.state}: {good} of {row.objective_percent:g} % over {row.period}{left}"


def _window(window: WindowRow) -> str:
    burn = "-" if window.burn_rate is None else f"{window.burn_rate:.3g}x"
    events = "" if window.events is None else f" of {window.events:.0f} events"
    return f"{window.window} {burn}{events}"


def _forecast(expected: BudgetForecast) -> str:
    if expected.outlook in ("exhausted", "not enough data"):
        return f"Forecast: {expected.outlook}."
    runs = f"in {(expected.probability or 0) * 100:.0f} % of the runs it is gone by {expected.horizon}"
    if expected.earliest is None:
        return f"Forecast: {expected.outlook}; {runs}."
    until = expected.latest or f"after {expected.horizon}"
    middle = f", most likely about {expected.middle}" if expected.middle is not None else ""
    return f"Forecast: {expected.outlook}; 80 % interval {expected.earliest} to {until}{middle}; {runs}."


def _result(answer: BaseModel, text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], structured_content=answer.model_dump(mode="json"))
