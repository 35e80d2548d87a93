"""Holds the rows that are there against the journal: each one is present, lost, in doubt, or unexplained."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quantum_suite.services.recovery.interface import RowCount
from quantum_suite.services.recovery.journal import Written
from quantum_suite.services.recovery.writers import content_of

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a writer's rows are divided: what it had acknowledged at one moment, and sent at a later one."""

    acknowledged: frozenset[int]
    sent: frozenset[int]


def cut_of(journal: Mapping[int, Written]) -> dict[int, Cut]:
    """Return the cut at the end of a journal: what the first server acknowledged has to be there."""
    return {writer: Cut(written.by_first(), frozenset(written.sent)) for writer, written in journal.items()}


def cut_between(before: Mapping[int, Written], after: Mapping[int, Written]) -> dict[int, Cut]:
    """Return the cut of a point named between two readings of a journal.

    What was acknowledged before has to be there, what was not even sent afterwards must not be; the rest was under
    way, and may be either.
    """
    return {
        writer: Cut(
            frozenset(before[writer].acknowledged if writer in before else ()), frozenset(after[writer].sent)
        )
        for writer in after
    }


def count_rows(
    rows: Iterable[tuple[int, int, str]],
    cuts: Mapping[int, Cut],
    journal: Mapping[int, Written],
    disaster_at: float,
) -> RowCount:
    """Account for every row: `cuts` say what has to be there. `disaster_at` in Unix seconds."""
    found: dict[int, dict[int, str]] = {}
    for writer, number, content in rows:
        found.setdefault(writer, {})[number] = content
    must = {(writer, number) for writer, cut in cuts.items() for number in cut.acknowledged}
    may = {(writer, number) for writer, cut in cuts.items() for number in cut.sent} - must
    after = {(writer, number) for writer, written in journal.items() for number in written.by_others()}
    there = {(writer, number) for writer, numbers in found.items() for number in numbers}
    lost = sorted(must - there)
    doubtful = may - after
    oldest = min((journal[writer].acknowledged[number] for writer, number in lost), default=disaster_at)
    return RowCount(
        acknowledged=len(must),
        present=len(must & there),
        lost=len(lost),
        altered=sum(found[writer][number] != content_of(writer, number) for writer, number in there),
        in_doubt=len(doubtful),
        in_doubt_present=len(doubtful & there),
        unexpected=len(there - must - may - after),
        after=len(after),
        after_lost=len(after - there),
        lost_seconds=max(0.0, disaster_at - oldest),
        lost_rows=tuple(f"{writer}/{number}" for writer, number in lost[:_NAMED]),
    )
