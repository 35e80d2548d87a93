"""Where in a query something is wrong, and how it is shown."""

from collections.abc import Callable, Sequence

from quantum_suite.services.metrics.promql_tokens import Token, matching, tokens_of

SAYS_NOTHING = "invalid promql query"
"""What the parser says where it has no better words."""

AGGREGATIONS = frozenset(
    {
        *("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"),
        *("topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"),
    }
)
_WORD_OPERATORS = frozenset({"and", "or", "unless", "atan2"})
_OPERATORS = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="})
_GROUPINGS = frozenset({"by", "without"})
_MATCHINGS = frozenset({"on", "ignoring", "group_left", "group_right"})
_MOST_TRIED = 60
_MARGIN = 70
"""Characters shown on either side of a place."""


def find_place(query: str, message: str, problem_of: Callable[[str], str | None]) -> int | None:
    """Return the offset of what `message` is about; None where that cannot be told.

    `problem_of` parses a part of the query and returns what is wrong with it alone.
    """
    tokens = tokens_of(query)
    for token in tokens:
        if token.kind == "odd":
            return token.start
    pairs, lonely = matching(tokens)
    if lonely is not None:
        return tokens[lonely].start
    named = message.rpartition(": ")[2].strip("'\"")
    for token in tokens:
        if named and token.text == named:
            return token.start
    if message == SAYS_NOTHING:
        odd = _Grammar(tokens, pairs, len(query.rstrip())).first_odd()
        if odd is not None:
            return odd
    for start, end in _parts(tokens, pairs):
        if problem_of(query[start:end]) == message:
            return start
    for token in tokens[:_MOST_TRIED]:
        if problem_of(query[: token.end]) == message:
            return token.start
    return None


def show_place(query: str, offset: int) -> str:
    """Return line and column, and the line with a caret below the place."""
    offset = min(offset, len(query))
    begin = query.rfind("\n", 0, offset) + 1
    end = query.find("\n", offset)
    line = query[begin : end if end >= 0 else len(query)]
    column = offset - begin
    first = max(0, column - _MARGIN)
    shown = line[first : column + _MARGIN].replace("\t", " ")
    before, after = "..." if first else "", "..." if len(line) > column + _MARGIN else ""
    caret = " " * (len(before) + column - first) + "^"
    where = f"line {query.count(chr(10), 0, offset) + 1}, column {column + 1}"
    return f"{where}:\n  {before}{shown}{after}\n  {caret}"


def _parts(tokens: Sequence[Token], pairs: dict[int, int]) -> list[tuple[int, int]]:
    """Return the stretches that are expressions of their own (calls, groups, selectors), shortest first."""
    found = []
    for opening, closing in pairs.items():
        before = tokens[opening - 1] if opening else None
        own = before is not None and before.kind == "word" and before.text.lower() not in _GROUPINGS | _MATCHINGS
        if tokens[opening].text == "[" and before is not None:
            start = before.start if own else None
        else:
            start = before.start if own and before is not None else tokens[opening].start
        if start is not None and not (before and before.text.lower() in _GROUPINGS | _MATCHINGS):
            found.append((start, tokens[closing].end))
    found.sort(key=lambda part: part[1] - part[0])
    return found[:_MOST_TRIED]


class _Grammar:
    """Follows operands and operators, which is all that is needed to see where a query stops making sense."""

    def __init__(self, tokens: Sequence[Token], pairs: dict[int, int], end: int) -> None:
        self._tokens = tokens
        self._pairs = pairs
        self._end = end
        self._at = 0
        self._wants_operand = True
        self._inside = 0

    def first_odd(self) -> int | None:
        """Return the offset of the first token that cannot stand where it is; the end, where one is missing."""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            fits = self._operand(token) if self._wants_operand else self._operator(token)
            if not fits:
                return token.start
        return self._end if self._wants_operand else None

    def _operand(self, token: Token) -> bool:
        if token.kind in ("number", "string"):
            return self._take(operand_follows=False)
        if token.kind == "word":
            return self._word(token.text.lower())
        if token.text == "{":
            return self._skip_brackets()
        if token.text == "(":
            self._inside += 1
            return self._take(operand_follows=True)
        if token.text == ")" and self._at and self._tokens[self._at - 1].text == "(":
            self._inside -= 1
            return self._take(operand_follows=False)
        return token.text in ("+", "-") and self._take(operand_follows=True)

    def _word(self, word: str) -> bool:
        if word in _WORD_OPERATORS or word in _MATCHINGS:
            return False
        self._take(operand_follows=False)
        if word in AGGREGATIONS:
            self._skip_list_after(_GROUPINGS)
        if self._text() == "(":
            self._inside += 1
            self._take(operand_follows=True)
        return True

    def _operator(self, token: Token) -> bool:
        word = token.text.lower()
        if word in _OPERATORS or word in _WORD_OPERATORS:
            self._take(operand_follows=True)
            if self._text() == "bool":
                self._take(operand_follows=True)
            while self._skip_list_after(_MATCHINGS):
                pass
            return True
        if word == "," and self._inside:
            return self._take(operand_follows=True)
        if word == ")" and self._inside:
            self._inside -= 1
            return self._take(operand_follows=False)
        if word in ("[", "{"):
            previous = self._tokens[self._at - 1]
            return (word == "[" or previous.kind == "word") and self._skip_brackets()
        if word in _GROUPINGS:
            return self._ends_aggregation() and self._skip_list_after(_GROUPINGS)
        return word in ("offset", "@") and self._modifier()

    def _ends_aggregation(self) -> bool:
        """Whether what was just closed are the arguments of an aggregation."""
        opening = next((first for first, last in self._pairs.items() if last == self._at - 1), 0)
        return opening > 0 and self._tokens[opening - 1].text.lower() in AGGREGATIONS

    def _modifier(self) -> bool:
        """Step over `offset 5m` and `@ 1700000000`, `@ start()`."""
        self._take(operand_follows=False)
        if self._text() in ("-", "+"):
            self._take(operand_follows=False)
        if self._at < len(self._tokens) and self._tokens[self._at].kind in ("number", "word"):
            self._take(operand_follows=False)
        return self._text() != "(" or self._skip_brackets()

    def _skip_list_after(self, words: frozenset[str]) -> bool:
        if self._text() not in words:
            return False
        self._at += 1
        if self._text() == "(":
            self._at = self._pairs[self._at] + 1
        return True

    def _skip_brackets(self) -> bool:
        self._at = self._pairs[self._at] + 1
        self._wants_operand = False
        return True

    def _take(self, *, operand_follows: bool) -> bool:
        self._at += 1
        self._wants_operand = operand_follows
        return True

    def _text(self) -> str:
        return self._tokens[self._at].text.lower() if self._at < len(self._tokens) else ""
