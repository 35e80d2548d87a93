"""YAML of SLO files: places, several documents, and what is refused."""

import pytest

from quantum_suite.services.slo.documents import MAX_DEPTH, read_documents
from quantum_suite.services.slo.interface import InvalidSlo


def problem_of(text: str) -> str:
    with pytest.raises(InvalidSlo) as caught:
        read_documents(text, "a.yaml")
    (problem,) = caught.value.problems
    return str(problem)


def test_values_know_their_path_and_line() -> None:
    (document,) = read_documents("a:\n  b:\n    - 1\n    - {c: two}\n", "a.yaml")
    second = document.value["a"].value["b"].value[1].value["c"]
    assert (second.value, second.path, second.line) == ("two", "a.b[1].c", 4)


def test_documents_that_are_empty_do_not_count() -> None:
    found = read_documents("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n", "a.yaml")
    assert [list(document.value) for document in found] == [["a"], ["b"]]
    assert read_documents("", "a.yaml") == []


def test_scalars_are_those_of_yaml_1_2() -> None:
    (document,) = read_documents('a: [1, -2.5, 1e3, true, ~, yes, 1:30, "3", 2026-01-01 00:00:00]', "a.yaml")
    values = [node.value for node in document.value["a"].value]
    assert values == [1, -2.5, 1000.0, True, None, "yes", "1:30", "3", "2026-01-01 00:00:00"]


def test_an_alias_stands_for_its_value() -> None:
    (document,) = read_documents("a: &x {team: one}\nb: *x\n", "a.yaml")
    assert document.value["b"].value["team"].value == "one"
    assert document.value["b"].path == "b"


def test_a_bomb_of_aliases_is_refused_where_it_grows_too_large() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert problem_of("\n".join(lines)) == ("a.yaml:5: a4[0]: There are too many values. 20000 is the most.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "a.yaml:1: This is no YAML"),
        ("a: 1\na: 2", "a.yaml:2: a: This key is given twice."),
        ("a: *x", "a.yaml:1: a: The alias *x stands for nothing above it."),
        ("a: &x [*x]", "a.yaml:1: a[0]: The alias *x stands for nothing above it."),
        ("a: !!python/object:os.system x", "a.yaml:1: a: The tag tag:yaml.org,2002:python/object:os.system"),
        ("[1]: 2", "a.yaml:1: A key must be text."),
        ("[" * 100 + "]" * 100, f"This is nested too deeply. {MAX_DEPTH} levels is the most."),
        ("a: " + "x" * 600_000, "a.yaml:1: The text has 600003 characters."),
        ("a: \0", "a.yaml:1: This is no YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text: str, said: str) -> None:
    assert said in problem_of(text)
