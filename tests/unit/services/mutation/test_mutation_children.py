"""Who judges mutants: forked children and their places, and whether it pays to look at several in one."""

import doctest
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from quantum_suite.services.mutation.driver.children import Children, Note
from quantum_suite.services.mutation.driver.running import names_kept
from quantum_suite.services.mutation.driver.strands import Record, Seen


def waits(_: Note) -> None:
    time.sleep(60)


def works(_: Note) -> None:
    while True:
        pass


@pytest.mark.parametrize(("places", "works_beside"), [(2, True), (1, False)])
def test_who_only_waits_lends_its_place_and_who_works_does_not(
    tmp_path: Path, places: int, works_beside: bool
) -> None:
    children = Children(places, 1 << 31, 8, str(tmp_path), [])
    try:
        children.start("waits", waits, 60.0)
        if works_beside:
            children.start("works", works, 60.0)
        assert not children.has_place
        until = time.monotonic() + 20.0
        # One place is one child at a time: its files are the project's.
        while not children.has_place and places > 1 and time.monotonic() < until:
            assert list(children.wait()) == []
        looked = time.monotonic() + (0.0 if places > 1 else 1.0)
        while time.monotonic() < looked:
            assert list(children.wait()) == []
        assert children.has_place is (places > 1)
        assert [child.subject for child in children.running if child.waits][:1] == ["waits"]
        assert not any(child.waits for child in children.running if child.subject == "works")
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
