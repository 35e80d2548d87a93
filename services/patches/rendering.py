"""Showing what a change set does: as a diff that git and `apply_patch` accept, and as numbers of lines."""

import difflib
import hashlib
import os
import re
import zlib
from base64 import b85encode
from collections.abc import Iterator, Sequence

from quantum_suite.services.patches.interface import ChangeSet, FileChange
from quantum_suite.services.patches.lines import split_lines

_CONTEXT = 3
_MOST_COMPARED = 20_000_000
"""How many pairs of lines may be compared; a larger difference is shown as one block that replaces another."""

_PLAIN_NAME = re.compile(rb'[^\x00-\x1f"\\\x7f-\xff]*\Z')

Step = tuple[str, int, int, int, int]
"""What turns lines i1-i2 into lines j1-j2: `equal`, `replace`, `delete` or `insert`, as difflib has it."""


def to_unified_diff(change: ChangeSet) -> str:
    """Return a change set as git writes it, with three lines of context.

    What is not UTF-8 text is written as git's binary literal, so that the whole is text and nothing is lost.
    """
    return "".join(_file_diff(file) for file in change.files)


def changed_lines(change: ChangeSet) -> dict[str, frozenset[int]]:
    """Return by path the numbers of the lines that a change set brought, in the new version; removed files and
    those that only lost lines have none."""
    found: dict[str, frozenset[int]] = {}
    for file in change.files:
        if file.after is not None:
            steps = _steps(split_lines(file.before or b""), split_lines(file.after))
            found[file.path] = frozenset(
                number + 1 for kind, _, _, start, end in steps if kind != "equal" for number in range(start, end)
            )
    return found


def _file_diff(file: FileChange) -> str:
    old_path = file.renamed_from or file.path
    old_name, new_name = _quoted("a/", old_path), _quoted("b/", file.path)
    lines = [f"diff --git {old_name} {new_name}", *_mode_lines(file)]
    if file.renamed_from is not None:
        lines += [f"rename from {_quoted('', old_path)}", f"rename to {_quoted('', file.path)}"]
    head = "\n".join(lines) + "\n"
    if file.before == file.after:
        return head
    if not _is_text(file.before) or not _is_text(file.after):
        blobs = f"index {_blob(file.before)}..{_blob(file.after)}\n"
        return f"{head}{blobs}GIT binary patch\n{_literal(file.after)}\n{_literal(file.before)}\n"
    old, new = split_lines(file.before or b""), split_lines(file.after or b"")
    if not old and not new:
        return head
    names = ("/dev/null" if file.before is None else old_name, "/dev/null" if file.after is None else new_name)
    # A tab after a name with a space tells where it ends.
    tabs = ["\t" if " " in name else "" for name in names]
    head += f"--- {names[0]}{tabs[0]}\n+++ {names[1]}{tabs[1]}\n"
    return head + b"".join(_hunks(old, new)).decode()


def _mode_lines(file: FileChange) -> list[str]:
    mode = "100755" if file.executable else "100644"
    if file.before is None:
        return [f"new file mode {mode}"]
    if file.after is None:
        return [f"deleted file mode {mode}"]
    if file.executable is None:
        return []
    return [f"old mode {'100644' if file.executable else '100755'}", f"new mode {mode}"]


def _steps(old: Sequence[bytes], new: Sequence[bytes]) -> list[Step]:
    """Return what turns `old` into `new`. What both begin and end with is not compared line by line."""
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    most = shorter - start
    tail = next((at for at in range(most) if old[-1 - at] != new[-1 - at]), most)
    old_end, new_end = len(old) - tail, len(new) - tail
    steps: list[Step] = [("equal", 0, start, 0, start)] if start else []
    if (old_end - start) * (new_end - start) > _MOST_COMPARED:
        steps.append(("replace", start, old_end, start, new_end))
    else:
        matcher = difflib.SequenceMatcher(None, old[start:old_end], new[start:new_end], autojunk=False)
        steps += [(kind, *(at + start for at in ends)) for kind, *ends in matcher.get_opcodes()]  # type: ignore[misc]  # four ends
    if tail:
        steps.append(("equal", old_end, len(old), new_end, len(new)))
    return steps


def _hunks(old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[bytes]:
    for group in _groups(_steps(old, new)):
        old_start, old_end, new_start, new_end = group[0][1], group[-1][2], group[0][3], group[-1][4]
        yield f"@@ -{_range(old_start, old_end)} +{_range(new_start, new_end)} @@\n".encode()
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                yield from _marked(b" ", old[i1:i2])
            else:
                yield from _marked(b"-", old[i1:i2])
                yield from _marked(b"+", new[j1:j2])


def _groups(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield the steps of each hunk: changes that are near each other, with lines of context around."""
    group: list[Step] = []
    for at, (kind, i1, i2, j1, j2) in enumerate(steps):
        if kind != "equal":
            group.append((kind, i1, i2, j1, j2))
            continue
        if group and (i2 - i1 > 2 * _CONTEXT or at == len(steps) - 1):
            size = min(_CONTEXT, i2 - i1)
            yield [*group, ("equal", i1, i1 + size, j1, j1 + size)]
            group = []
        if at < len(steps) - 1:
            size = min(_CONTEXT, i2 - i1) if not group else i2 - i1
            group.append(("equal", i2 - size, i2, j2 - size, j2))
    if group:
        yield group


def _range(start: int, end: int) -> str:
    size = end - start
    if size == 1:
        return str(start + 1)
    return f"{start + 1 if size else start},{size}"


def _marked(mark: bytes, lines: Sequence[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield mark + line if line.endswith(b"\n") else mark + line + b"\n\\ No newline at end of file\n"


def _is_text(content: bytes | None) -> bool:
    if content is None:
        return True
    if b"\0" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _quoted(prefix: str, path: str) -> str:
    """Return a name as git writes it: in quotes, with escapes, where it holds anything unusual."""
    name = prefix.encode() + os.fsencode(path)
    if _PLAIN_NAME.match(name):
        return name.decode()
    escaped = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
        for byte in name
    )
    return f'"{escaped}"'


def _blob(content: bytes | None) -> str:
    """Return the id that git gives to a content."""
    if content is None:
        return "0" * 40
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _literal(content: bytes | None) -> str:
    """Return a content as git's binary literal."""
    content = content or b""
    packed = zlib.compress(content)
    lines = [f"literal {len(content)}"]
    for at in range(0, len(packed), 52):
        piece = packed[at : at + 52]
        length = chr(64 + len(piece)) if len(piece) <= 26 else chr(96 + len(piece) - 26)
        lines.append(length + b85encode(piece, pad=True).decode())
    return "\n".join(lines) + "\n"
