"""Writes text that others wrote into Markdown without letting it become markup."""

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")
_LINE_BREAKS = re.compile(r"[\r\n\t\x00-\x1f\x7f\u2028\u2029]+")


def inline(text: object) -> str:
    """Return text for the middle of a line."""
    return _SPECIAL.sub(r"\\\1", _LINE_BREAKS.sub(" ", str(text)))


def code(text: object) -> str:
    """Return text as code, whatever backticks it holds."""
    cleaned = _LINE_BREAKS.sub("␤", str(text))
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", cleaned)), default=0) + 1)
    gap = " " if len(ticks) > 1 else ""
    return f"{ticks}{gap}{cleaned}{gap}{ticks}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 1 file, 2 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
