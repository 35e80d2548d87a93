"""A tool's questions are put line by line, checked, and can be declined or left."""

import io
from contextlib import nullcontext
from typing import Any, cast

import pytest
from mcp.client.session import ClientRequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestURLParams, ElicitResult

from quantum_suite.hub.cli.forms import TerminalForms, parse_answer

pytestmark = pytest.mark.anyio

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Who is it?", "minLength": 2},
        "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 30},
        "colour": {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]},
        "sure": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["name", "colour", "sure"],
}


async def ask(monkeypatch: pytest.MonkeyPatch, *lines: str, schema: dict[str, Any] = SCHEMA) -> ElicitResult:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    params = ElicitRequestFormParams(message="Tell me", requested_schema=schema)
    result = await TerminalForms(nullcontext)(cast(ClientRequestContext, None), params)
    assert isinstance(result, ElicitResult)
    return result


async def test_answers_come_back_with_the_types_of_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    result = await ask(monkeypatch, "", "Ann", "", "green", "yes", "")
    assert result.action == "accept"
    assert result.content == {"name": "Ann", "age": 30, "colour": "g", "sure": True}


async def test_a_wrong_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await ask(monkeypatch, "y", "A", "Ann", "200", "x", "40", "blue", "Red", "maybe", "no", "hi")
    assert result.content == {"name": "Ann", "age": 40, "colour": "r", "sure": False, "note": "hi"}
    said = capsys.readouterr()
    assert said.out == ""
    for why in ("characters", "between 0 and 150", "whole number", "one of r, g", "yes or no"):
        assert why in said.err


async def test_a_question_can_be_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await ask(monkeypatch, "n")).action == "decline"


async def test_the_end_of_input_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await ask(monkeypatch, "y", "Ann")).action == "cancel"
    assert (await ask(monkeypatch)).action == "cancel"


async def test_a_link_is_shown_and_never_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = ElicitRequestURLParams(message="Sign in", url="https://example.org/x", elicitation_id="1")
    for line, action in (("y", "accept"), ("", "decline")):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\n"))
        result = await TerminalForms(nullcontext)(cast(ClientRequestContext, None), params)
        assert isinstance(result, ElicitResult)
        assert (result.action, result.content) == (action, None)
    assert "https://example.org/x" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("a, c", {"type": "array", "items": {"type": "string", "enum": ["a", "b", "c"]}}, ["a", "c"]),
        ("First", {"type": "array", "items": {"anyOf": [{"const": "1", "title": "First"}]}}, ["1"]),
        ("One", {"type": "string", "enum": ["1", "2"], "enumNames": ["One", "Two"]}, "1"),
        ("2.5", {"type": "number"}, 2.5),
        ("0", {"type": "boolean"}, False),
    ],
)
def test_every_form_of_choice_is_read(text: str, field: dict[str, Any], value: Any) -> None:
    assert parse_answer(text, field) == value
