"""Metrics by family: what belongs together, what it is, and how well it fits a question."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from quantum_suite.services.knowledge.words.subtokens import query_words, split_text
from quantum_suite.services.metrics.interface import MetricMetadata, MetricType

_PARTS: Mapping[MetricType, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("_count", "_sum", "_created"),
    "info": ("_info",),
}
_RULE = ":"
"""In the names of what recording rules write, and nowhere else by convention."""
_IN_NAME = 3.0
_IN_HELP = 1.0


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """What is declared together: a histogram with its `_bucket`, `_count` and `_sum`."""

    name: str
    metadata: MetricMetadata
    metrics: tuple[str, ...]
    """The names that hold series now, in order."""
    series: int | None
    """None where they were not counted."""
    recorded: bool = field(default=False)
    """Whether a recording rule writes it."""


def families_of(
    names: Iterable[str], known: Mapping[str, MetricMetadata], counts: Mapping[str, int], recorded: frozenset[str]
) -> list[MetricFamily]:
    """Return the families of metrics, by name. `recorded` are the names of recording rules."""
    members: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        members.setdefault(_family(name, known), []).append(name)
    return [
        MetricFamily(
            family,
            known.get(family) or next((known[name] for name in metrics if name in known), MetricMetadata()),
            tuple(metrics),
            sum(counts[name] for name in metrics) if all(name in counts for name in metrics) else None,
            any(name in recorded or _RULE in name for name in metrics),
        )
        for family, metrics in members.items()
    ]


def _family(name: str, known: Mapping[str, MetricMetadata]) -> str:
    if name in known:
        return name
    for kind, endings in _PARTS.items():
        for ending in endings:
            base = name.removesuffix(ending)
            if base != name and base in known and known[base].type == kind:
                return base
    # Nobody declares it, as metrics of recording rules and of exporters without types.
    return name


def fitting(families: Sequence[MetricFamily], about: str) -> list[MetricFamily]:
    """Return the families that have to do with `about`, best first: by words of their names and of their help.

    Each word of the question counts by how rare it is among the families, so that `http errors` finds what says
    both before what says `http`.
    """
    wanted = query_words(about)
    names = [set(split_text(" ".join(family.metrics)).split()) for family in families]
    helps = [set(split_text(family.metadata.help).split()) for family in families]
    found: list[tuple[float, int]] = []
    weight = {word: _rarity(word, names, helps) for word in wanted}
    for index in range(len(families)):
        score = sum(
            weight[word] * (_IN_NAME * _holds(names[index], word) + _IN_HELP * _holds(helps[index], word))
            for word in wanted
        )
        if score > 0:
            found.append((-score, index))
    return [families[index] for _, index in sorted(found)]


def _rarity(word: str, names: Sequence[set[str]], helps: Sequence[set[str]]) -> float:
    in_how_many = sum(
        1 for one, other in zip(names, helps, strict=True) if _holds(one, word) or _holds(other, word)
    )
    return 1.0 / (1.0 + in_how_many)


def _holds(words: set[str], word: str) -> bool:
    """Whether a word is among some, in the singular or in the plural."""
    return word in words or f"{word}s" in words or (word.endswith("s") and word[:-1] in words)


def prefix_of(name: str) -> str:
    """Return what a family's name begins with: who exports it, by convention."""
    return name.partition(_RULE)[0].partition("_")[0]
