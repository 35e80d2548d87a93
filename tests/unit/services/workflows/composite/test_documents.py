"""YAML from strangers."""

import pytest

from quantum_suite.services.workflows.composite.documents import MAX_CHARACTERS, read_document
from quantum_suite.services.workflows.composite.problems import InvalidDefinition
from quantum_suite.services.yaml_nodes import Node

LAUGHS = "a: &a [lol, lol]\nb: &b [*a, *a]\nc: [*b, *b]\n"


def test_values_know_their_place() -> None:
    node = read_document("name: x\nsteps:\n  - call: a\n    with: {path: 'src'}\n")
    path = node.value["steps"].value[0].value["with"].value["path"]
    assert (path.value, path.path, path.line, path.column) == ("src", "steps[0].with.path", 4, 18)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("yes", "yes"),
        ("on", "on"),
        ("012", 12),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 30, "9" * 30),
        ("{a: [1, {b: null}]}", {"a": [1, {"b": None}]}),
    ],
)
def test_scalars_mean_what_yaml_1_2s_core_schema_says(text: str, value: object) -> None:
    assert read_document(text).plain() == value


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (LAUGHS, 1, 4, "Anchors and aliases"),
        ("a: 1\n<<: *b", 2, 5, "Anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]", 1, 4, "The tag"),
        ("a: !!binary aGk=", 1, 4, "The tag"),
        ("a: 1\na: 2", 2, 1, "given twice"),
        ("{1: 2}", 1, 2, "A key must be text"),
        ("? [a]\n: b", 1, 3, "A key must be text"),
        ("a: 1\n---\nb: 2", 2, 1, "A second document"),
        ("", 1, 1, "empty"),
        ("a: [1", 2, 1, "This is no YAML"),
        ("a: '", 1, 4, "This is no YAML"),
        ("\tx: 1", 1, 1, "This is no YAML"),
        ("a: \x07", 1, 1, "This is no YAML"),
        ("[" * 60_000, 1, 25, "nested too deeply"),
        ("{a: " * 15_000, 1, 94, "nested too deeply"),
        ("- " * 30_000, 1, 49, "nested too deeply"),
        ("? " * 30_000, 1, 49, "nested too deeply"),
        ("x" * (MAX_CHARACTERS + 1), 1, 1, "characters"),
        ("[" + "1," * 30_000 + "1]", 1, 10000, "too many values"),
        ("{" + ",".join(f"a{n}: 1" for n in range(5_000)) + "}", 1, 20390, "too many values"),
        ("%YAML 9.9\n---\na: 1", 1, 1, ""),
    ],
)
def test_a_text_that_would_mean_more_than_it_shows_is_refused_at_its_place(
    text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read_document(text)
    (problem,) = refused.value.problems
    assert message in problem.message
    if message not in ("too many values", "This is no YAML", ""):
        assert (problem.line, problem.column) == (line, column)


def test_a_node_without_places_is_plain_json() -> None:
    assert Node([Node(1, "[0]", 1, 1)], "", 1, 1).plain() == [1]
