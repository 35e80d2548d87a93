"""PromQL cut into tokens, each with its place: the parser says what is wrong, not where."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TokenKind = Literal["string", "number", "word", "sign", "odd"]

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\w*)
    |(?P<word>[A-Za-z_][\w:]*|:[A-Za-z_:][\w:]*)
    |(?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^=<>@,(){}\[\]:])
    |(?P<odd>.)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query; `odd` is what no token begins with (an open quote, a foreign character)."""

    kind: TokenKind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Return where the next may begin."""
        return self.start + len(self.text)


def tokens_of(query: str) -> list[Token]:
    """Return the tokens in order, without spaces and comments. Never fails: see `odd`."""
    return [
        Token(match.lastgroup, match[0], match.start())  # type: ignore[arg-type]  # the groups' names are the kinds
        for match in _TOKEN.finditer(query)
        if match.lastgroup != "space"
    ]


def matching(tokens: Sequence[Token]) -> tuple[dict[int, int], int | None]:
    """Return which opening bracket (by its index) each closing one belongs to, and the index of the first bracket
    without a partner."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind != "sign":
            continue
        if token.text in _CLOSING:
            opened.append(index)
        elif token.text in _CLOSING.values():
            if not opened or _CLOSING[tokens[opened[-1]].text] != token.text:
                return pairs, index
            pairs[opened.pop()] = index
    return pairs, opened[-1] if opened else None


def depth_of(tokens: Sequence[Token]) -> int:
    """Return how deep brackets stand in each other."""
    depth = deepest = 0
    for token in tokens:
        if token.kind == "sign" and token.text in _CLOSING:
            depth += 1
            deepest = max(deepest, depth)
        elif token.kind == "sign" and token.text in _CLOSING.values():
            depth -= 1
    return deepest
