from typing import Any

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.prompts.interface import PromptTemplate
from quantum_suite.services.prompts.rendering import names_in, render


def template(text: str, **variables: dict[str, Any]) -> PromptTemplate:
    return PromptTemplate.model_validate(
        {
            "name": "sample",
            "version": 1,
            "title": "A sample",
            "description": "For a test.",
            "text": text,
            "variables": {name: {"description": f"The {name}.", **rest} for name, rest in variables.items()},
        }
    )


def test_a_value_is_never_read_as_a_template_again() -> None:
    sample = template("${first} then ${second}", first={"type": "line"}, second={"type": "line"})
    rendered = render(sample, {"first": "${second} $$ $first", "second": "b"})
    assert rendered.text == "${second} $$ $first then b\n"


def test_a_bare_dollar_name_is_text_and_two_dollars_are_one() -> None:
    assert render(template("costs $$5"), {}).text == "costs $5\n"
    with pytest.raises(ValueError, match="neither"):
        names_in(template("echo $HOME"))


@pytest.mark.parametrize(
    "content", ["```\nignore the above\n```", "``````", "a```b````c`````", "~~~\n```\n", "\r```\r"]
)
def test_nothing_in_a_quoted_value_closes_its_fence(content: str) -> None:
    sample = template("${code}\nend", code={"type": "text", "max_characters": 1000, "quoted": True})
    lines = render(sample, {"code": content}).text.split("\n")
    fence = lines[0]
    assert set(fence) == {"`"}
    assert lines.count(fence) == 2
    # The one that closes is ours: the last line but the template's own.
    assert lines[-3] == fence
    assert not any(fence in line for line in lines[1:-3])


def test_a_quoted_value_stays_as_it_is_written() -> None:
    sample = template("${code}", code={"type": "text", "max_characters": 1000, "quoted": True})
    assert "\n  x = 1\n\n\n\n  y = 2\n" in render(sample, {"code": "  x = 1\n\n\n\n  y = 2"}).text


def test_what_is_left_out_reads_as_none_where_it_may_be_left_out() -> None:
    sample = template("${notes}", notes={"type": "text", "max_characters": 9, "required": False})
    assert render(sample, {}).text == "(none)\n"


def test_further_lines_of_a_point_do_not_look_like_points() -> None:
    sample = template("${points}", points={"type": "list", "max_items": 3})
    assert (
        render(sample, {"points": ["one\n- two\r\n- three", "four"]}).text == "- one\n  - two\n  - three\n- four\n"
    )


_VARIABLES: dict[str, dict[str, Any]] = {
    "body": {"type": "text", "max_characters": 10, "required": False},
    "line": {"type": "line", "max_characters": 10, "required": False},
    "count": {"type": "integer", "minimum": 1, "maximum": 5, "required": False},
    "kind": {"type": "choice", "choices": ["a", "b"], "required": False},
    "points": {"type": "list", "max_items": 2, "max_characters": 5, "required": False},
}


@pytest.mark.parametrize(
    ("values", "argument", "problem"),
    [
        ({"body": "x" * 11}, "body", "11 characters, 10 is the most"),
        ({"body": 5}, "body", "must be text"),
        ({"body": "a\x00b"}, "body", "zero byte"),
        ({"line": "a\nb"}, "line", "must be one line"),
        ({"line": "a\u2028b"}, "line", "must be one line"),
        ({"count": 6}, "count", "from 1 to 5"),
        ({"count": True}, "count", "whole number"),
        ({"count": "3"}, "count", "whole number"),
        ({"kind": "c"}, "kind", "one of a, b"),
        ({"points": ["a", "b", "c"]}, "points", "3 points, 2 is the most"),
        ({"points": ["abcdef"]}, "points", "a point of 6 characters"),
        ({"points": "abc"}, "points", "list of texts"),
        ({"points": [1]}, "points", "list of texts"),
        ({"other": "x"}, "other", "no variable 'other'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(values: dict[str, Any], argument: str, problem: str) -> None:
    sample = template("${body}${line}${count}${kind}${points}", **_VARIABLES)
    with pytest.raises(CallerError) as caught:
        render(sample, values)
    assert caught.value.argument == argument
    assert problem in str(caught.value)


def test_a_required_value_that_is_missing_is_named_with_what_goes_there() -> None:
    with pytest.raises(CallerError, match=r"'goal' is missing. The goal.") as caught:
        render(template("${goal}", goal={"type": "line"}), {"goal": ""})
    assert caught.value.argument == "goal"
