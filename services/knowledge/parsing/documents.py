"""Documents cut into sections at their headings, and long sections at their paragraphs."""

import re
from collections.abc import Iterator

from quantum_suite.services.knowledge.parsing.languages import MARKDOWN
from quantum_suite.services.knowledge.parsing.pieces import Piece

_ATX = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:])\1{2,}\s*$")
SECTION_CHARS = 3_000
"""A longer section is cut at a paragraph."""


def sections(path: str, language: str, text: str) -> Iterator[Piece]:
    """Yield the sections of a document in their order."""
    lines = text.split("\n")
    headings = list(_markdown_headings(lines) if language == MARKDOWN else _text_headings(lines))
    trail: list[tuple[int, str]] = []
    bounds = [(0, 0, "")] if not headings or headings[0][0] > 0 else []
    bounds += headings
    for number, (start, level, title) in enumerate(bounds):
        end = bounds[number + 1][0] if number + 1 < len(bounds) else len(lines)
        if level:
            trail = [item for item in trail if item[0] < level] + [(level, title)]
        names = [name for _, name in trail] if level else []
        yield from _pieces(path, lines, start, end, names)


def _pieces(path: str, lines: list[str], start: int, end: int, names: list[str]) -> Iterator[Piece]:
    title = names[-1] if names else path.rsplit("/", 1)[-1]
    for first, last in _cut(lines, start, end):
        body = "\n".join(lines[first:last]).strip("\n")
        if not body.strip():
            continue
        yield Piece(
            kind="section" if names else "text",
            name=title[:200],
            qualified_name=" > ".join(names)[:400] or title[:200],
            signature=title[:200],
            docstring="",
            start_line=first + 1,
            end_line=last,
            text=body,
        )


def _cut(lines: list[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield spans of lines of bounded length, cut at empty lines where there are any."""
    first, size, blank = start, 0, start
    for number in range(start, end):
        size += len(lines[number]) + 1
        if not lines[number].strip():
            blank = number
        if size > SECTION_CHARS and number > first:
            cut = blank if blank > first else number
            yield first, cut
            first, size = cut, sum(len(line) + 1 for line in lines[cut : number + 1])
    if first < end:
        yield first, end


def _markdown_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    fence = ""
    for number, line in enumerate(lines):
        if match := _FENCE.match(line):
            if not fence:
                fence = match[1]
            elif match[1].startswith(fence):
                fence = ""
            continue
        if fence:
            continue
        if match := _ATX.match(line):
            yield number, len(match[1]), match[2]
        elif number and line[:1] in ("=", "-") and set(line.strip()) <= {line[0]} and len(line.strip()) > 2:
            above = lines[number - 1].strip()
            if above and not above.startswith(("|", "-", "*", ">", "#")):
                yield number - 1, 1 if line[0] == "=" else 2, above


def _text_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield underlined titles, as reStructuredText has them; a character's level is the order it came up in."""
    levels: dict[str, int] = {}
    for number in range(1, len(lines)):
        above, line = lines[number - 1].strip(), lines[number]
        if above and _UNDERLINE.match(line) and len(line.strip()) >= len(above) and not _UNDERLINE.match(above):
            yield number - 1, levels.setdefault(line[0], len(levels) + 1), above
