"""Who judges mutants: forked children and their places, and whether it pays to look at several in one."""

import doctest
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from quantum_suite.services.mutation.driver.children import Children, Note
from quantum_suite.services.mutation.driver.running import names_kept
from quantum_suite.services.mutation.driver.strands import Record, Seen


def waits(_: Note) -> None:
    time.sleep(60)


def works(_: Note) -> None:
    while True:
        pass


def looked_at(children: Children, until: Callable[[], bool]) -> bool:
    """Whether it comes about within some looks at the children, none of whom ends."""
    deadline = time.monotonic() + 20.0
    while not until() and time.monotonic() < deadline:
        assert list(children.wait()) == []
    return until()


def test_who_only_waits_lends_its_place_and_who_works_does_not(tmp_path: Path) -> None:
    children = Children(2, 1 << 31, 8, str(tmp_path), [])
    try:
        children.start("waits", waits, 60.0)
        children.start("works", works, 60.0)
        waiting, working = children.running
        assert not children.has_place
        assert looked_at(children, lambda: waiting.waits and children.has_place)
        # A machine that is too busy may let it wait for a while.
        assert looked_at(children, lambda: working.used > 0 and not working.waits)
    finally:
        children.end()


def test_where_only_one_may_run_nobody_lends_its_place(tmp_path: Path) -> None:
    children = Children(1, 1 << 31, 8, str(tmp_path), [])
    try:
        children.start("waits", waits, 60.0)
        (waiting,) = children.running
        assert looked_at(children, lambda: waiting.waits)
        assert not children.has_place
    finally:
        children.end()


def test_strands_are_given_up_where_too_much_is_left_behind() -> None:
    good, bad = Record(), Record()
    assert all(good.note([Seen.KILLED] * 9 + [Seen.UNPROVEN]) for _ in range(10))
    assert bad.note([Seen.UNPROVEN] * 5)  # Few say little.
    assert not bad.note([Seen.KILLED] * 10 + [Seen.UNDER_WAY] * 10)


def test_a_doctest_can_be_run_again() -> None:
    source = ">>> n = value + 1\n>>> n\n3\n"
    item = SimpleNamespace(dtest=doctest.DocTestParser().get_doctest(source, {"value": 2}, "again", None, None))
    for _ in range(2):
        with names_kept(item):
            assert doctest.DocTestRunner().run(item.dtest).failed == 0
    assert item.dtest.globs == {"value": 2}
