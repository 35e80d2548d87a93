"""Each row is present, lost, in doubt or unexplained; the journal says which had to be there."""

from pathlib import Path

import pytest

from quantum_suite.core.errors import Damaged
from quantum_suite.services.recovery.counting import count_rows, cut_between, cut_of
from quantum_suite.services.recovery.interface import Objectives, RowCount, judge
from quantum_suite.services.recovery.journal import JournalFile, Written, read_journal
from quantum_suite.services.recovery.writers import content_of


def row(writer: int, number: int) -> tuple[int, int, str]:
    return writer, number, content_of(writer, number)


def journalled(folder: Path) -> dict[int, Written]:
    """Writer 0: rows 1 to 3 acknowledged by the first server, 4 in doubt, 5 acknowledged by the next."""
    file = JournalFile(folder, 0)
    for number in range(1, 6):
        file.sending(number)
        if number != 4:
            file.acknowledged(number, 100.0 + number, 1 if number == 5 else 0)
    file.close()
    return read_journal(folder)


def test_a_row_that_was_acknowledged_and_is_missing_is_lost(tmp_path: Path) -> None:
    journal = journalled(tmp_path)
    counted = count_rows([row(0, 1), row(0, 5)], cut_of(journal), journal, 104.5)
    assert (counted.acknowledged, counted.present, counted.lost) == (3, 1, 2)
    assert (counted.in_doubt, counted.in_doubt_present, counted.after, counted.after_lost) == (1, 0, 1, 0)
    assert counted.lost_seconds == 2.5
    assert counted.lost_rows == ("0/2", "0/3")
    assert counted.accounted


def test_a_row_in_doubt_may_be_there(tmp_path: Path) -> None:
    journal = journalled(tmp_path)
    counted = count_rows([row(0, n) for n in range(1, 6)], cut_of(journal), journal, 104.5)
    assert (counted.lost, counted.in_doubt_present, counted.unexpected, counted.accounted) == (0, 1, 0, True)


def test_rows_nobody_sent_and_rows_that_changed_are_told(tmp_path: Path) -> None:
    journal = journalled(tmp_path)
    found = [row(0, 1), row(0, 2), (0, 3, "something else"), row(0, 9), row(7, 1)]
    counted = count_rows(found, cut_of(journal), journal, 104.5)
    assert (counted.altered, counted.unexpected, counted.after_lost) == (1, 2, 1)
    assert not counted.accounted


def test_what_was_sent_after_the_point_must_not_be_there(tmp_path: Path) -> None:
    before = {0: Written([1, 2, 3], {1: 1.0, 2: 2.0}, {1: 0, 2: 0})}
    after = {0: Written([1, 2, 3, 4], {1: 1.0, 2: 2.0, 3: 3.0}, {1: 0, 2: 0, 3: 0})}
    journal = {0: Written([1, 2, 3, 4, 5], {n: float(n) for n in range(1, 6)}, dict.fromkeys(range(1, 6), 0))}
    cuts = cut_between(before, after)
    exact = count_rows([row(0, n) for n in (1, 2, 4)], cuts, journal, 9.0)
    assert (exact.acknowledged, exact.lost, exact.in_doubt, exact.in_doubt_present, exact.unexpected) == (
        2,
        0,
        2,
        1,
        0,
    )
    assert count_rows([row(0, n) for n in (1, 2, 5)], cuts, journal, 9.0).unexpected == 1


def test_a_line_that_is_being_written_does_not_count_yet(tmp_path: Path) -> None:
    (tmp_path / "writer-3.journal").write_text("s 1\na 1 5.0 0\ns 2\na 2 6.")
    assert read_journal(tmp_path) == {3: Written([1, 2], {1: 5.0}, {1: 0})}


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "writer-3.journal").write_text("s 1\nhello\n")
    with pytest.raises(Damaged, match=r"writer-3\.journal, line 2"):
        read_journal(tmp_path)


def counted_with(**values: float) -> RowCount:
    base = dict.fromkeys(RowCount.model_fields, 0) | {"lost_rows": (), "acknowledged": 10, "present": 10}
    return RowCount.model_validate(base | values)


def test_objectives_are_met_or_missed_by_how_much() -> None:
    rows = counted_with(present=8, lost=2, lost_seconds=1.5)
    state, verdicts = judge(Objectives(rto_seconds=5, rpo_rows=0, rpo_seconds=2), 3.0, rows)
    assert state == "missed"
    assert [(one.objective, one.met, one.by) for one in verdicts] == [
        ("rto_seconds", True, 2.0),
        ("rpo_seconds", True, 0.5),
        ("rpo_rows", False, 2.0),
        ("rows_accounted_for", True, 0.0),
    ]
    assert judge(Objectives(rto_seconds=5), 3.0, rows)[0] == "met"
    assert judge(Objectives(), 3.0, rows)[0] == "measured"


def test_rows_nobody_can_explain_miss_any_objective() -> None:
    assert judge(Objectives(), 1.0, counted_with(unexpected=1))[0] == "missed"
    assert judge(Objectives(rto_seconds=9), 1.0, counted_with(altered=1))[0] == "missed"
