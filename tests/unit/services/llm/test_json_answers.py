"""JSON as models write it: read, mended, checked, and refused where it is no answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.core.errors import CallerError
from quantum_suite.services.llm.interface import Message, ModelRequest
from quantum_suite.services.llm.json_repair import CUT, UNCLOSED, NoJson, read_json
from quantum_suite.services.llm.schema_output import AnswerSchema, NotAccepted, asked_again

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.lists(JSON, max_size=4) | st.dictionaries(st.text(max_size=6), JSON, max_size=4)
WORDS = st.text(st.characters(blacklist_characters="{}[]`\"'/#"), max_size=20)


def same(value: Any) -> Any:
    return value


@given(DOCUMENTS, WORDS, WORDS, st.booleans())
def test_json_with_words_and_a_fence_around_it_is_read_as_it_is(
    value: Any, before: str, after: str, fence: bool
) -> None:
    text = json.dumps(value, ensure_ascii=False)
    wrapped = f"{before}\n```json\n{text}\n```\n{after}" if fence else f"{before}{text}{after}"
    assert read_json(wrapped)[0] == value


@given(DOCUMENTS, st.data())
def test_json_that_is_cut_anywhere_is_refused_or_keeps_only_what_was_there(
    value: Any, data: st.DataObject
) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text)))]
    try:
        found, _ = read_json(cut)
    except NoJson:
        return
    assert within(found, value)


def within(part: Any, whole: Any) -> bool:
    """Whether nothing is in `part` that is not in `whole`."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and within(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(within(one, other) for one, other in zip(part, whole, strict=False))
    return bool(part == whole or part is whole)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found, _ = read_json(text)
    except NoJson:
        return
    json.dumps(found)


@pytest.mark.parametrize(
    ("text", "value", "repairs"),
    [
        ('{"a": 1}', {"a": 1}, ()),
        ('{"a": [1, 2,],}', {"a": [1, 2]}, ("trailing commas",)),
        ("{'a': 'it\\'s \"so\"', 'b': None}", {"a": 'it\'s "so"', "b": None}, ("single quotes", "Python words")),
        ('{"a": True} Enjoy!', {"a": True}, ("Python words", "words after")),
        ('{"a": "x\ny"}', {"a": "x\ny"}, ("line breaks in strings",)),
        ('{"a": 1 // one\n, /* two */ "b": 2}', {"a": 1, "b": 2}, ("comments",)),
        ('{"a": "x", "b": "y', {"a": "x"}, (CUT,)),
        ('{"a": "x", "b": 12', {"a": "x"}, (CUT,)),
        ('{"a": ["x", "y"', {"a": ["x", "y"]}, (UNCLOSED,)),
        ('{"a": "x"', {"a": "x"}, (UNCLOSED,)),
        ('Sure: ```json\n{"a": 1}\n``` Done.', {"a": 1}, ("code fence",)),
        ('{"code": "```js\\nf({})\\n```",}', {"code": "```js\nf({})\n```"}, ("trailing commas",)),
    ],
)
def test_what_was_mended_is_told(text: str, value: Any, repairs: tuple[str, ...]) -> None:
    assert read_json(text) == (value, repairs)


@pytest.mark.parametrize(
    "text", ["", "no JSON", '{"a": NaN}', "{a: 1}", "[" * 100_000, "x" * (2 * 1024 * 1024 + 1)]
)
def test_what_is_no_json_says_so(text: str) -> None:
    with pytest.raises(NoJson):
        read_json(text)


NAMED = AnswerSchema(
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}, "required": ["name"]}
)


def test_an_answer_is_checked_with_the_values_put_back() -> None:
    accepted = NAMED.accept(
        '```\n{"name": "[X]"}\n```', "stop", lambda value: {"name": value["name"].replace("[X]", "ann")}
    )
    assert accepted.data == {"name": "ann"}
    assert accepted.repairs == ("code fence",)
    with pytest.raises(NotAccepted, match=r"\$\.name: 'Anna' is too long"):
        NAMED.accept('{"name": "Anna"}', "stop", same)
    with pytest.raises(NotAccepted, match="not JSON"):
        NAMED.accept("Anna", "stop", same)


def test_an_answer_the_length_cut_off_is_not_taken_for_whole() -> None:
    assert NAMED.accept('{"name": "ann", "more": "an', "stop", same).data == {"name": "ann"}
    with pytest.raises(NotAccepted, match="cut off"):
        NAMED.accept('{"name": "ann", "more": "an', "length", same)
    with pytest.raises(NotAccepted, match="cut off"):
        NAMED.accept('{"name": "ann"', "length", same)
    assert NAMED.accept('{"name": "ann"} and', "length", same).data == {"name": "ann"}


def test_what_was_wrong_is_said_in_the_next_round_with_the_schema_in_words() -> None:
    request = ModelRequest((Message("user", "?"),), output_schema={"type": "array"})
    again = asked_again(request, "no", "The answer is not JSON.")
    assert [turn.role for turn in again.messages] == ["user", "assistant", "user"]
    assert '{"type": "array"}' in again.messages[-1].text
    assert asked_again(request, "", "?").messages[1].text == "(nothing)"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such"},
        {"properties": {"a": {"pattern": "("}}},
        {"patternProperties": {"(?=a)b": {}}},
        {"patternProperties": {"a": {}}, "unevaluatedProperties": False},
    ],
)
def test_a_schema_that_is_none_is_refused_beforehand(schema: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as refused:
        AnswerSchema(schema)
    assert refused.value.argument == "output_schema"


def test_a_reference_to_elsewhere_is_refused_and_never_fetched() -> None:
    schema = AnswerSchema({"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(CallerError, match="output schema is none"):
        schema.accept("{}", "stop", same)


def test_patterns_are_checked_in_linear_time_and_as_names_too() -> None:
    schema = AnswerSchema(
        {
            "patternProperties": {"^n_": {"type": "integer"}},
            "additionalProperties": {"type": "string", "pattern": "^(a+)+$"},
        }
    )
    schema.accept('{"n_1": 1, "x": "aaa"}', "stop", same)
    with pytest.raises(NotAccepted, match="does not match"):
        schema.accept(json.dumps({"x": "a" * 5000 + "!"}), "stop", same)
    with pytest.raises(NotAccepted, match="not of type 'integer'"):
        schema.accept('{"n_1": "1"}', "stop", same)
    closed = AnswerSchema({"properties": {"a": {}}, "additionalProperties": False})
    with pytest.raises(NotAccepted, match="'b' is not a property"):
        closed.accept('{"a": 1, "b": 2}', "stop", same)


def test_a_schema_that_would_take_for_ever_is_given_up() -> None:
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    schema = AnswerSchema({"$defs": {**levels, "l40": {"type": "object"}}, "$ref": "#/$defs/l0"})
    with pytest.raises(CallerError, match="takes more than"):
        schema.accept("{}", "stop", same)


def test_a_schema_without_an_end_and_an_answer_too_deep_are_refused() -> None:
    with pytest.raises((NotAccepted, CallerError)):
        AnswerSchema({"$ref": "#"}).accept("{}", "stop", same)
    with pytest.raises(NotAccepted):
        AnswerSchema({"items": {"$ref": "#"}}).accept("[" * 900 + "]" * 900, "stop", same)
