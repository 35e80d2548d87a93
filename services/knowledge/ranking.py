"""How what was found by words, by meaning and by name becomes one order."""

from collections.abc import Sequence
from typing import Literal

FoundBy = Literal["meaning", "words", "symbol"]

_WORDS_SHARE = 0.3
_SYMBOL_SCORE = 0.9


def fuse(
    words: Sequence[tuple[str, float]], meaning: Sequence[tuple[str, float]], symbols: Sequence[str], limit: int
) -> list[tuple[str, float, tuple[FoundBy, ...]]]:
    """Return (chunk, score from 0 to 1, how it was found), best first."""
    scores: dict[str, float] = {}
    found_by: dict[str, list[FoundBy]] = {}
    most = max((score for _, score in words), default=0.0) or 1.0
    share = _WORDS_SHARE if meaning else 1.0
    for key, similarity in meaning:
        scores[key] = scores.get(key, 0.0) + (1.0 - _WORDS_SHARE) * max(0.0, similarity)
        found_by.setdefault(key, []).append("meaning")
    for key, score in words:
        scores[key] = scores.get(key, 0.0) + share * max(0.0, score) / most
        found_by.setdefault(key, []).append("words")
    for place, key in enumerate(symbols):
        scores[key] = max(scores.get(key, 0.0), _SYMBOL_SCORE / (1 + 0.02 * place))
        found_by.setdefault(key, []).append("symbol")
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [(key, min(1.0, score), tuple(found_by[key])) for key, score in ranked[:limit]]
