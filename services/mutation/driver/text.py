"""Source files as the parser counts them, and replacing a piece of one."""

from __future__ import annotations

import ast
import io
import re
import tokenize

_NEWLINE = re.compile(rb"\r\n|\r|\n")


class SourceText:
    """A Python file. Offsets count bytes of its text in UTF-8, which is how `ast` gives columns."""

    def __init__(self, raw: bytes) -> None:
        self.encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        self.text = raw.decode(self.encoding)
        self.data = self.text.encode("utf-8")
        self._starts = [0, *(match.end() for match in _NEWLINE.finditer(self.data))]

    def parse(self) -> ast.Module:
        """Raise SyntaxError or ValueError as `ast.parse` does."""
        return ast.parse(self.text)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return where a node starts and ends."""
        return (
            self.offset(node.lineno, node.col_offset),  # type: ignore[attr-defined]  # only located nodes come here
            self.offset(node.end_lineno, node.end_col_offset),  # type: ignore[attr-defined]  # the same
        )

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a place."""
        return self._starts[line - 1] + column

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column (both from 1, columns in code points) of an offset."""
        low, high = 0, len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle] <= offset else (low, middle)
        return low + 1, len(self.data[self._starts[low] : offset].decode("utf-8", "replace")) + 1

    def offset_of(self, line: int, column: int) -> int:
        """Return the offset of a place given as `place` gives it."""
        start = self._starts[line - 1]
        return start + len(self.line(line).decode("utf-8")[: column - 1].encode("utf-8"))

    def line(self, number: int) -> bytes:
        """Return a line with its end."""
        end = self._starts[number] if number < len(self._starts) else len(self.data)
        return self.data[self._starts[number - 1] : end]

    def piece(self, start: int, end: int) -> str:
        """Return the text between two offsets."""
        return self.data[start:end].decode("utf-8")

    def with_piece(self, start: int, end: int, replacement: str) -> bytes:
        """Return the file's bytes, in its own encoding, with a piece replaced.

        A space is put where the replacement would otherwise run into a word beside it.
        """
        new = replacement.encode("utf-8")
        if new and start and _wordy(self.data[start - 1]) and _wordy(new[0]):
            new = b" " + new
        if new and end < len(self.data) and _wordy(self.data[end]) and _wordy(new[-1]):
            new += b" "
        return (self.data[:start] + new + self.data[end:]).decode("utf-8").encode(self.encoding, "strict")


def _wordy(byte: int) -> bool:
    return byte == ord("_") or byte >= 0x80 or chr(byte).isalnum() or byte in b"\"'"
