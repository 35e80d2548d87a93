"""What models were used for, as a report for people."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from quantum_suite.core.uris import ResourceUri


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A row of the report."""

    principal: str
    model: str
    purpose: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced: int


_COLUMNS: Sequence[tuple[str, Callable[[UsageRow], str]]] = (
    ("principal", lambda row: row.principal),
    ("model", lambda row: row.model),
    ("purpose", lambda row: row.purpose or "(none)"),
    ("requests", lambda row: str(row.attempts)),
    ("tokens sent", lambda row: str(row.input_tokens)),
    ("tokens received", lambda row: str(row.output_tokens)),
    ("US dollars", lambda row: f"{row.cost_usd:.6f}" + (f" and {row.unpriced} unpriced" if row.unpriced else "")),
)


def usage_uri(period: str, *, everybody: bool) -> str:
    """Return the URI of a report: `quantum://llm/usage/month` is the reader's own."""
    return str(ResourceUri("llm", "usage", period, "everybody" if everybody else None))


def usage_report(title: str, rows: Sequence[UsageRow]) -> str:
    """Return the report in Markdown: a row for each principal, model and purpose, and their sums."""
    lines = [f"# {title}", ""]
    if not rows:
        return "\n".join([*lines, "No model was asked.", ""])
    lines += [_line(name for name, _ in _COLUMNS), _line("---" for _ in _COLUMNS)]
    lines += [_line(_cell(shown(row)) for _, shown in _COLUMNS) for row in rows]
    total = UsageRow(
        "all",
        "",
        "",
        sum(row.attempts for row in rows),
        sum(row.input_tokens for row in rows),
        sum(row.output_tokens for row in rows),
        sum(row.cost_usd for row in rows),
        sum(row.unpriced for row in rows),
    )
    values = [shown(total) for _, shown in _COLUMNS]
    return "\n".join([*lines, _line([values[0], "", "", *values[3:]]), ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
