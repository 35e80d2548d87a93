"""Queries are checked before they are sent, and what is wrong is shown where it is."""

import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics import promql
from quantum_suite.services.metrics.promql import check_query, parse_query, place_of_refusal
from quantum_suite.services.metrics.promql_tokens import tokens_of

SIGNS = st.sampled_from(
    [*"+-*/%^()[]{},=<>!~@\"'`#: \n\\$", "x", "rate", "sum", "by", "5m", "1", "offset", "bool", "é"]
)


@pytest.mark.parametrize(
    ("query", "place", "told"),
    [
        ("rate(x[5m]", 4, "Unclosed left parenthesis"),
        ("sum by (job (x)", 7, "Unclosed left parenthesis"),
        ("1 + rate(x)", 4, "Expected type matrix in call to function 'rate', got vector"),
        ("sum(rate(x))", 4, "Expected type matrix"),
        ('foo{a="b"', 3, "Unexpected end of input inside braces"),
        ("1 +", 3, "Something is missing at the end"),
        ("x[5m] offset", 6, "Unexpected end of input in offset"),
        ("1 + histogram_quantile(0.9)", 4, "Expected 2 argument"),
        ('x + {a=""}', 4, "Vector selector must contain"),
        ("1 + nosuch(x)", 4, "Unknown function"),
        ("sum(x) y", 7, "This does not belong here"),
        ("x + y[5x]", 6, "Bad number or duration syntax"),
        ("sum(é)", 4, "Unexpected character"),
        ("x=1", 1, "This does not belong here"),
        ("avg_over_time(x[5m]))", 20, "Unexpected right parenthesis"),
        ('x{a="b"}}', 8, "Unexpected right brace"),
        ("foo bar", 4, "This does not belong here"),
        ("sum(x) by (a) by (b)", 14, "This does not belong here"),
        ("sum by (job) rate(x[5m])", 13, "This does not belong here"),
        ("and x", 0, "This does not belong here"),
        ("a or b unless", 13, "Something is missing at the end"),
        ("x + on(a) group_left() y z", 25, "This does not belong here"),
        ("x @ start() foo", 12, "This does not belong here"),
        ("rate(x[$__rate_interval])", 7, "Unexpected character inside brackets"),
        ("x offset 5m[5m]", 14, "No offset modifiers allowed before range"),
        ("topk(x)", 0, "Wrong number of arguments"),
    ],
)
def test_a_mistake_is_shown_with_a_caret_below_it(query: str, place: int, told: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_query(query)
    first, line, caret = str(caught.value).split("\n")
    assert first.startswith(told)
    assert f"line 1, column {place + 1}" in first
    assert line == f"  {query}"
    assert caret == "  " + " " * place + "^"


def test_in_a_query_of_several_lines_the_line_is_shown() -> None:
    with pytest.raises(CallerError) as caught:
        parse_query("sum(\n  rate(x[5m])\n  + y z\n)")
    assert str(caught.value).split("\n")[0].endswith("at line 3, column 7:")
    assert str(caught.value).split("\n")[1:] == ["    + y z", "        ^"]


def test_of_a_long_line_the_surroundings_are_shown() -> None:
    query = " + ".join(f"metric_{number}" for number in range(100)) + " oops " + "+ x" * 50
    with pytest.raises(CallerError) as caught:
        parse_query(query)
    _, line, caret = str(caught.value).split("\n")
    assert len(line) < 160
    assert line[caret.index("^") :].startswith("oops")


@pytest.mark.parametrize(
    "query",
    [
        'sum by (code) (rate(http_requests_total{job="api"}[5m])) / ignoring(code) group_left sum(rate(x[5m]))',
        "histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))",
        "max_over_time(rate(x[5m])[1h:1m] offset 1d) > bool 3 # a comment",
        'x @ 1700000000 unless on() (y{a!~"b|c"} == 1)',
        '{"a.name",job="x"}',
        "-x ^ 2 ^ 3",
    ],
)
def test_a_query_that_is_right_passes(query: str) -> None:
    assert check_query(query, None) is not None


@pytest.mark.parametrize(
    "query",
    [
        "x" * 20_000,
        "(" * 100_000 + "1" + ")" * 100_000,
        "1" + "+1" * 100_000,
        "-" * 5_000 + "1",
        "sum(" * 5_000 + "x" + ")" * 5_000,
    ],
)
def test_a_query_that_would_end_the_parser_never_reaches_it(query: str) -> None:
    with pytest.raises(CallerError, match="are the most") as caught:
        parse_query(query)
    assert "recording rule" in str(caught.value)


def test_the_deepest_query_that_is_let_through_is_parsed() -> None:
    assert parse_query("(" * 60 + "1" + ")" * 60) is not None
    assert parse_query("1" + "+1" * 600) is not None


@pytest.mark.parametrize("query", ["", "  ", "\n\t"])
def test_an_empty_query_is_told_what_to_write(query: str) -> None:
    with pytest.raises(CallerError, match="is empty"):
        parse_query(query)


@pytest.mark.parametrize(
    ("query", "narrow"),
    [
        ("x", True),
        ('{job="a"}', True),
        ('{job=~"a.*"}', True),
        ('{__name__=~"node_.*"}', True),
        ('{__name__=~".+"}', False),
        ('{__name__!=""}', False),
        ('{job=~".+",instance!="b"}', False),
        ('{job=~"(?:.*)"}', False),
        ('count by (__name__) ({job!~"a",x=~".*"} or y)', False),
        ('{job="a" or instance=~".+"}', False),
    ],
)
def test_a_selector_that_fits_everything_is_refused(query: str, narrow: bool) -> None:
    if narrow:
        check_query(query, None)
        return
    with pytest.raises(CallerError, match=r"fits every series|must contain"):
        check_query(query, None)


def test_a_function_that_old_servers_know_is_left_to_them() -> None:
    assert check_query("holt_winters(x[5m], 0.5, 0.5)", None) is None


def test_without_the_parser_the_answer_says_what_was_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promql, "find_spec", lambda _: None)
    notes: list[str] = []
    assert check_query("sum(up", notes) is None
    assert "not checked" in notes[0]
    assert "pip install" in notes[0]


@given(st.lists(SIGNS, max_size=40).map("".join))
def test_whatever_is_typed_parses_or_is_explained(query: str) -> None:
    # Anything but an error for the caller would be one of ours.
    with suppress(CallerError):
        parse_query(query)


@given(st.text(max_size=200))
def test_tokens_stand_where_they_say(text: str) -> None:
    for token in tokens_of(text):
        assert text[token.start : token.end] == token.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("1:3: parse error: no", "parse error: no, at line 1, column 3:\n  a + b\n    ^"),
        ('invalid parameter "query": 1:99: no', "no, at line 1, column 6:\n  a + b\n       ^"),
        ("9:1: elsewhere", "9:1: elsewhere"),
        ("something else", "something else"),
    ],
)
def test_a_server_that_names_a_place_has_it_shown(said: str, shown: str) -> None:
    assert place_of_refusal("a + b", said) == shown


def test_the_parser_is_not_imported_before_there_is_a_query() -> None:
    code = "import sys, quantum_suite.services.metrics.opening; sys.exit('promql_parser' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
