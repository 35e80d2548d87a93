"""One file's part of a unified diff, and applying it."""

import hashlib
import zlib
from base64 import b85decode
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantum_suite.services.patches.interface import PatchRefused
from quantum_suite.services.patches.lines import (
    difference,
    nearest,
    occurrences,
    split_lines,
    uses_crlf,
    with_crlf,
)
from quantum_suite.services.patches.paths import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class Hunk:
    """A piece of a file before and after."""

    number: int
    """Counted from 1 within its file."""
    header: str
    start: int
    """Line number of its first old line; of the line before it where it has no old lines."""
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """The whole of a binary file, as git writes it down."""

    size: int
    encoded: tuple[bytes, ...]

    def content(self, path: str) -> bytes:
        """Return it decoded; raises PatchRefused when it is damaged."""
        packed = bytearray()
        try:
            for line in self.encoded:
                length = line[0] - 64 if 65 <= line[0] <= 90 else line[0] - 96 + 26
                packed += b85decode(line[1:])[:length]
            inflater = zlib.decompressobj()
            content = inflater.decompress(bytes(packed), min(self.size, MAX_FILE_BYTES) + 1)
        except (ValueError, zlib.error, IndexError) as error:
            raise refused(path, f"its binary content is damaged: {error}") from error
        if len(content) != self.size:
            raise refused(path, f"its binary content should have {self.size} bytes")
        return content


@dataclass(slots=True)
class FilePatch:
    """What a diff says of one file."""

    old_path: str | None = None
    """None where the file is new."""
    new_path: str | None = None
    """None where the file is removed."""
    copied: bool = False
    old_mode: str | None = None
    new_mode: str | None = None
    old_blob: str | None = None
    """The beginning of the id that git gives to the content before."""
    binary: Literal | None = None
    hunks: list[Hunk] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Return the path for messages."""
        return self.new_path or self.old_path or "?"

    def apply(self, content: bytes) -> bytes:
        """Return the content after; raises PatchRefused, which says where it differs from what was expected."""
        if self.binary is not None:
            self._check_blob(content)
            return self.binary.content(self.path)
        lines = split_lines(content)
        hunks = self.hunks
        if uses_crlf(lines) and not any(b"\r" in line for hunk in hunks for line in (*hunk.old, *hunk.new)):
            hunks = [
                Hunk(hunk.number, hunk.header, hunk.start, tuple(with_crlf(hunk.old)), tuple(with_crlf(hunk.new)))
                for hunk in hunks
            ]
        return self._spliced(lines, hunks)

    def _spliced(self, lines: list[bytes], hunks: Sequence[Hunk]) -> bytes:
        result: list[bytes] = []
        done = 0
        for hunk in hunks:
            at = self._place(lines, hunk, done)
            result += lines[done:at]
            result += hunk.new
            done = at + len(hunk.old)
        result += lines[done:]
        if any(not line.endswith(b"\n") for line in result[:-1]):
            raise refused(self.path, "it takes the newline from a line in the middle of the file")
        return b"".join(result)

    def _place(self, lines: list[bytes], hunk: Hunk, done: int) -> int:
        """Return where a hunk goes: at its line number, else where its old lines stand, if that is one place."""
        if not hunk.old:
            if lines:
                raise refused(
                    self.path,
                    f"hunk {hunk.number} ({hunk.header}) adds lines without a line around them to tell the place",
                    "Make the diff with lines of context.",
                )
            return 0
        at = hunk.start - 1
        if at >= done and tuple(lines[at : at + len(hunk.old)]) == hunk.old:
            return at
        places = occurrences(lines, hunk.old)
        if len(places) == 1 and places[0] >= done:
            return places[0]
        raise self._misplaced(lines, hunk, places, done)

    def _misplaced(self, lines: list[bytes], hunk: Hunk, places: list[int], done: int) -> PatchRefused:
        which = f"hunk {hunk.number} ({hunk.header})"
        if len(places) == 1:
            return refused(self.path, f"{which} belongs to line {places[0] + 1}, before the end of the one before")
        if places:
            listed = ", ".join(str(place + 1) for place in places[:10])
            return refused(
                self.path,
                f"{which} is not at line {hunk.start}, and its lines stand {len(places)} times (lines {listed})",
                "Correct the line number, or give more context.",
            )
        if hunk.new and occurrences(lines, hunk.new):
            return refused(self.path, f"{which} seems to be applied already", "Read the file again.")
        like = nearest(lines, hunk.old)
        at = like if like is not None else min(max(hunk.start - 1, done), max(len(lines) - 1, 0))
        return refused(
            self.path,
            f"{which} does not fit: {difference(lines, hunk.old, at)}",
            "Read the file again, then make it anew.",
        )

    def _check_blob(self, content: bytes) -> None:
        if self.old_blob is None:
            raise refused(self.path, "a binary patch needs git's `index` line, to tell what it is for")
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        absent = not content and not self.old_blob.strip("0")
        if not absent and not blob.startswith(self.old_blob):
            raise refused(
                self.path, "the binary file is not the one the patch was made for", "Make the patch anew."
            )


def refused(path: str, reason: str, hint: str | None = None) -> PatchRefused:
    """Return the refusal of a patch for a file."""
    return PatchRefused(f"{path}: {reason}.", hint, argument="patch")
