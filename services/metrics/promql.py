"""PromQL, checked before it is sent: the syntax, the size, and that a selector selects something."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.interface import Notes
from quantum_suite.services.metrics.promql_places import SAYS_NOTHING, find_place, show_place
from quantum_suite.services.metrics.promql_tokens import depth_of, tokens_of

if TYPE_CHECKING:
    from promql_parser import Expr, Matcher, VectorSelector

MOST_CHARACTERS = 16_384
MOST_NESTING = 60
MOST_SIGNS = 600
"""Operators, brackets and commas. The parser recurses without a limit, and its time grows with their square."""

INSTALL_COMMAND = f"{sys.executable} -m pip install 'quantum-suite[sre]'"

_GONE_FUNCTIONS = frozenset({"holt_winters"})
"""Known to servers before 3.0 and not to the parser."""
_UNKNOWN_FUNCTION = re.compile(r"unknown function with name '(?P<name>\w+)'")
_SERVER_PLACE = re.compile(r"(?:^|[\s\"(])(?P<line>\d+):(?P<column>\d+): (?P<what>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query that parses."""

    text: str
    tree: "Expr"

    def nodes(self) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Yield every node with what it stands in, outermost first."""
        yield from _walk(self.tree, ())

    def selectors(self) -> Iterator[tuple["VectorSelector", tuple[Any, ...]]]:
        """Yield every selector with what it stands in, outermost first."""
        import promql_parser

        for node, around in self.nodes():
            if isinstance(node, promql_parser.VectorSelector):
                yield node, around


def parse_query(query: str, argument: str = "query") -> ParsedQuery | None:
    """Parse a query; None where the parser is not installed, or does not know a function that servers knew.

    Raises CallerError showing the query with a caret below what is wrong.
    """
    _check_size(query, argument)
    if find_spec("promql_parser") is None:
        return None
    import promql_parser

    try:
        return ParsedQuery(query, promql_parser.parse(query))
    except ValueError as error:
        message = str(error)
    gone = _UNKNOWN_FUNCTION.fullmatch(message)
    if gone is not None and gone["name"] in _GONE_FUNCTIONS:
        return None
    place = find_place(query, message, _problem_of(promql_parser.parse))
    told = "this does not belong here" if message == SAYS_NOTHING else message
    if message == SAYS_NOTHING and (place is None or place >= len(query.rstrip())):
        told = "something is missing at the end"
    told = told[:1].upper() + told[1:]
    shown = f"{told}, at {show_place(query, place)}" if place is not None else f"{told}: {query[:200]}"
    raise CallerError(shown, argument=argument)


def check_query(query: str, notes: Notes | None, argument: str = "query") -> ParsedQuery | None:
    """Check a query before it is sent; what could not be checked goes into `notes`.

    Raises CallerError for a syntax error, a query that is too large, and a selector that every series fits.
    """
    parsed = parse_query(query, argument)
    if parsed is None:
        if find_spec("promql_parser") is None and notes is not None:
            notes.append(
                f"The query was not checked before it was sent: promql-parser is missing ({INSTALL_COMMAND})."
            )
        return None
    for selector, _ in parsed.selectors():
        if not _selects(selector):
            raise CallerError(
                f"The selector {selector} fits every series there is.",
                'Name a metric, or a label that must have a value, e.g. {job="api"}.',
                argument=argument,
            )
    return parsed


def place_of_refusal(query: str, said: str) -> str:
    """Return a server's words, with the place in the query where they name one (`1:5: parse error: ...`)."""
    match = _SERVER_PLACE.search(said)
    if match is None:
        return said
    lines = query.split("\n")
    line, column = int(match["line"]), int(match["column"])
    if not 1 <= line <= len(lines):
        return said
    offset = sum(len(each) + 1 for each in lines[: line - 1]) + min(column - 1, len(lines[line - 1]))
    return f"{match['what']}, at {show_place(query, max(0, offset))}"


def _check_size(query: str, argument: str) -> None:
    if not query.strip():
        raise CallerError(
            "The query is empty.", "Write PromQL, e.g. sum(rate(http_requests_total[5m])).", argument=argument
        )
    if len(query) > MOST_CHARACTERS:
        raise CallerError(
            f"The query has {len(query)} characters; {MOST_CHARACTERS} are the most.",
            "Ask for its parts one by one, or make a recording rule of it.",
            argument=argument,
        )
    tokens = tokens_of(query)
    signs = sum(1 for token in tokens if token.kind == "sign")
    if signs > MOST_SIGNS or depth_of(tokens) > MOST_NESTING:
        raise CallerError(
            f"The query has {signs} operators and brackets, {depth_of(tokens)} deep; "
            f"{MOST_SIGNS} and {MOST_NESTING} are the most.",
            "Ask for its parts one by one, or make a recording rule of it.",
            argument=argument,
        )


def _problem_of(parse: Callable[[str], object]) -> Callable[[str], str | None]:
    def problem(part: str) -> str | None:
        try:
            parse(part)
        except ValueError as error:
            return str(error)
        return None

    return problem


def _walk(node: Any, around: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    yield node, around
    inner = (*around, node)
    for name in ("lhs", "rhs", "param", "expr", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str | float):
            yield from _walk(child, inner)
    for child in getattr(node, "args", ()):
        yield from _walk(child, inner)


def _selects(selector: "VectorSelector") -> bool:
    """Whether a selector names something: `{__name__=~".+"}` and the like fit everything."""
    if selector.name:
        return True
    groups = selector.matchers.or_matchers or [selector.matchers.matchers]
    return all(any(_narrows(matcher) for matcher in [*group, *selector.matchers.matchers]) for group in groups)


def _narrows(matcher: "Matcher") -> bool:
    if str(matcher.op) in ("MatchOp.Equal",):
        return matcher.value != ""
    if str(matcher.op) == "MatchOp.Re":
        return not _fits_anything(matcher.value)
    # What a label is not leaves almost everything.
    return False


def _fits_anything(pattern: str) -> bool:
    """Whether a pattern fits words that have nothing in common."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return False
    return all(compiled.fullmatch(word) for word in ("a", "quite_another_one:1", "Z9"))
