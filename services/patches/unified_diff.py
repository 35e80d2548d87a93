"""Reading unified diffs: the plain form, and git's with its extended headers."""

import os
import re
from collections.abc import Sequence

from quantum_suite.services.patches.file_patch import FilePatch, Hunk, Literal, refused
from quantum_suite.services.patches.interface import PatchRefused

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abtnvfr"\\])')
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_PREFIXES = (("a/", "b/"), ("i/", "w/"), ("c/", "i/"), ("c/", "w/"), ("o/", "w/"), ("1/", "2/"))
"""The two sides' prefixes, as git writes them by default and with `diff.mnemonicPrefix`."""

_NO_NEWLINE = b"\\"


def read_unified_diff(text: bytes) -> list[FilePatch]:
    """Return what a diff says of each file, in order; raises PatchRefused when it contradicts itself.

    Text before, between and after the parts of files (mail headers, a message) is passed over.
    """
    return _Reader(text.split(b"\n")).read()


class _Reader:
    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._at = 0
        self._patches: list[FilePatch] = []

    def read(self) -> list[FilePatch]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.startswith(b"diff --git "):
                self._git_file()
            elif self._is_plain_header():
                patch = FilePatch()
                self._patches.append(patch)
                self._names(patch)
                self._hunks(patch)
            elif _HUNK.match(line):
                raise PatchRefused(
                    f"Line {self._at + 1} of the patch begins a hunk, and no file was named before.",
                    "Put `--- a/PATH` and `+++ b/PATH` before it.",
                    argument="patch",
                )
            else:
                self._at += 1
        return self._patches

    def _peek(self) -> bytes:
        return self._lines[self._at] if self._at < len(self._lines) else b""

    def _is_plain_header(self) -> bool:
        following = self._lines[self._at + 1] if self._at + 1 < len(self._lines) else b""
        return self._peek().startswith(b"--- ") and following.startswith(b"+++ ")

    def _git_file(self) -> None:
        patch = FilePatch()
        self._patches.append(patch)
        header = self._peek().removeprefix(b"diff --git ").rstrip(b"\r")
        patch.old_path = patch.new_path = _name_in_header(header)
        self._at += 1
        added, removed = self._extended_headers(patch)
        if self._is_plain_header():
            self._names(patch)
        if added:
            patch.old_path = None
        if removed:
            patch.new_path = None
        if self._peek().startswith(b"GIT binary patch"):
            self._binary(patch)
        elif self._peek().startswith(b"Binary files "):
            raise refused(
                patch.path, "the patch says only that a binary file differs", "Make it with `git diff --binary`."
            )
        else:
            self._hunks(patch)
        if patch.old_path is None and patch.new_path is None:
            raise PatchRefused(
                f"`diff --git {os.fsdecode(header)}` names no file that could be told.",
                "Name the file with `---` and `+++` lines.",
                argument="patch",
            )

    def _extended_headers(self, patch: FilePatch) -> tuple[bool, bool]:
        """Read the lines between `diff --git` and the content; returns whether the file is new, and removed."""
        added = removed = False
        while self._at < len(self._lines):
            word, value = _header(self._peek())
            if word == "":
                break
            if word in ("old mode", "deleted file mode"):
                patch.old_mode = value
            elif word in ("new mode", "new file mode"):
                patch.new_mode = value
            elif word in ("rename from", "copy from"):
                patch.old_path = _path(value)
                patch.copied = word.startswith("copy")
            elif word in ("rename to", "copy to"):
                patch.new_path = _path(value)
            elif word == "index":
                patch.old_blob = value.partition("..")[0]
            added |= word == "new file mode"
            removed |= word == "deleted file mode"
            self._at += 1
        return added, removed

    def _names(self, patch: FilePatch) -> None:
        """Read the `---` and `+++` lines."""
        old, new = (_name_in_line(self._lines[self._at + offset]) for offset in (0, 1))
        self._at += 2
        as_in_header = patch.old_path is not None and {old, new} <= {None, patch.old_path, patch.new_path}
        for left, right in () if as_in_header else _PREFIXES:
            if (old is None or old.startswith(left)) and (new is None or new.startswith(right)):
                old = old[2:] if old else None
                new = new[2:] if new else None
                break
        if old is None and new is None:
            raise PatchRefused("The patch has a file that is /dev/null on both sides.", argument="patch")
        renamed = patch.old_path != patch.new_path
        if renamed and (old, new) != (patch.old_path, patch.new_path):
            raise refused(
                patch.path, "the `rename` or `copy` lines and the `---` and `+++` lines name different files"
            )
        if patch.old_path is None and old is not None and new is not None and old != new:
            # Without git's own lines, two names are a file and its copy with another ending, as diff(1) is given.
            old = new
        patch.old_path, patch.new_path = old, new

    def _hunks(self, patch: FilePatch) -> None:
        while match := _HUNK.match(self._peek()):
            patch.hunks.append(self._hunk(patch, match))
        line = self._peek()
        if (
            patch.hunks
            and line[:1] in (b" ", b"+", b"-")
            and not self._is_plain_header()
            and line.rstrip() != b"--"
        ):
            hunk = patch.hunks[-1]
            raise refused(
                patch.path,
                f"hunk {hunk.number} ({hunk.header}) goes on after the lines that its header counts, at line"
                f" {self._at + 1} of the patch",
                "Correct the counts in the header.",
            )

    def _hunk(self, patch: FilePatch, match: "re.Match[bytes]") -> Hunk:
        old_size, new_size = (1 if size is None else int(size) for size in (match[2], match[4]))
        header = match[0].decode()
        number = len(patch.hunks) + 1
        self._at += 1
        sizes = {"old": old_size, "new": new_size}
        found: dict[str, list[bytes]] = {"old": [], "new": []}
        sides: tuple[str, ...] = ()
        while any(len(found[side]) < sizes[side] for side in sizes) or self._peek().startswith(_NO_NEWLINE):
            line = self._peek()
            if line.startswith(_NO_NEWLINE):
                for side in sides:
                    found[side][-1] = found[side][-1].removesuffix(b"\n")
            else:
                # The last piece of a text that ends with a newline is empty, and no line.
                sides = () if self._at >= len(self._lines) - (line == b"") else _sides(line)
                if not sides or any(len(found[side]) >= sizes[side] for side in sides):
                    raise _miscounted(patch, number, header, sizes, found)
                for side in sides:
                    found[side].append(line[1:] + b"\n")
            self._at += 1
        return Hunk(number, header, int(match[1]), tuple(found["old"]), tuple(found["new"]))

    def _binary(self, patch: FilePatch) -> None:
        self._at += 1
        kind, _, size = self._peek().partition(b" ")
        if kind != b"literal" or not size.strip().isdigit():
            raise refused(
                patch.path,
                "its binary content is given as a difference, which is not applied",
                "Give the whole content (`literal`), or write the file in another way.",
            )
        self._at += 1
        encoded: list[bytes] = []
        while self._peek():
            encoded.append(self._peek())
            self._at += 1
        patch.binary = Literal(int(size), tuple(encoded))
        # The way back follows, in the same form; it is not needed.
        self._at += 1
        while self._peek() and not self._peek().startswith(b"diff "):
            self._at += 1


def _sides(line: bytes) -> tuple[str, ...]:
    """Return which sides a line of a hunk belongs to; none when it belongs to no hunk."""
    if line[:1] in (b" ", b"") or line == b"\r":
        return ("old", "new")  # An editor that strips spaces leaves nothing of an empty line of context.
    return {b"-": ("old",), b"+": ("new",)}.get(line[:1], ())


def _miscounted(
    patch: FilePatch, number: int, header: str, said: dict[str, int], found: dict[str, list[bytes]]
) -> PatchRefused:
    counts = f"{len(found['old'])} and {len(found['new'])}"
    return refused(
        patch.path,
        f"hunk {number} ({header}) should have {said['old']} old and {said['new']} new lines; after {counts} comes"
        " one that does not fit",
        "Correct the counts in the header, or the lines.",
    )


_WORDS = (
    *("old mode", "new mode", "deleted file mode", "new file mode"),
    *("copy from", "copy to", "rename from", "rename to"),
    *("similarity index", "dissimilarity index", "index"),
)


def _header(line: bytes) -> tuple[str, str]:
    """Return the word and the value of one of git's extended headers; ("", "") for another line."""
    text = os.fsdecode(line.rstrip(b"\r"))
    return next(((word, text[len(word) + 1 :]) for word in _WORDS if text.startswith(f"{word} ")), ("", ""))


def _name_in_header(header: bytes) -> str | None:
    """Return the file that `diff --git A B` is about, where both sides name the same one."""
    if header.startswith(b'"'):
        end = _end_of_quoted(header)
        old, new = _unquoted(header[: end + 1]), _unquoted(header[end + 2 :])
    else:
        middle = (len(header) - 1) // 2
        if header[middle : middle + 1] != b" ":
            return None
        old, new = header[:middle], _unquoted(header[middle + 1 :])
    left, right = os.fsdecode(old), os.fsdecode(new)
    if left == right:
        return left
    for prefixes in _PREFIXES:
        if left.startswith(prefixes[0]) and right.startswith(prefixes[1]) and left[2:] == right[2:]:
            return left[2:]
    return None


def _name_in_line(line: bytes) -> str | None:
    """Return the path of a `---` or `+++` line; None for /dev/null."""
    name = line[4:].rstrip(b"\r")
    # diff(1) puts the time after a tab; git puts a bare tab after a name with spaces.
    name = _unquoted(name) if name.startswith(b'"') else name.partition(b"\t")[0]
    return None if name == b"/dev/null" else os.fsdecode(name)


def _path(value: str) -> str:
    return os.fsdecode(_unquoted(os.fsencode(value)))


def _unquoted(name: bytes) -> bytes:
    """Return a path without the quotes and escapes that git puts around unusual ones."""
    if not name.startswith(b'"'):
        return name
    inside = name[1 : _end_of_quoted(name)]

    def plain(match: "re.Match[bytes]") -> bytes:
        code = match[1]
        if code.isdigit():
            return bytes([int(code, 8) & 0xFF])
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(plain, inside)


def _end_of_quoted(name: bytes) -> int:
    at = 1
    while at < len(name) and name[at : at + 1] != b'"':
        at += 2 if name[at : at + 1] == b"\\" else 1
    return at
