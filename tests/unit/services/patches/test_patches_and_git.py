"""Diffs made by git and by difflib are applied to what git makes of them, and ours are accepted by git."""

import difflib
import os
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.patches import writing
from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.patches.interface import ChangeSet, FileChange, PatchRefused
from quantum_suite.services.patches.rendering import changed_lines, to_unified_diff
from quantum_suite.services.patches.writing import reverse, write

LINES = st.lists(
    st.sampled_from(["a", "b", "", "  x", "-- y", "++ z", "@@ -1 +1 @@", "\\ No", "é", "t\r"]), max_size=30
)
TEXTS = st.builds(lambda lines, last: "\n".join(lines) + last, LINES, st.sampled_from(["", "\n"]))
CONTENTS = st.one_of(TEXTS.map(str.encode), st.binary(max_size=200), st.none())
NAMES = st.sampled_from(["a.txt", "pkg/b c.txt", 'pkg/ü"\t.txt', "d", "-e", "\udcff\udcfe"])
SOON = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def git(*arguments: str | Path, cwd: Path, given: bytes | None = None) -> bytes:
    return subprocess.run(
        ["git", "-c", "core.autocrlf=false", "-c", "core.safecrlf=false", *arguments],
        cwd=cwd,
        check=True,
        input=given,
        capture_output=True,
    ).stdout


def put(root: Path, files: dict[str, bytes | None]) -> None:
    for name, content in files.items():
        path = root / name
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def tree(root: Path) -> dict[str, tuple[bytes, bool]]:
    """What is in a folder, history aside."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), os.access(path, os.X_OK))
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


@SOON
@given(TEXTS, TEXTS, st.integers(min_value=1, max_value=4))
def test_what_difflib_says_of_two_texts_turns_one_into_the_other(before: str, after: str, context: int) -> None:
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), "a/x", "b/x", n=context, lineterm="")
    patch = "\n".join(lines) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        # Each text as lines that all end: difflib knows no missing newline.
        Path(folder, "x").write_bytes((before + "\n").encode())
        if before == after:
            return
        (change,) = apply_patch(patch, Path(folder)).files
        assert change.after == (after + "\n").encode()


@settings(SOON, max_examples=20)
@given(st.dictionaries(NAMES, st.tuples(CONTENTS, CONTENTS), min_size=1))
def test_a_diff_by_git_is_applied_to_what_git_has_and_ours_is_applied_by_git(
    files: dict[str, tuple[bytes | None, bytes | None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        git("init", "-q", ".", cwd=root)
        put(root, {name: after for name, (_, after) in files.items()})
        wanted = tree(root)
        after_id = tree_id(root)
        put(root, {name: before for name, (before, _) in files.items()})
        before_id = tree_id(root)
        # Without the delta form, which is refused by design: contents this small are mostly stored whole.
        patch = git("diff-tree", "-p", "--binary", "--no-renames", before_id, after_id, cwd=root)
        started = tree(root)
        if not patch or b"\ndelta " in patch:
            return
        change = apply_patch(patch, root)
        write(change, root)
        assert tree(root) == wanted
        write(reverse(change), root)
        assert tree(root) == started
        git("apply", "--whitespace=nowarn", "-", cwd=root, given=to_unified_diff(change).encode())
        assert tree(root) == wanted


@SOON
@given(st.dictionaries(NAMES, st.tuples(CONTENTS, CONTENTS, st.booleans()), min_size=1))
def test_a_change_set_written_as_a_diff_is_read_as_the_same_change_set(
    files: dict[str, tuple[bytes | None, bytes | None, bool]],
) -> None:
    change = ChangeSet(
        tuple(
            FileChange(name, before, after, executable=True if executable and None in (before, after) else None)
            for name, (before, after, executable) in files.items()
            if before != after
        )
    )
    if not change.files:
        return
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), {name: before for name, (before, _, _) in files.items()})
        for file in change.files:
            if file.before is not None and file.executable:
                Path(folder, file.path).chmod(0o755)
        assert apply_patch(to_unified_diff(change), Path(folder)) == change
    assert reverse(reverse(change)) == change


def tree_id(root: Path) -> str:
    """What git calls the present state of a folder."""
    git("add", "-A", "-f", ".", cwd=root)
    return git("write-tree", cwd=root).decode().strip()


def repository(root: Path) -> None:
    """A small history with everything that happens to files."""
    git("init", "-q", ".", cwd=root)
    git("config", "user.name", "A", cwd=root)
    git("config", "user.email", "a@example.org", cwd=root)
    numbers = [f"line {number}" for number in range(200)]
    states: list[dict[str, bytes | None]] = [
        {
            "a.py": "\n".join(numbers).encode(),
            "dos.txt": b"a\r\nb\r\nc\r\n",
            "old.txt": b"1\n2\n3\n4\n5\n6\n7\n8\n",
        },
        {"a.py": "\n".join([*numbers[5:50], "new", *numbers[50:90], *numbers[95:]]).encode() + b"\n"},
        {"old.txt": None, "sub/new.txt": b"1\n2\n3\n4\n5\n6\n7\nacht\n", "dos.txt": b"a\r\nB\r\nc\r\n"},
        {"bin": bytes(range(256)), "sub/new.txt": b"1\n2\n3\n4\n5\n6\n7\nacht\nneun"},
        {"bin": None, "empty": b"", "a.py": b"", "latin.txt": "caf\u00e9\n".encode("latin-1")},
        {"empty": None, "a.py": "\n".join(reversed(numbers)).encode(), "latin.txt": b"caf\xe9s\n"},
    ]
    for number, state in enumerate(states):
        put(root, state)
        if number == 3:
            (root / "dos.txt").chmod(0o755)
        git("add", "-A", cwd=root)
        git("commit", "-q", "-m", f"state {number}", cwd=root)


def test_every_commit_of_a_history_is_applied_and_taken_back(tmp_path: Path) -> None:
    repository(tmp_path)
    commits = git("rev-list", "--reverse", "HEAD", cwd=tmp_path).decode().split()
    for parent, commit in pairwise(commits):
        patch = git("format-patch", "--stdout", "--binary", "-M", "-1", commit, cwd=tmp_path)
        git("checkout", "-q", commit, cwd=tmp_path)
        wanted = tree(tmp_path)
        git("checkout", "-q", parent, cwd=tmp_path)
        found = tree(tmp_path)
        change = apply_patch(patch, tmp_path)
        write(change, tmp_path)
        assert tree(tmp_path) == wanted
        write(reverse(change), tmp_path)
        assert tree(tmp_path) == found
        git("apply", "--whitespace=nowarn", "-", cwd=tmp_path, given=to_unified_diff(change).encode())
        assert tree(tmp_path) == wanted
        write(reverse(change), tmp_path)


def test_changed_lines_are_those_that_git_counts_as_added(tmp_path: Path) -> None:
    before = b"".join(b"%d\n" % number for number in range(40))
    after = before.replace(b"3\n", b"three\nmore\n", 1).replace(b"20\n", b"").replace(b"39\n", b"39")
    change = ChangeSet(
        (FileChange("a", before, after), FileChange("gone", b"x", None), FileChange("new", None, b"1\n2"))
    )
    assert changed_lines(change) == {"a": frozenset({4, 5, 40}), "new": frozenset({1, 2})}


def test_a_large_difference_is_shown_without_comparing_every_line() -> None:
    before = b"".join(b"%d\n" % (number % 7) for number in range(30_000))
    after = b"".join(b"%d\n" % (number % 5) for number in range(30_000))
    change = ChangeSet((FileChange("a", before, after),))
    text = to_unified_diff(change)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").write_bytes(before)
        assert apply_patch(text, Path(folder)) == change


def test_nothing_is_written_when_a_file_is_not_as_it_was(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"1", "b": b"2"})
    change = ChangeSet((FileChange("a", b"1", b"one"), FileChange("b", b"other", b"two")))
    with pytest.raises(PatchRefused, match="Changed since the patch was read: b"):
        write(change, tmp_path)
    assert tree(tmp_path) == {"a": (b"1", False), "b": (b"2", False)}


def test_all_is_put_back_when_one_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"a": b"1", "b": b"2", "sub/c": b"3", "d": b"4"})
    (tmp_path / "a").chmod(0o755)
    before = tree(tmp_path)
    change = ChangeSet(
        (
            FileChange("a", b"1", b"one", executable=False),
            FileChange("sub/c", b"3", None),
            FileChange("new/e", b"4", b"4", renamed_from="d"),
            FileChange("b", b"2", b"two"),
        )
    )
    really = writing.TreeFiles.write

    def no_room(files: writing.TreeFiles, path: str, content: bytes, **options: object) -> None:
        if content == b"two":
            raise OSError(28, "No space left on device")
        really(files, path, content, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(writing.TreeFiles, "write", no_room)
    with pytest.raises(Unavailable, match=r"No space left on device. Nothing was changed"):
        write(change, tmp_path)
    assert tree(tmp_path) == before
    assert not (tmp_path / "new").exists()


def test_modes_are_kept_and_set_as_the_change_says(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"1", "b": b"2"})
    (tmp_path / "a").chmod(0o700)
    (tmp_path / "b").chmod(0o640)
    write(ChangeSet((FileChange("a", b"1", b"one"), FileChange("b", b"2", b"2", executable=True))), tmp_path)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o700, 0o750]


def test_a_link_put_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    put(root, {"sub/a": b"1"})
    put(outside, {"a": b"1"})
    change = ChangeSet((FileChange("sub/a", b"1", b"one"),))
    (root / "sub/a").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(outside)
    with pytest.raises(PatchRefused, match="is a link or no folder"):
        write(change, root)
    assert (outside / "a").read_bytes() == b"1"
