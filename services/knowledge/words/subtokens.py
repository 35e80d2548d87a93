"""Identifiers taken apart into the words they are made of.

`parseHTTPRequest_v2` is found by itself and by `parse`, `http`, `request`, `v` and `2`.
"""

import re
from functools import lru_cache

_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_LONGEST_WORD = 80
_LONGEST_PARTS = 12

_STOP_WORDS = (
    "a an and are as at be by can do does for from get how i if in into is it its of on or that the their then "
    "this to using use used uses via was what when where which while who why will with you your"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Words of a question that say nothing of what is looked for."""


@lru_cache(maxsize=200_000)
def parts_of(word: str) -> tuple[str, ...]:
    """Return a word in lower case, followed by the parts it is made of where there are several."""
    if len(word) > _LONGEST_WORD:
        return (word[:_LONGEST_WORD].lower(),)
    folded = word.lower()
    parts = [part.lower() for part in _PART.findall(word)]
    if len(parts) < 2:
        plain = parts[0] if parts else folded.strip("_")
        if not plain:
            return ()
        return (plain,) if plain == folded else (folded, plain)
    return (folded, *parts[:_LONGEST_PARTS])


def split_text(text: str) -> str:
    """Return text as the words that are indexed, separated by spaces."""
    return " ".join([part for word in _WORD.findall(text) for part in parts_of(word)])


def query_words(query: str) -> list[str]:
    """Return the words a question is asked with, each once, in order; stop words where there is nothing else."""
    words = list(dict.fromkeys(part for word in _WORD.findall(query) for part in parts_of(word)))
    telling = [word for word in words if word not in STOP_WORDS]
    return telling or words
