"""Lines of files: found exactly, or shown where they nearly are."""

import difflib
from collections import Counter, defaultdict
from collections.abc import Sequence

_SHOWN = 160
"""How much of a line is shown in a message."""

_COMMON = 200
"""A line that occurs more often says nothing of a place."""

_COMPARED = 4_000
"""How many lines are compared one by one with one that occurs nowhere."""


def split_lines(content: bytes) -> list[bytes]:
    """Return lines with their newline; only the last may be without one."""
    lines = content.split(b"\n")
    last = lines.pop()
    whole = [line + b"\n" for line in lines]
    return [*whole, last] if last else whole


def occurrences(lines: Sequence[bytes], wanted: Sequence[bytes]) -> list[int]:
    """Return every index at which `wanted` stands in `lines`."""
    if not wanted:
        return []
    first, size = wanted[0], len(wanted)
    return [
        index
        for index, line in enumerate(lines[: len(lines) - size + 1])
        if line == first and list(lines[index : index + size]) == list(wanted)
    ]


def uses_crlf(lines: Sequence[bytes]) -> bool:
    """Whether every line that ends, ends with CRLF."""
    ended = [line for line in lines if line.endswith(b"\n")]
    return bool(ended) and all(line.endswith(b"\r\n") for line in ended)


def with_crlf(lines: Sequence[bytes]) -> list[bytes]:
    """Return lines with CRLF where they had LF."""
    return [line[:-1] + b"\r\n" if line.endswith(b"\n") else line for line in lines]


def shown(line: bytes) -> str:
    """Return a line for a message: its newline left out, what is not seen written out."""
    text = line.removesuffix(b"\n").decode("utf-8", "backslashreplace")
    text = text.replace("\r", "\\r").replace("\t", "\\t")
    return repr(text[:_SHOWN] + "…") if len(text) > _SHOWN else repr(text)


def nearest(lines: Sequence[bytes], wanted: Sequence[bytes]) -> int | None:
    """Return the index where most of `wanted` stands, spaces aside; None when nothing is like it."""
    places: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, line in enumerate(lines):
        places[line.strip()].append(index)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(wanted):
        found = places.get(line.strip(), ())
        if line.strip() and len(found) <= _COMMON:
            votes.update(index - offset for index in found)
    if votes:
        most = max(votes.values())
        return max(0, min(index for index, count in votes.items() if count == most))
    return _most_alike(lines, wanted)


def _most_alike(lines: Sequence[bytes], wanted: Sequence[bytes]) -> int | None:
    first = next((line.strip() for line in wanted if line.strip()), b"")[:_SHOWN]
    texts = [line.strip()[:_SHOWN].decode("latin-1") for line in lines[:_COMPARED]]
    alike = difflib.get_close_matches(first.decode("latin-1"), texts, n=1, cutoff=0.6) if first else []
    return texts.index(alike[0]) if alike else None


def difference(lines: Sequence[bytes], wanted: Sequence[bytes], index: int) -> str:
    """Return, in words, the first line at which `wanted` is not what stands from `index` on."""
    for offset, expected in enumerate(wanted):
        at = index + offset
        if at >= len(lines):
            return f"line {at + 1} should be {shown(expected)}, and the file has {len(lines)} lines"
        found = lines[at]
        if found != expected:
            return f"line {at + 1} should be {shown(expected)}, and is {shown(found)}{_only(expected, found)}"
    return "there is no difference"


def _only(expected: bytes, found: bytes) -> str:
    if expected.rstrip(b"\r\n") == found.rstrip(b"\r\n"):
        if expected.endswith(b"\n") != found.endswith(b"\n"):
            has = "has no" if expected.endswith(b"\n") else "has a"
            return f" (the line there {has} newline at its end)"
        return " (the line endings differ)"
    if expected.split() == found.split():
        return " (only spaces differ)"
    return ""
