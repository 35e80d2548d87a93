"""Reading and applying search/replace blocks.

    path/to/file.py
    <<<<<<< SEARCH
    lines as they are
    =======
    lines as they should be
    >>>>>>> REPLACE

The path stands on the last line before the block that is not empty and no code fence; blocks that follow each
other without one are about the same file. Nothing to search for makes a new file.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from quantum_suite.services.patches.file_patch import refused
from quantum_suite.services.patches.interface import PatchRefused
from quantum_suite.services.patches.lines import (
    difference,
    nearest,
    occurrences,
    split_lines,
    uses_crlf,
    with_crlf,
)

SEARCH = b"<<<<<<< SEARCH"
DIVIDER = b"======="
REPLACE = b">>>>>>> REPLACE"


@dataclass(frozen=True, slots=True)
class Block:
    """One place of one file, before and after."""

    number: int
    """Counted from 1 within the patch."""
    path: str
    search: tuple[bytes, ...]
    replace: tuple[bytes, ...]

    def apply(self, content: bytes | None) -> bytes:
        """Return the content after; raises PatchRefused unless what is searched for stands there exactly once."""
        if not self.search:
            if content:
                raise self._refused(
                    "has nothing to search for, and the file is not empty", "Quote the lines to replace."
                )
            return b"".join(self.replace)
        if content is None:
            raise self._refused(
                "searches a file that does not exist", "Check the path; leave SEARCH empty to make it."
            )
        lines = split_lines(content)
        search, replace = self.search, self.replace
        newline = b"\r\n" if uses_crlf(lines) else b"\n"
        if newline == b"\r\n" and not any(b"\r" in line for line in (*search, *replace)):
            search, replace = tuple(with_crlf(search)), tuple(with_crlf(replace))
        ended = content.endswith(b"\n")
        if not ended and lines:
            lines[-1] += newline
        places = occurrences(lines, search)
        if len(places) != 1:
            raise self._misplaced(lines, search, places)
        result = b"".join((*lines[: places[0]], *replace, *lines[places[0] + len(search) :]))
        # A file that ended without a newline still does.
        return result if ended else result.removesuffix(newline)

    def _misplaced(self, lines: Sequence[bytes], search: Sequence[bytes], places: list[int]) -> PatchRefused:
        if places:
            listed = ", ".join(str(place + 1) for place in places[:10])
            return self._refused(
                f"searches for lines that stand there {len(places)} times (lines {listed})",
                "Quote more lines around the one that is meant.",
            )
        like = nearest(lines, search)
        if like is None:
            return self._refused(
                "searches for lines that stand nowhere, nor any like them", "Read the file again."
            )
        last = like + len(search)
        return self._refused(
            f"searches for lines that stand nowhere; the nearest are lines {like + 1}-{last}, where"
            f" {difference(lines, search, like)}",
            "Quote the lines exactly as they are.",
        )

    def _refused(self, reason: str, hint: str) -> PatchRefused:
        return refused(self.path, f"block {self.number} {reason}", hint)


def read_blocks(text: bytes) -> list[Block]:
    """Return the blocks of a text, in order; raises PatchRefused when one is not closed or names no file."""
    blocks: list[Block] = []
    path: str | None = None
    lines = text.split(b"\n")
    at = 0
    while at < len(lines):
        line = _bare(lines[at])
        if line == SEARCH:
            if path is None:
                raise _malformed(len(blocks) + 1, "names no file", "Put the path on the line before it.")
            search, at = _until(lines, at + 1, DIVIDER, len(blocks) + 1)
            replace, at = _until(lines, at + 1, REPLACE, len(blocks) + 1)
            blocks.append(Block(len(blocks) + 1, path, search, replace))
        elif line.strip() and not line.lstrip().startswith(b"```"):
            path = os.fsdecode(line.strip().strip(b"`"))
        at += 1
    return blocks


def is_search_replace(text: bytes) -> bool:
    """Whether a text holds search/replace blocks rather than a diff."""
    return any(_bare(line) == SEARCH for line in text.split(b"\n"))


def _until(lines: Sequence[bytes], at: int, marker: bytes, number: int) -> tuple[tuple[bytes, ...], int]:
    """Return the lines up to a marker, and where it is."""
    found: list[bytes] = []
    while at < len(lines):
        line = _bare(lines[at])
        if line == marker:
            return tuple(found), at
        if line in (SEARCH, DIVIDER, REPLACE):
            raise _malformed(
                number,
                f"has the line '{line.decode()}' where '{marker.decode()}' was to come",
                "For lines that look like markers, use a unified diff.",
            )
        found.append(lines[at] + b"\n")
        at += 1
    raise _malformed(number, f"is not closed by '{marker.decode()}'", "Close it.")


def _bare(line: bytes) -> bytes:
    return line.rstrip(b" \t\r")


def _malformed(number: int, reason: str, hint: str) -> PatchRefused:
    return PatchRefused(f"Block {number} {reason}.", hint, argument="patch")
