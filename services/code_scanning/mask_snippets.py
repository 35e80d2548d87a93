"""Masks what may be a secret in text taken from scanned files. Rather too much than too little."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from quantum_suite.core.masking import MASK, mask_text

_STARS = re.compile(r"\*{3,}")
_LITERAL = re.compile(r"""(?P<quote>["'`])(?P<body>(?:\\.|(?!(?P=quote)).)*)(?P<end>(?P=quote)|$)""")
_URL_LOGIN = re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)")
_SECRET_WORD = re.compile(
    r"(?i)pass(?:w(?:or)?d|phrase)|pwd|secret|token|api_?-?key|access_?-?key|private_?-?key|account_?-?key|"
    r"credential|connection_?-?string|\bauth|\bpass\b|\bkey\b"
)
_ASSIGNED = re.compile(r"(?P<sign>=>|:=|=|:)(?P<gap>\s*)(?P<value>[^\s\"'`,;]+)")
_DOCKER_ENV = re.compile(r"(?i)^(?P<head>\s*(?:ENV|ARG)\s+\S+\s+)(?P<value>\S.*)$")
_OPTION = re.compile(r"(?P<option>(?:^|\s)(?:-u|--user|--pass\S*|--token|--secret\S*|--api-?key)[=\s]+)\S+")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_\-]{20,}")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_TOKEN_BITS = 3.7
_LEFT_OPEN = ("=", "(", ":", ",", "[", "\\")
_ANNOUNCING_LINES = 3
_ANNOUNCING_COLUMNS = 400


def mask_line(line: str, *, credential: bool, is_code: bool) -> str:
    """Mask one line of a scanned file.

    `credential`: a rule says that the line holds one, so every string literal and assigned value goes. Otherwise
    they go where the line speaks of passwords, tokens or keys. Anywhere: known shapes, logins in URLs, and long
    random-looking words. `is_code`: bare words after an equals sign are expressions, not values.
    """
    text = _URL_LOGIN.sub(MASK, mask_text(_STARS.sub(MASK, line)))
    if credential or _SECRET_WORD.search(text):
        text = _LITERAL.sub(_mask_literal, text)
        if not is_code:
            text = _DOCKER_ENV.sub(lambda match: match["head"] + MASK, text)
            text = _ASSIGNED.sub(lambda match: f"{match['sign']}{match['gap']}{MASK}", text)
    return _TOKEN.sub(_mask_random, text)


def announces_secret(earlier: Sequence[str], *, is_code: bool) -> bool:
    """Whether the lines just before one say that it holds a secret, as settings often do over several lines.

    In settings (`name: DB_PASSWORD`, then `value: ...`) the last three count; in code only a line left open.
    """
    if is_code:
        last = earlier[-1].rstrip() if earlier else ""
        return last.endswith(_LEFT_OPEN) and _SECRET_WORD.search(last[-_ANNOUNCING_COLUMNS:]) is not None
    return any(_SECRET_WORD.search(line[:_ANNOUNCING_COLUMNS]) for line in earlier[-_ANNOUNCING_LINES:])


def hidden_value(raw: str, masked: str) -> str | None:
    """Return what an engine hid in a line: the part of `raw` that is stars in `masked`; None if they don't fit."""
    stars = _STARS.search(masked)
    if stars is None:
        return None
    head, tail = masked[: stars.start()], masked[masked.rindex("***") + 3 :]
    if not raw.startswith(head) or not raw.endswith(tail) or len(head) + len(tail) >= len(raw):
        return None
    return raw[len(head) : len(raw) - len(tail)]


def mask_prose(text: str) -> str:
    """Mask an engine's message or error output."""
    text = _OPTION.sub(lambda match: match["option"] + MASK, text)
    return _TOKEN.sub(_mask_random, _URL_LOGIN.sub(MASK, mask_text(text)))


def _mask_literal(match: re.Match[str]) -> str:
    quote = match["quote"]
    return f"{quote}{MASK if match['body'] else ''}{match['end']}"


def _mask_random(match: re.Match[str]) -> str:
    word = match.group()
    if _HEX.fullmatch(word):
        return MASK
    kinds = sum(
        1 for test in (str.isdigit, str.islower, str.isupper) if any(test(character) for character in word)
    )
    return MASK if kinds == 3 and _bits_per_character(word) > _TOKEN_BITS else word


def _bits_per_character(word: str) -> float:
    counts = Counter(word).values()
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts)
