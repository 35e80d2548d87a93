"""How files are copied for the engines."""

import os
from pathlib import Path

import anyio.to_thread
import pytest

from quantum_suite.core.scans import FileStamp
from quantum_suite.tools.qsecure.select_files import ScanLimits, SelectedFile, shown_path
from quantum_suite.tools.qsecure.stage_files import StagedPart, stage_files

pytestmark = pytest.mark.anyio


async def stage(base: Path, *names: str, python_wanted: bool = True) -> StagedPart:
    target = base.parent / "staged"
    target.mkdir()
    files = [SelectedFile(n, FileStamp(path=shown_path(n), size=0, modified_ns=0)) for n in names]
    return await anyio.to_thread.run_sync(
        lambda: stage_files(base, files, target, ScanLimits(), python_wanted=python_wanted)
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    return tmp_path / "base"


def reasons(part: StagedPart) -> list[tuple[str, str]]:
    return [(row.path, row.what) for row in part.unassessed]


async def test_text_is_copied_as_it_is_under_its_own_path(base: Path) -> None:
    (base / "src").mkdir()
    (base / "src" / "a.py").write_text("x = 'ü'\r\n", newline="")
    part = await stage(base, "src/a.py")
    assert (part.root / "src" / "a.py").read_bytes() == (base / "src" / "a.py").read_bytes()
    assert part.files[0].is_python
    assert part.unassessed == []


async def test_a_script_without_a_suffix_is_known_by_its_first_line(base: Path) -> None:
    (base / "run").write_text("#!/usr/bin/env python3\nassert True\n")
    (base / "sh").write_text("#!/bin/sh\n# python\n")
    part = await stage(base, "run", "sh")
    assert [file.is_python for file in part.files] == [True, False]


async def test_binary_files_are_left_out_and_named(base: Path) -> None:
    (base / "logo.png").write_bytes(b"\x89PNG\0\0")
    part = await stage(base, "logo.png")
    assert part.files == []
    assert reasons(part) == [("logo.png", "Binary files")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
async def test_text_with_a_byte_order_mark_is_read(base: Path, encoding: str) -> None:
    (base / "a.txt").write_text("token\n", encoding=encoding)
    part = await stage(base, "a.txt")
    assert (part.root / "a.txt").read_text("utf-8-sig") == "token\n"


async def test_python_in_a_declared_encoding_becomes_utf8(base: Path) -> None:
    (base / "a.py").write_bytes("# coding: latin-1\nx = 'é'\n".encode("latin-1"))
    part = await stage(base, "a.py")
    assert "x = 'é'" in (part.root / "a.py").read_text("utf-8")
    assert part.files[0].is_python


async def test_python_in_an_undeclared_encoding_is_named_but_still_searched_for_secrets(base: Path) -> None:
    (base / "a.py").write_bytes("x = 'é'\n".encode("latin-1"))
    part = await stage(base, "a.py")
    assert [file.is_python for file in part.files] == [False]
    assert reasons(part) == [("a.py", "Python source with bad encoding")]


async def test_a_file_that_vanished_is_named_and_tried_again_next_time(base: Path) -> None:
    part = await stage(base, "gone.py")
    assert reasons(part) == [("gone.py", "Unreadable files")]
    assert part.unassessed[0].retry


async def test_a_file_swapped_for_a_link_is_not_followed(base: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (base / "file").symlink_to(tmp_path / "outside" / "secret")
    (base / "directory").symlink_to(tmp_path / "outside")
    part = await stage(base, "file", "directory/secret")
    assert part.files == []
    assert reasons(part) == [("file", "Unreadable files"), ("directory/secret", "Unreadable files")]


async def test_a_file_swapped_for_a_pipe_does_not_block(base: Path) -> None:
    os.mkfifo(base / "pipe")
    assert reasons(await stage(base, "pipe")) == [("pipe", "Unreadable files")]


async def test_odd_names_are_staged_under_safe_ones_that_keep_the_suffix(base: Path) -> None:
    odd = [os.fsdecode(b"caf\xe9.py"), "new\nline.tf", "a" * 210 + ".py"]
    for name in odd:
        (base / name).write_text("x = 1\n")
    part = await stage(base, *odd)
    assert [file.path for file in part.files] == ["caf\\xe9.py", "new\nline.tf", "a" * 210 + ".py"]
    staged = [file.staged for file in part.files]
    assert all(name.isascii() and name.isprintable() for name in staged)
    assert [Path(name).suffix for name in staged] == [".py", ".tf", ".py"]
    assert all((part.root / name).is_file() for name in staged)


async def test_other_languages_are_named_only_when_code_was_asked_for(base: Path) -> None:
    (base / "a.js").write_text("eval(x)\n")
    assert reasons(await stage(base, "a.js")) == [("a.js", "Code patterns in JavaScript")]


async def test_without_the_code_scanner_other_languages_are_not_mentioned(base: Path) -> None:
    (base / "a.js").write_text("eval(x)\n")
    assert reasons(await stage(base, "a.js", python_wanted=False)) == []


async def test_settings_with_ignore_comments_are_named(base: Path) -> None:
    (base / "main.tf").write_text("# trivy:ignore:AWS-0086\n")
    assert reasons(await stage(base, "main.tf")) == [("main.tf", "Settings silenced by comments")]
