"""JSON with comments is read with positions, and edited without touching anything else."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.hub.jsonc import JsoncError, append_item, parse, remove_member, set_member

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

COMMENTED = """\
// my servers
{
    "theme": "dark", // keep
    "mcpServers": {
        /* the clock */
        "time": {"command": "mcp-server-time"}, // trailing, comma too
    },
}
"""


@given(JSON, st.sampled_from([None, 2]))
def test_whatever_json_writes_is_read_back_the_same(value: Any, indent: int | None) -> None:
    assert parse(json.dumps(value, indent=indent)).plain() == value


def test_comments_and_trailing_commas_are_read_over() -> None:
    assert parse(COMMENTED).plain() == {
        "theme": "dark",
        "mcpServers": {"time": {"command": "mcp-server-time"}},
    }


def test_a_comment_sign_inside_a_string_is_no_comment() -> None:
    assert parse('{"url": "http://a/*b*/"}').plain() == {"url": "http://a/*b*/"}


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ('{\n  "a" 1\n}', 2, 7, '":"'),
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3, '","'),
        ('{"a": tru}', 1, 7, "value is expected"),
        ('{"a": "x\n"}', 1, 7, "not closed"),
        ("{'a': 1}", 1, 2, "double quotes"),
        ('{"a": 1, "a": 2}', 1, 10, "twice"),
        ('{"a": 1} x', 1, 10, "nothing more"),
        ("/* open", 1, 1, "not closed"),
        ("", 1, 1, "ends"),
        ("[" * 200, 1, 102, "nested"),
    ],
)
def test_an_error_says_what_is_wrong_and_where(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(JsoncError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert says in caught.value.problem


def test_a_member_is_added_beside_the_others_with_their_indentation() -> None:
    edited = set_member(COMMENTED, ("mcpServers", "quantum"), {"command": "quantum"})
    assert edited == COMMENTED.replace(
        "// trailing, comma too\n",
        '// trailing, comma too\n        "quantum": {\n            "command": "quantum"\n        }\n',
    )


def test_a_comma_is_added_where_the_last_member_has_none() -> None:
    text = '{\n\t"a": 1 // one\n}\n'
    assert set_member(text, ("b",), 2) == '{\n\t"a": 1, // one\n\t"b": 2\n}\n'


def test_a_member_on_one_line_stays_on_one_line() -> None:
    assert set_member('{"a": 1}', ("b",), [2]) == '{"a": 1, "b": [2]}'


def test_objects_on_the_way_are_made() -> None:
    assert parse(set_member("", ("a", "b", "c"), 1)).plain() == {"a": {"b": {"c": 1}}}


def test_an_empty_object_keeps_its_comment() -> None:
    assert set_member("{ // none yet\n}", ("a",), 1) == '{ // none yet\n  "a": 1\n}'


def test_a_value_is_replaced_in_place() -> None:
    assert set_member('{"a": 1, /* two */ "b": 2}', ("a",), "x") == '{"a": "x", /* two */ "b": 2}'


def test_something_else_on_the_way_is_named() -> None:
    with pytest.raises(TypeError, match=r"a\.b is no object"):
        set_member('{"a": {"b": 1}}', ("a", "b", "c"), 2)


def test_an_item_is_appended_to_an_array() -> None:
    text = '{\n  "inputs": [\n    {"id": "x"} // first\n  ]\n}'
    edited = append_item(text, ("inputs",), {"id": "y"})
    assert parse(edited).plain() == {"inputs": [{"id": "x"}, {"id": "y"}]}
    assert "// first" in edited
    assert parse(append_item("", ("inputs",), 1)).plain() == {"inputs": [1]}


NAMES = st.text("abc", min_size=1, max_size=2)


@given(st.dictionaries(NAMES, JSON, max_size=4), NAMES, JSON, st.sampled_from([None, 2, "\t"]))
def test_setting_and_removing_touch_one_member_only(
    members: dict[str, Any], name: str, value: Any, indent: int | str | None
) -> None:
    text = json.dumps({"outer": members, "last": [1]}, indent=indent)
    edited = set_member(text, ("outer", name), value)
    assert parse(edited).plain() == {"outer": {**members, name: value}, "last": [1]}
    removed = remove_member(edited, ("outer", name))
    assert parse(removed).plain()["outer"] == {k: v for k, v in members.items() if k != name}
    assert parse(removed).plain()["last"] == [1]
    if name not in members and members:
        assert re.sub(r",(?=\s*})", "", removed) == text


def test_removing_the_last_member_leaves_the_comments() -> None:
    text = '{\n  "a": 1, // one\n  // two\n  "b": 2\n}\n'
    assert remove_member(text, ("b",)) == '{\n  "a": 1 // one\n  // two\n}\n'


def test_removing_what_is_not_there_changes_nothing() -> None:
    assert remove_member(COMMENTED, ("servers", "x")) == COMMENTED
    assert remove_member(COMMENTED, ("mcpServers", "x")) == COMMENTED
