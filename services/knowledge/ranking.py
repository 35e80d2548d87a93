"""How what was found by words, by meaning and by name becomes one order.

Scores are absolute, so that they compare between questions: a cosine is, and the BM25 of a chunk, which grows with
the words it shares and how rare they are, is bent into 0 to 1. Ranks, and scores relative to the best of a list,
say nothing about whether the best is good.

Beside meaning, what words say is squared. Of two chunks as near, the one that shares a word or two more is no
better: the model has read those words as well. One that shares many, or very rare ones, is.
"""

import math
from collections.abc import Sequence
from typing import Literal

FoundBy = Literal["meaning", "words", "symbol"]

_RARE_WORDS = 4.0
"""So many shared words that next to no other chunk has count as much; the BM25 of each is about the logarithm of
the number of chunks. Much is bent to 0.71, and squared, as it is beside meaning, to a half."""
_WORDS_WEIGHT = 0.5
"""Of words, where meaning weighs 1."""
_SYMBOL_SCORE = 0.9
_SYMBOL_STEP = 0.02


def fuse(
    words: Sequence[tuple[str, float]],
    meaning: Sequence[tuple[str, float]],
    symbols: Sequence[str],
    limit: int,
    *,
    chunks: int,
) -> list[tuple[str, float, tuple[FoundBy, ...]]]:
    """Return (chunk, score from 0 to 1, how it was found), best first; equal scores by chunk.

    `words` are BM25 scores, `meaning` cosine similarities, `symbols` chunks that define a name in the question,
    each best first; `chunks` is how many were searched. A chunk that `meaning` does not name is taken to be as
    near as the last one it does. Definitions of a name that was spelt out come before what only resembles it.
    """
    much = _RARE_WORDS * math.log(max(chunks, 10))
    evidence = {key: _bent(score, much) for key, score in words}
    if meaning:
        similar = {key: _within_unit(similarity) for key, similarity in meaning}
        least = min(similar.values())
        scores = {
            key: (similar.get(key, least) + _WORDS_WEIGHT * evidence.get(key, 0.0) ** 2) / (1 + _WORDS_WEIGHT)
            for key in similar.keys() | evidence.keys()
        }
    else:
        similar, scores = {}, dict(evidence)
    for place, key in enumerate(symbols):
        scores[key] = max(scores.get(key, 0.0), _SYMBOL_SCORE / (1 + _SYMBOL_STEP * place))
    ways: tuple[tuple[FoundBy, frozenset[str]], ...] = (
        ("meaning", frozenset(similar)),
        ("words", frozenset(evidence)),
        ("symbol", frozenset(symbols)),
    )
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[: max(limit, 0)]
    return [(key, score, tuple(way for way, found in ways if key in found)) for key, score in ranked]


def _bent(bm25: float, much: float) -> float:
    """Return a BM25 score as a number from 0 to 1 that grows with it."""
    score = max(0.0, bm25)
    return score / math.hypot(score, much)


def _within_unit(similarity: float) -> float:
    return min(1.0, max(0.0, similarity))
