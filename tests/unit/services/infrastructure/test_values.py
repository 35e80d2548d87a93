"""Property values: secrets, unknowns, paths, and what differs."""

import pytest

from quantum_suite.services.infrastructure.values import (
    UNKNOWN_VALUE,
    absent,
    covers,
    differing_paths,
    has_unknown,
    marked_like,
    matches_planned,
    plain,
    secret,
    secrets_of,
    shown,
    with_kept,
)


def test_marks_go_and_come_back_where_they_were() -> None:
    value = {"a": secret("x"), "b": [secret({"c": 1}), 2], "d": {"e": None}}
    assert plain(value) == {"a": "x", "b": [{"c": 1}, 2], "d": {"e": None}}
    assert marked_like(plain(value), value) == value
    assert sorted(secrets_of(value)) == ["1", "x"]
    assert secret(secret("x")) == secret("x")


def test_what_is_shown_has_no_secrets_no_internals_and_an_end() -> None:
    value = {"a": secret("x"), "b": UNKNOWN_VALUE, "__provider": "code", "c": "y" * 5_000, "d": [secret(1)]}
    seen = shown(value, "[s]", "[u]")
    assert seen["a"] == "[s]"
    assert seen["b"] == "[u]"
    assert seen["d"] == ["[s]"]
    assert "__provider" not in seen
    assert seen["c"].endswith("(5000 characters)")


def test_differences_are_told_by_path() -> None:
    old = {"a": 1, "b": {"c": [1, 2]}, "gone": 1, "s": secret("x")}
    new = {"a": 1, "b": {"c": [1, 3, 4]}, "n w": 2, "s": secret("y")}
    told = {path: (absent(before), absent(after)) for path, before, after in differing_paths(old, new)}
    assert told == {
        "b.c[1]": (False, False),
        "b.c[2]": (True, False),
        "gone": (False, True),
        '["n w"]': (True, False),
        "s": (False, False),
    }
    assert list(differing_paths({"s": secret("x")}, {"s": "x"})) == []


@pytest.mark.parametrize(
    ("pattern", "path", "yes"),
    [
        ("tags", "tags.owner", True),
        ("tags.owner", "tags", False),
        ("rules[*].port", "rules[3].port", True),
        ("rules[*].port", "rules[3].name", False),
        ("*", "anything[1]", True),
        ('a["b c"]', 'a["b c"].d', True),
    ],
)
def test_paths_cover_what_lies_below_them(pattern: str, path: str, yes: bool) -> None:
    assert covers(pattern, path) is yes


def test_ignored_properties_keep_their_old_values() -> None:
    old = {"tags": {"x": 1, "y": 1}, "rules": [{"p": 1}, {"p": 2}], "only_old": 1}
    new = {"tags": {"x": 2, "y": 2}, "rules": [{"p": 9}, {"p": 9}], "only_new": 1}
    kept = with_kept(new, old, ("tags.x", "rules[*].p", "only_old", "only_new"))
    assert kept == {"tags": {"x": 1, "y": 2}, "rules": [{"p": 1}, {"p": 2}], "only_old": 1}
    assert with_kept(new, old, ("*",)) == old


def test_what_was_unknown_when_planned_may_be_anything() -> None:
    planned = {"a": UNKNOWN_VALUE, "b": [1, UNKNOWN_VALUE]}
    assert has_unknown(planned)
    assert matches_planned(planned, {"a": {"x": 1}, "b": [1, 2]})
    assert not matches_planned(planned, {"a": 1, "b": [2, 2]})
    assert not matches_planned(planned, {"a": 1, "b": [1, 2], "c": 3})
    assert not matches_planned({"a": [1]}, {"a": [1, 2]})
