"""Copies a part of the workspace for the engines to read.

Engines then see exactly the selected files, as one snapshot, under names they can print, and nothing they do can
touch the workspace. Every component of a path is opened without following links, so a directory swapped for a link
between the walk and the copy leads nowhere. Text in another encoding becomes UTF-8, line by line the same.
"""

import codecs
import hashlib
import io
import os
import re
import stat
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio.from_thread

from quantum_suite.services.code_scanning.interface import StagedFile
from quantum_suite.services.scans.interface import UnassessedFile
from quantum_suite.tools.qsecure.select_files import ScanLimits, SelectedFile

_PYTHON_SUFFIXES = (".py", ".pyi", ".pyw")
_SHEBANG = re.compile(rb"#![^\n]*\bpython[0-9.]*\b")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, ""),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SNIFF_BYTES = 8192
_MAX_NAME_BYTES = 200
_IGNORE_COMMENT = re.compile(rb"(?:trivy|tfsec):ignore")
_OTHER_LANGUAGES = {
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".jsx": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".java": "Java",
    ".kt": "Kotlin",
    ".scala": "Scala",
    ".go": "Go",
    ".rs": "Rust",
    ".c": "C",
    ".h": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".hpp": "C++",
    ".cs": "C#",
    ".rb": "Ruby",
    ".php": "PHP",
    ".swift": "Swift",
    ".sh": "Shell",
    ".bash": "Shell",
    ".ps1": "PowerShell",
    ".pl": "Perl",
    ".lua": "Lua",
    ".dart": "Dart",
    ".sql": "SQL",
    ".ipynb": "Jupyter notebooks",
}


@dataclass(frozen=True, slots=True)
class StagedPart:
    """What was copied, and what could not be."""

    root: Path
    files: list[StagedFile]
    unassessed: list[UnassessedFile]


def stage_files(
    base: Path, files: Sequence[SelectedFile], target: Path, limits: ScanLimits, *, python_wanted: bool
) -> StagedPart:
    """Copy `files` below `base` into `target`, which exists and is empty. Blocks: call it in a worker thread.

    Binary files are left out. `python_wanted` says whether source in other languages is worth a note.
    """
    part = StagedPart(target, [], [])
    for file in files:
        anyio.from_thread.check_cancelled()
        try:
            content = _read_below(base, file.relative, limits.max_file_bytes)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            part.unassessed.append(UnassessedFile(file.stamp.path, "Unreadable files", reason, retry=True))
            continue
        _stage(part, file, content, python_wanted=python_wanted)
    return part


def _stage(part: StagedPart, file: SelectedFile, content: bytes, *, python_wanted: bool) -> None:
    path = file.stamp.path
    suffix = PurePosixPath(file.relative).suffix.lower()
    is_python = suffix in _PYTHON_SUFFIXES or _SHEBANG.match(content) is not None
    text = _as_utf8(content, is_python=is_python)
    if text is None:
        part.unassessed.append(UnassessedFile(path, "Binary files", "no engine here reads binary formats"))
        return
    if is_python and not _is_utf8(text):
        reason = "it is not UTF-8 and names no encoding, so Python itself would refuse it"
        part.unassessed.append(UnassessedFile(path, "Python source with bad encoding", reason))
        is_python = False
    if python_wanted and suffix in _OTHER_LANGUAGES:
        what = f"Code patterns in {_OTHER_LANGUAGES[suffix]}"
        part.unassessed.append(UnassessedFile(path, what, "no engine here reads this language"))
    if file.is_configuration and _IGNORE_COMMENT.search(text):
        what = "Settings silenced by comments"
        reason = "these files hold trivy:ignore comments, which hide what they name from the scan"
        part.unassessed.append(UnassessedFile(path, what, reason))
    staged = _staged_name(file.relative)
    target = part.root / staged
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text)
    part.files.append(StagedFile(path, staged, is_python, file.is_configuration))


def _read_below(base: Path, relative: str, max_bytes: int) -> bytes:
    directory = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    *parents, name = relative.split("/")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        for parent in parents:
            below = os.open(parent, flags | os.O_DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        # Non-blocking: a pipe put in the file's place would otherwise hold this thread for ever.
        with os.fdopen(os.open(name, flags | os.O_NONBLOCK, dir_fd=directory), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(0, "it is no regular file any more")
            return file.read(max_bytes)
    finally:
        os.close(directory)


def _as_utf8(content: bytes, *, is_python: bool) -> bytes | None:
    """Return text as UTF-8 (or as it is, where the encoding is unknown); None for a binary file."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            if not encoding:
                return content
            try:
                return content.decode(encoding).encode("utf-8", "replace")
            except UnicodeDecodeError:
                return None
    if b"\0" in content[:_SNIFF_BYTES]:
        return None
    if is_python and not _is_utf8(content):
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
            return content.decode(encoding).encode("utf-8", "replace")
        except (SyntaxError, UnicodeDecodeError, LookupError):
            return content
    return content


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _staged_name(relative: str) -> str:
    return "/".join(_safe_component(part) for part in relative.split("/"))


def _safe_component(name: str) -> str:
    if not _CONTROL.search(name) and "\\" not in name and len(os.fsencode(name)) <= _MAX_NAME_BYTES:
        return name
    suffix = PurePosixPath(name).suffix
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"renamed-{digest}{suffix if suffix.isascii() and suffix[1:].isalnum() else ''}"
