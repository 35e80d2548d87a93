"""Turns what an engine found in two states of a tree into one gate's report."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quantum_suite.core.findings import Location, Region
from quantum_suite.core.verdicts import GateReport, Isolation, Outcome, Problem
from quantum_suite.services.code_scanning.mask_snippets import mask_prose

MOST_PROBLEMS = 30
"""Problems named in a report; the rest is counted."""
LONGEST_MESSAGE = 400
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing an engine says, before it is known whether the change brought it."""

    path: str
    code: str
    message: str
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    suggestion: str | None = None
    blocking: bool = True

    @property
    def kind(self) -> tuple[str, str, str]:
        """What makes it the same when lines move: file, rule, and message without its numbers."""
        return self.path, self.code, _NUMBERS.sub("#", self.message)


def shown_path(path: str) -> str:
    r"""Return a path as text that can be written anywhere: bytes that are no UTF-8 appear as \xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def location(path: str, line: int | None, column: int | None = None, end: int | None = None) -> Location:
    """Return a place in one line; `end` is the column just after."""
    if line is None or line < 1:
        return Location(path=shown_path(path))
    start = column if column is not None and column >= 1 else None
    last = end if start is not None and end is not None and end >= start else None
    return Location(
        path=shown_path(path), region=Region(start_line=line, end_line=line, start_column=start, end_column=last)
    )


def split_introduced(after: Iterable[Found], before: Iterable[Found]) -> list[Problem]:
    """Return what was found after the change, told apart from what was there before.

    The same finding twice as often is half introduced: the ones furthest down are taken for the new ones.
    """
    known = Counter(found.kind for found in before)
    problems: list[Problem] = []
    for found in sorted(after, key=lambda one: (one.path, one.line or 0, one.column or 0)):
        introduced = known[found.kind] <= 0
        known[found.kind] -= 1
        problems.append(problem(found, introduced=introduced))
    return problems


def problem(found: Found, *, introduced: bool = True) -> Problem:
    """Return a finding as a problem; only what the change introduced can block."""
    # Engines quote what they look at.
    message = mask_prose(found.message)
    message = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "..."
    place = location(found.path, found.line, found.column, found.end_column)
    if place.region is not None and found.end_line is not None and found.end_line > place.region.start_line:
        region = place.region.model_copy(update={"end_line": found.end_line, "end_column": found.end_column})
        place = place.model_copy(update={"region": region})
    return Problem(
        code=found.code,
        message=message,
        location=place,
        blocking=introduced and found.blocking,
        introduced=introduced,
        suggestion=found.suggestion,
    )


def report(
    gate: str,
    problems: Sequence[Problem],
    *,
    passed: str,
    engine: str | None = None,
    isolation: Isolation = Isolation.NOT_NEEDED,
    unassessed: Sequence[str] = (),
    seconds: float = 0.0,
) -> GateReport:
    """Return the report of a gate that did its work; `passed` is its summary when nothing blocks."""
    ordered = sorted(problems, key=lambda one: (not one.blocking, not one.introduced))
    blocking = [one for one in ordered if one.blocking]
    advice = [one for one in ordered if one.introduced and not one.blocking]
    old = len(ordered) - len(blocking) - len(advice)
    if blocking:
        first = blocking[0]
        where = f" ({first.location})" if first.location is not None else ""
        more = f", and {len(blocking) - 1} more" if len(blocking) > 1 else ""
        summary = f"{first.code}: {first.message}{where}{more}."
    else:
        notes = [f"{len(advice)} for advice"] if advice else []
        notes += [f"{old} that were there before"] if old else []
        summary = passed + (f" Found besides: {', '.join(notes)}." if notes else "")
    return GateReport(
        gate=gate,
        outcome=Outcome.FAILED if blocking else Outcome.PASSED,
        summary=summary.replace("..", "."),
        problems=tuple(ordered[:MOST_PROBLEMS]),
        omitted=max(0, len(ordered) - MOST_PROBLEMS),
        engine=engine,
        isolation=isolation,
        unassessed=tuple(unassessed),
        seconds=round(seconds, 3),
    )


def not_assessed(
    gate: str,
    reason: str,
    *,
    install_command: str | None = None,
    engine: str | None = None,
    isolation: Isolation = Isolation.NOT_NEEDED,
    seconds: float = 0.0,
) -> GateReport:
    """Return the report of a gate that nobody could judge."""
    return GateReport(
        gate=gate,
        outcome=Outcome.NOT_ASSESSED,
        summary=reason,
        install_command=install_command,
        engine=engine,
        isolation=isolation,
        seconds=round(seconds, 3),
    )


def join_reports(gate: str, parts: Mapping[str, GateReport]) -> GateReport:
    """Return one report for a gate that several engines judged, each its own files; the worst outcome counts.

    What one engine could not assess is kept beside what another found.
    """
    reports = list(parts.values())
    if len(reports) == 1:
        return reports[0]
    judged = [one for one in reports if one.outcome is not Outcome.NOT_ASSESSED]
    if not judged:
        commands = [one.install_command for one in reports if one.install_command]
        summary = " ".join(f"{name}: {one.summary}" for name, one in parts.items())
        return not_assessed(gate, summary, install_command=commands[0] if commands else None)
    worst = next((one for one in judged if one.outcome is Outcome.FAILED), judged[0])
    isolations = [one.isolation for one in reports if one.isolation is not Isolation.NOT_NEEDED]
    problems = sorted(
        (p for one in reports for p in one.problems), key=lambda p: (not p.blocking, not p.introduced)
    )
    left = [
        f"{name}: {one.summary}" + (f" Install it with: {one.install_command}" if one.install_command else "")
        for name, one in parts.items()
        if one.outcome is Outcome.NOT_ASSESSED
    ]
    return GateReport(
        gate=gate,
        outcome=worst.outcome,
        summary=worst.summary,
        problems=tuple(problems[:MOST_PROBLEMS]),
        omitted=sum(one.omitted for one in reports) + max(0, len(problems) - MOST_PROBLEMS),
        engine=", ".join(one.engine for one in reports if one.engine) or None,
        isolation=isolations[0] if isolations else Isolation.NOT_NEEDED,
        unassessed=(*(note for one in reports for note in one.unassessed), *left),
        seconds=round(sum(one.seconds for one in reports), 3),
    )
