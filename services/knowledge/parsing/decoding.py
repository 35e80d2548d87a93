"""Bytes of a file turned into text, or the reason why they are none."""

import codecs
import re
from dataclasses import dataclass

MAX_FILE_BYTES = 2 * 1024 * 1024
"""Larger files are listed as not indexed."""
MAX_LINE_CHARS = 20_000
"""A longer line was written by a program, for a program."""
_LOOKED_AT = 8 * 1024
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text with `\\n` alone between its lines, and how it was read."""

    text: str
    encoding: str
    """`utf-8 with invalid bytes replaced` where some were."""


class NotText(ValueError):
    """The file holds no text worth reading; the message says why."""


def decode(data: bytes) -> Decoded:
    """Return the text of a file. Raises NotText with the reason."""
    decoded = _decoded(data)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n")
    longest = max(map(len, text.split("\n")), default=0)
    if longest > MAX_LINE_CHARS:
        raise NotText(f"generated or minified: a line of {longest:,} characters")
    return Decoded(text, decoded.encoding)


def _decoded(data: bytes) -> Decoded:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return Decoded(data.decode(encoding, "replace"), encoding)
    if b"\0" in data[:_LOOKED_AT]:
        if (guessed := _utf16_without_mark(data)) is not None:
            return guessed
        raise NotText("binary: it holds NUL bytes")
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    if (declared := _declared(data)) is not None:
        return Decoded(data.decode(declared, "replace"), declared)
    if _is_mostly_text(data[:_LOOKED_AT]):
        # One byte a character: every byte means something, and ASCII, which code is made of, means itself.
        return Decoded(data.decode("latin-1"), "latin-1")
    return Decoded(data.decode("utf-8", "replace"), "utf-8 with invalid bytes replaced")


def _declared(data: bytes) -> str | None:
    """Return the encoding a Python or Ruby source declares in its first two lines (PEP 263)."""
    for line in data.split(b"\n", 2)[:2]:
        match = _COOKIE.match(line)
        if match is None:
            continue
        try:
            return codecs.lookup(match[1].decode("ascii")).name
        except (LookupError, UnicodeDecodeError):
            return None
    return None


def _utf16_without_mark(data: bytes) -> Decoded | None:
    """Return text in UTF-16 that lacks its mark: every other byte of mostly ASCII text is zero."""
    seen = data[:_LOOKED_AT]
    for offset, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = seen[offset::2].count(0), seen[1 - offset :: 2].count(0)
        if len(seen) >= 16 and zeros > 0.7 * len(seen[offset::2]) and not others:
            return Decoded(data.decode(encoding, "replace"), encoding)
    return None


def _is_mostly_text(seen: bytes) -> bool:
    odd = sum(byte < 9 or 13 < byte < 32 or 127 <= byte < 160 for byte in seen)
    return odd * 50 < len(seen)
