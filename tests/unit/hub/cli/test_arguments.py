"""key=value becomes what the tool's schema asks for, and a mistake is told with what would be right."""

from typing import Any

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.hub.cli.arguments import build_arguments, parameters

SCHEMA: dict[str, Any] = {
    "type": "object",
    "$defs": {"Severity": {"type": "string", "enum": ["low", "high"]}},
    "properties": {
        "path": {"type": "string", "description": "What to scan.\nMore."},
        "count": {"type": "integer", "default": 3},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "severity": {"anyOf": [{"$ref": "#/$defs/Severity"}, {"type": "null"}]},
        "paths": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        "kinds": {"anyOf": [{"type": "array", "items": {"enum": ["a", "b"], "type": "string"}}, {"type": "null"}]},
        "levels": {"type": "array", "items": {"type": "integer"}},
        "options": {"type": "object"},
        "open": {},
    },
    "required": ["path"],
    "additionalProperties": False,
}


def build(*pairs: str, args: str | None = None) -> dict[str, Any]:
    return build_arguments("scan", SCHEMA, pairs, args)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("path=12", "12"),
        ("path=a=b", "a=b"),
        ("path=", ""),
        ("count=12", 12),
        ("ratio=2", 2),
        ("ratio=2.5", 2.5),
        ("deep=true", True),
        ("severity=high", "high"),
        ("severity=null", None),
        ("paths=a, b", ["a", "b"]),
        ("paths=1", ["1"]),
        ('paths=["a,b"]', ["a,b"]),
        ("kinds=a,b", ["a", "b"]),
        ("paths=null", None),
        ("levels=1,2", [1, 2]),
        ('options={"a": 1}', {"a": 1}),
        ("open=1", 1),
        ("open=word", "word"),
    ],
)
def test_a_value_is_read_by_its_schema(pair: str, value: Any) -> None:
    name = pair.split("=")[0]
    given = build(pair) if name == "path" else build("path=x", pair)
    assert given[name] == value
    assert type(given[name]) is type(value)


def test_a_key_given_twice_makes_a_list() -> None:
    assert build("path=x", "paths=a,b", "paths=c")["paths"] == ["a,b", "c"]


def test_the_object_form_is_taken_as_it_is() -> None:
    assert build("deep=false", args='{"path": "x", "count": 1}') == {"path": "x", "count": 1, "deep": False}


@pytest.mark.parametrize(
    ("pairs", "argument", "says"),
    [
        (["path=x", "cuont=1"], "cuont", "Did you mean count?"),
        (["path=x", "zzz=1"], "zzz", "It takes path, count"),
        ([], "path", "path=string: What to scan"),
        (["path=x", "count=many"], "count", "'many' is string. Expected count=integer"),
        (["path=x", "count=1.5"], "count", "Expected count=integer"),
        (["path=x", "deep=yes"], "deep", "Expected deep=boolean"),
        (["path=x", "severity=medium"], "severity", "Expected severity=low | high"),
        (["path=x", "levels=1,b"], "levels", "Expected levels=list of integer"),
        (["path=x", "levels=[1"], "levels", "not JSON"),
        (["path=x", "kinds=a,c"], "kinds", "'c' is none of them"),
        (["path=x", "kinds=c", "kinds=a"], "kinds", "Expected kinds=list of a | b"),
        (["path=x", "path=y"], "path", "given 2 times"),
        (["path"], "path", "Write KEY=VALUE"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(pairs: list[str], argument: str, says: str) -> None:
    with pytest.raises(CallerError) as caught:
        build(*pairs)
    assert caught.value.argument == argument
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [("{", "no JSON"), ("[]", "no JSON object")])
def test_the_object_form_has_to_be_an_object(text: str, says: str) -> None:
    with pytest.raises(CallerError, match=says):
        build(args=text)


def test_an_argument_given_both_ways_is_refused() -> None:
    with pytest.raises(CallerError, match="in --args already"):
        build("path=x", args='{"path": "y"}')


def test_a_tool_without_declared_arguments_takes_any() -> None:
    assert build_arguments("t", {"type": "object"}, ["a=1"], None) == {"a": 1}
    with pytest.raises(CallerError, match="It takes no arguments"):
        build_arguments("t", {"type": "object", "properties": {}, "additionalProperties": False}, ["a=1"], None)


def test_required_arguments_are_listed_first() -> None:
    schema = {"properties": {"a": {}, "b": {"type": "string"}}, "required": ["b"]}
    assert [parameter.name for parameter in parameters(schema)] == ["b", "a"]


def test_a_schema_that_refers_to_itself_is_no_trap() -> None:
    schema = {"properties": {"a": {"$ref": "#/properties/a"}}}
    assert build_arguments("t", schema, ["a=1"], None) == {"a": 1}
