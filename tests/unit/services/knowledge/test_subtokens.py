"""Identifiers are found by the words they are made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.services.knowledge.words.subtokens import parts_of, query_words, split_text


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("plain", ("plain",)),
        ("parseHTTPRequest", ("parsehttprequest", "parse", "http", "request")),
        ("snake_case_2", ("snake_case_2", "snake", "case", "2")),
        ("__init__", ("__init__", "init")),
        ("__", ()),
        ("utf8", ("utf8", "utf", "8")),
        ("Grüße", ("grüße",)),
    ],
)
def test_a_word_is_itself_and_its_parts(word: str, parts: tuple[str, ...]) -> None:
    assert parts_of(word) == parts


def test_a_question_is_asked_with_its_telling_words() -> None:
    assert query_words("How do I parse the HTTPRequest?") == ["parse", "httprequest", "http", "request"]
    assert query_words("what is this") == ["what", "is", "this"]
    assert query_words("?!") == []


@given(st.text(max_size=200))
def test_words_are_lower_case_and_never_empty(text: str) -> None:
    words = split_text(text).split(" ")
    assert words == [""] or all(word and word == word.lower() for word in words if word.isascii())
