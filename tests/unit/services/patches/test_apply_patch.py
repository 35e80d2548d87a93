"""Patches are applied exactly, or refused with what was expected and what is there."""

import os
import subprocess
from pathlib import Path

import pytest

from quantum_suite.services.patches import paths
from quantum_suite.services.patches.applying import apply_patch
from quantum_suite.services.patches.interface import MAX_PATCH_BYTES, FileChange, PatchRefused

TEN = "".join(f"line {number}\n" for number in range(1, 11))


def diff(path: str, hunk: str) -> str:
    return f"--- a/{path}\n+++ b/{path}\n{hunk}"


def only(patch: str | bytes, root: Path) -> FileChange:
    (file,) = apply_patch(patch, root).files
    return file


def refusal(patch: str | bytes, root: Path) -> str:
    with pytest.raises(PatchRefused) as caught:
        apply_patch(patch, root)
    return str(caught.value)


REPLACE_FIVE = "@@ -4,3 +4,3 @@\n line 4\n-line 5\n+line five\n line 6\n"


def test_a_hunk_replaces_the_lines_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    change = only(diff("a.txt", REPLACE_FIVE), tmp_path)
    assert change.kind == "changed"
    assert change.after == TEN.replace("line 5", "line five").encode()
    assert (tmp_path / "a.txt").read_text() == TEN, "nothing is written"


def test_a_hunk_whose_line_number_is_off_goes_where_its_lines_are_if_that_is_one_place(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("new\nnew\n" + TEN)
    change = only(diff("a.txt", REPLACE_FIVE), tmp_path)
    assert change.after == ("new\nnew\n" + TEN.replace("line 5", "line five")).encode()


def test_a_hunk_whose_lines_stand_at_two_other_places_is_refused_with_the_places(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("new\n" + TEN + TEN)
    assert "hunk 1 (@@ -4,3 +4,3 @@) is not at line 4, and its lines stand 2 times (lines 5, 15)" in refusal(
        diff("a.txt", REPLACE_FIVE), tmp_path
    )


def test_a_hunk_at_its_line_number_is_applied_though_its_lines_also_stand_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN + TEN)
    change = only(diff("a.txt", REPLACE_FIVE.replace("-4,3 +4,3", "-14,3 +14,3")), tmp_path)
    assert change.after == (TEN + TEN.replace("line 5", "line five")).encode()


def test_a_hunk_that_fits_nowhere_is_refused_with_what_was_expected_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN.replace("line 5\n", "line  5\n"))
    said = refusal(diff("a.txt", REPLACE_FIVE), tmp_path)
    assert said.startswith(
        "a.txt: hunk 1 (@@ -4,3 +4,3 @@) does not fit: line 5 should be 'line 5', and is 'line  5'"
    )


def test_only_spaces_that_differ_are_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x = [1,  2]\n")
    assert "(only spaces differ)" in refusal(diff("a.txt", "@@ -1 +1 @@\n-x = [1, 2]\n+x = []\n"), tmp_path)


def test_a_patch_that_was_applied_before_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN.replace("line 5", "line five"))
    assert "seems to be applied already" in refusal(diff("a.txt", REPLACE_FIVE), tmp_path)


def test_hunks_out_of_order_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    late = "@@ -9,2 +9,2 @@\n line 9\n-line 10\n+line ten\n"
    assert "before the end of the one before" in refusal(diff("a.txt", late + REPLACE_FIVE), tmp_path)


@pytest.mark.parametrize(
    "hunk",
    [
        REPLACE_FIVE.replace("-4,3", "-4,4"),
        REPLACE_FIVE.replace("+4,3", "+4,2"),
        REPLACE_FIVE + "+line more\n",
        REPLACE_FIVE + " line 7\n",
    ],
)
def test_a_hunk_whose_lines_are_not_as_many_as_its_header_says_is_refused(tmp_path: Path, hunk: str) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    assert "Correct the counts in the header" in refusal(diff("a.txt", hunk), tmp_path)


def test_lines_without_context_are_refused_unless_the_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    (tmp_path / "empty").write_text("")
    assert "without a line around them" in refusal(diff("a.txt", "@@ -3,0 +4 @@\n+new\n"), tmp_path)
    assert only(diff("empty", "@@ -0,0 +1 @@\n+new\n"), tmp_path).after == b"new\n"


def test_an_empty_line_of_context_may_have_lost_its_space(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n\nb\n")
    assert only(diff("a.txt", "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n"), tmp_path).after == b"a\n\nc\n"


def test_a_newline_at_the_end_of_a_file_is_added_and_taken_only_where_the_patch_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb")
    no_newline = "\\ No newline at end of file\n"
    added = only(diff("a.txt", f"@@ -1,2 +1,2 @@\n a\n-b\n{no_newline}+b\n"), tmp_path)
    assert added.after == b"a\nb\n"
    kept = only(diff("a.txt", f"@@ -1,2 +1,2 @@\n-a\n+c\n b\n{no_newline}"), tmp_path)
    assert kept.after == b"c\nb"
    assert "has no newline at its end" in refusal(diff("a.txt", "@@ -1,2 +1,2 @@\n-a\n+c\n b\n"), tmp_path)


def test_a_newline_cannot_be_taken_from_a_line_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    hunk = "@@ -1 +1 @@\n-a\n+c\n\\ No newline at end of file\n"
    assert "in the middle of the file" in refusal(diff("a.txt", hunk), tmp_path)


def test_a_patch_with_plain_newlines_keeps_the_line_endings_of_a_crlf_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEN.replace("\n", "\r\n").encode())
    change = only(diff("a.txt", REPLACE_FIVE), tmp_path)
    assert change.after == TEN.replace("line 5", "line five").replace("\n", "\r\n").encode()


def test_a_patch_with_crlf_does_not_fit_a_file_without(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    assert "(the line endings differ)" in refusal(diff("a.txt", REPLACE_FIVE).replace("\n", "\r\n"), tmp_path)


def test_files_with_mixed_line_endings_are_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\nc\r\n")
    change = only(diff("a.txt", "@@ -1,3 +1,3 @@\n a\r\n-b\n+B\n c\r\n"), tmp_path)
    assert change.after == b"a\r\nB\nc\r\n"


def test_a_file_in_another_encoding_is_changed_where_the_patch_does_not_touch_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n" + TEN.encode())
    change = only(diff("a.txt", REPLACE_FIVE), tmp_path)
    assert change.after is not None
    assert change.after.startswith(b"caf\xe9\nline 1\n")
    assert "line 1 should be 'caf\u00e9', and is 'caf\\\\xe9'" in refusal(
        diff("a.txt", "@@ -1,2 +1,2 @@\n-caf\u00e9\n+tea\n line 1\n"), tmp_path
    )


def test_several_files_are_changed_added_removed_and_renamed_at_once(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/a.txt").write_text(TEN)
    (tmp_path / "gone.txt").write_text("bye\n")
    (tmp_path / "old name.txt").write_text(TEN)
    patch = (
        "From: somebody\n\nA message\n---\n pkg/a.txt | 2 +-\n\n"
        + "diff --git a/pkg/a.txt b/pkg/a.txt\nindex 123..456 100644\n"
        + diff("pkg/a.txt", REPLACE_FIVE)
        + "diff --git a/gone.txt b/gone.txt\ndeleted file mode 100644\n"
        + "--- a/gone.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n"
        + "diff --git a/new/x.sh b/new/x.sh\nnew file mode 100755\n"
        + "--- /dev/null\n+++ b/new/x.sh\n@@ -0,0 +1 @@\n+hi\n"
        + "diff --git a/old name.txt b/new name.txt\nsimilarity index 90%\nrename from old name.txt\n"
        + "rename to new name.txt\n--- a/old name.txt\t\n+++ b/new name.txt\t\n"
        + REPLACE_FIVE
        + "diff --git a/empty b/empty\nnew file mode 100644\nindex 0000000..e69de29\n-- \n2.39.5\n"
    )
    change = apply_patch(patch, tmp_path)
    assert [(file.path, file.kind, file.executable) for file in change.files] == [
        ("pkg/a.txt", "changed", None),
        ("gone.txt", "removed", None),
        ("new/x.sh", "added", True),
        ("new name.txt", "renamed", None),
        ("empty", "added", None),
    ]
    assert change.files[3].renamed_from == "old name.txt"
    assert change.files[3].before == TEN.encode()
    assert change.files[4].after == b""


def test_a_mode_alone_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x\n")
    patch = "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n"
    change = only(patch, tmp_path)
    assert (change.executable, change.before, change.after) == (True, b"x\n", b"x\n")


def test_a_copy_is_an_added_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(TEN)
    patch = "diff --git a/a b/b\nsimilarity index 100%\ncopy from a\ncopy to b\n"
    change = only(patch, tmp_path)
    assert (change.path, change.kind, change.after) == ("b", "added", TEN.encode())


def test_diffs_without_prefixes_and_from_plain_diff_are_understood(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/a.txt").write_text(TEN)
    without = f"diff --git b/a.txt b/a.txt\nindex 1..2 100644\n--- b/a.txt\n+++ b/a.txt\n{REPLACE_FIVE}"
    plain = f"--- b/a.txt.orig\t2024-01-01 00:00:00\n+++ b/a.txt\t2024-01-01 00:00:01\n{REPLACE_FIVE}"
    assert only(without, tmp_path).path == "b/a.txt"
    assert only(plain, tmp_path).path == "b/a.txt"


def test_quoted_names_are_read_as_git_writes_them(tmp_path: Path) -> None:
    (tmp_path / 'ä"\t.txt').write_text(TEN)
    name = r'"a/\303\244\"\t.txt"'
    patch = (
        f"diff --git {name} {name.replace('a/', 'b/')}\n--- {name}\n+++ {name.replace('a/', 'b/')}\n{REPLACE_FIVE}"
    )
    assert only(patch, tmp_path).path == 'ä"\t.txt'


def test_a_later_part_for_the_same_file_builds_on_the_earlier(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    again = REPLACE_FIVE.replace("-line 5", "-line five").replace("+line five", "+line V")
    change = only(diff("a.txt", REPLACE_FIVE) + diff("a.txt", again), tmp_path)
    assert change.after == TEN.replace("line 5", "line V").encode()


def binary_diff(root: Path, before: bytes | None, after: bytes) -> bytes:
    """What git itself writes for a binary file."""
    subprocess.run(["git", "init", "-q", root], check=True)
    if before is not None:
        (root / "x.bin").write_bytes(before)
        subprocess.run(["git", "-C", root, "add", "x.bin"], check=True)
    (root / "x.bin").write_bytes(after)
    subprocess.run(["git", "-C", root, "add", "-N", "x.bin"], check=True)
    made = subprocess.run(
        ["git", "-C", root, "diff", "--binary", "--no-ext-diff"], check=True, capture_output=True
    ).stdout
    (root / "x.bin").unlink()
    if before is not None:
        (root / "x.bin").write_bytes(before)
    return made


def test_a_binary_file_given_whole_is_applied_to_what_it_was_made_for(tmp_path: Path) -> None:
    before, after = bytes(range(256)), os.urandom(700)
    patch = binary_diff(tmp_path, before, after)
    assert b"literal 700" in patch
    assert only(patch, tmp_path).after == after
    (tmp_path / "x.bin").write_bytes(before + b"!")
    assert "not the one the patch was made for" in refusal(patch, tmp_path)


def test_a_new_binary_file_is_made_and_a_damaged_one_refused(tmp_path: Path) -> None:
    patch = binary_diff(tmp_path, None, bytes(range(256)))
    assert only(patch, tmp_path).after == bytes(range(256))
    assert "damaged" in refusal(patch.replace(b"literal 256\nz", b"literal 256\nzz"), tmp_path)
    assert "should have 255 bytes" in refusal(patch.replace(b"literal 256", b"literal 255"), tmp_path)
    assert "not applied" in refusal(patch.replace(b"literal 256", b"delta 256"), tmp_path)


def test_a_binary_file_that_only_differs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0")
    said = refusal("diff --git a/x b/x\nindex 1..2\nBinary files a/x and b/x differ\n", tmp_path)
    assert "git diff --binary" in said


@pytest.mark.parametrize(
    "path",
    [
        "../out.txt",
        "/etc/passwd",
        "a/../../out",
        ".git/config",
        "sub/.GIT/hooks/x",
        ".git./x",
        "git~1/x",
        "a//b",
        "./a",
        ".g\u200cit/config",
    ],
)
def test_paths_that_leave_the_root_or_reach_into_history_are_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    diff_form = f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    block = f"{path}\n<<<<<<< SEARCH\n=======\nx\n>>>>>>> REPLACE\n"
    for patch in (diff_form, block):
        assert "The patch names" in refusal(patch, root)


def test_paths_over_links_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a.txt").write_text(TEN)
    (root / "folder").symlink_to(outside)
    (root / "file.txt").symlink_to(outside / "a.txt")
    assert "is a link or no folder" in refusal(diff("folder/a.txt", REPLACE_FIVE), root)
    assert "'file.txt' is a link" in refusal(diff("file.txt", REPLACE_FIVE), root)


def test_links_submodules_and_special_files_are_refused(tmp_path: Path) -> None:
    link = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n"
    assert "mode 120000" in refusal(link, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no plain file" in refusal(diff("pipe", REPLACE_FIVE), tmp_path)


def test_files_and_patches_past_their_limits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MAX_FILE_BYTES", 10)
    (tmp_path / "a.txt").write_text(TEN)
    assert "more than 10 bytes" in refusal(diff("a.txt", REPLACE_FIVE), tmp_path)
    assert f"it may have {MAX_PATCH_BYTES}" in refusal("x" * (MAX_PATCH_BYTES + 1), tmp_path)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("", "no change that could be read"),
        ("Please rename foo to bar.", "no change that could be read"),
        ("\ud800", "half a character"),
        ("@@ -1 +1 @@\n-a\n+b\n", "no file was named before"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", "on both sides"),
        ("diff --git a/x b/y\nindex 1..2 100644\n", "names no file that could be told"),
        ("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-a\n+b\n", "there is no such file"),
        ("--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+b\n", "it exists already"),
        ("--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n", "leaves lines of it"),
        (
            "diff --git a/a b/c\nrename from a\nrename to c\n--- a/b\n+++ b/c\n@@ -1 +1 @@\n-x\n+y\n",
            "different files",
        ),
        ("diff --git a/a b/b\nrename from a\nrename to b\n", "'a' is to become it"),
        ("diff --git a/a b/a\nold mode 100644\nnew mode 100644\n", "changes nothing"),
        ("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+z\ndiff --git a/a b/c\nrename from a\nrename to c\n", "two patches"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(tmp_path: Path, patch: str, said: str) -> None:
    (tmp_path / "a").write_text("x\ny\n")
    (tmp_path / "b").write_text("x\n")
    assert said in refusal(patch, tmp_path)


# --- search/replace -------------------------------------------------------------------------------------------


def block(path: str, search: str, replace: str) -> str:
    return f"{path}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


def test_a_block_replaces_the_one_place_where_its_lines_stand(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    change = only(block("a.txt", "line 4\nline 5\n", "line 4.5\n"), tmp_path)
    assert change.after == TEN.replace("line 4\nline 5\n", "line 4.5\n").encode()


def test_blocks_in_code_fences_and_without_a_path_of_their_own_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN)
    text = (
        "Here it is:\n\n`a.txt`\n```python\n"
        "<<<<<<< SEARCH\nline 4\n=======\n>>>>>>> REPLACE\n```\n"
        "<<<<<<< SEARCH\nline 6\n=======\nline six\n>>>>>>> REPLACE\n"
    )
    assert only(text, tmp_path).after == TEN.replace("line 4\n", "").replace("line 6", "line six").encode()


def test_a_block_with_nothing_to_search_makes_a_file(tmp_path: Path) -> None:
    change = only(block("new/a.py", "", "x = 1\n"), tmp_path)
    assert (change.kind, change.after) == ("added", b"x = 1\n")


def test_lines_that_stand_there_twice_are_refused_with_the_places(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEN + TEN)
    assert "block 1 searches for lines that stand there 2 times (lines 5, 15)" in refusal(
        block("a.txt", "line 5\n", "x\n"), tmp_path
    )


def test_lines_that_stand_nowhere_are_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n\n\ndef f():\n    return  1\n\n\nx = 3\n")
    said = refusal(block("a.py", "def f():\n    return 1\n", ""), tmp_path)
    assert "the nearest are lines 4-5, where line 5 should be '    return 1', and is '    return  1'" in said
    assert "line 8 should be 'x = 33', and is 'x = 3'" in refusal(block("a.py", "x = 33\n", ""), tmp_path)
    assert "nor any like them" in refusal(block("a.py", "completely different\n", ""), tmp_path)


def test_blocks_keep_the_line_endings_and_the_missing_last_newline(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\nb\r\nc")
    assert only(block("a.txt", "b\n", "B\nBB\n"), tmp_path).after == b"a\r\nB\r\nBB\r\nc"
    assert only(block("a.txt", "c\n", "C\n"), tmp_path).after == b"a\r\nb\r\nC"


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ("<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n", "names no file"),
        ("a\n<<<<<<< SEARCH\nx\n>>>>>>> REPLACE\n", "where '=======' was to come"),
        ("a\n<<<<<<< SEARCH\nx\n=======\ny\n=======\nz\n>>>>>>> REPLACE\n", "where '>>>>>>> REPLACE' was to come"),
        ("a\n<<<<<<< SEARCH\nx\n=======\ny\n", "is not closed by '>>>>>>> REPLACE'"),
        ("none\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n", "does not exist"),
        ("a\n<<<<<<< SEARCH\n=======\ny\n>>>>>>> REPLACE\n", "the file is not empty"),
        ("a\n<<<<<<< SEARCH\nx\n=======\nx\n>>>>>>> REPLACE\n", "changes nothing"),
    ],
)
def test_blocks_that_cannot_be_meant_are_refused_with_the_reason(tmp_path: Path, patch: str, said: str) -> None:
    (tmp_path / "a").write_text("x\n")
    assert said in refusal(patch, tmp_path)
