"""How a scan is cut into parts."""

from quantum_suite.core.scans import FileStamp
from quantum_suite.tools.qsecure.partition_files import files_to_do, partition_files
from quantum_suite.tools.qsecure.select_files import ScanLimits, SelectedFile


def a_file(name: str, size: int = 10, modified_ns: int = 1) -> SelectedFile:
    return SelectedFile(name, FileStamp(path=name, size=size, modified_ns=modified_ns))


def cut(files: list[SelectedFile], **limits: int) -> list[list[str]]:
    return [[file.relative for file in part] for part in partition_files(files, ScanLimits(**limits))]


def test_what_fits_into_one_part_is_not_cut() -> None:
    assert cut([a_file("a.py"), a_file("b.tf"), a_file("c.py")]) == [["a.py", "b.tf", "c.py"]]


def test_nothing_makes_no_part() -> None:
    assert cut([]) == []


def test_settings_stay_together_and_come_first() -> None:
    files = [a_file(f"{n}.py") for n in range(3)] + [a_file(f"m{n}/main.tf") for n in range(4)]
    assert cut(files, part_files=2) == [
        ["m0/main.tf", "m1/main.tf", "m2/main.tf", "m3/main.tf"],
        ["0.py", "1.py"],
        ["2.py"],
    ]


def test_parts_are_bounded_in_bytes_too_and_a_large_file_is_one_by_itself() -> None:
    files = [a_file("a", 60), a_file("b", 60), a_file("c", 500), a_file("d", 1)]
    assert cut(files, part_bytes=100) == [["a"], ["b"], ["c"], ["d"]]


def test_parts_are_bounded_by_the_length_of_their_names() -> None:
    files = [a_file(f"{n:04}" + "x" * 3000) for n in range(200)]
    parts = cut(files)
    assert len(parts) > 2
    assert all(sum(len(name) for name in part) < 200_000 for part in parts)
    assert [name for part in parts for name in part] == [file.relative for file in files]


def test_only_new_and_changed_files_are_to_do() -> None:
    files = [a_file("same.py"), a_file("touched.py", modified_ns=2), a_file("grown.py", size=11), a_file("new.py")]
    done = [(name, 10, 1) for name in ("same.py", "touched.py", "grown.py", "gone.py")]
    assert [file.relative for file in files_to_do(files, done)] == ["touched.py", "grown.py", "new.py"]


def test_one_changed_setting_brings_back_all_settings() -> None:
    files = [a_file("a.py"), a_file("b.tf"), a_file("c.tf", size=11)]
    done = [(name, 10, 1) for name in ("a.py", "b.tf", "c.tf")]
    assert [file.relative for file in files_to_do(files, done)] == ["b.tf", "c.tf"]
