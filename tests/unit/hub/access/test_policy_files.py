"""A wrong policy is named with its file and place, before the hub serves anybody."""

from pathlib import Path

import pytest

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.access.policy_files import load_policies

GOOD = 'permit (principal in Quantum::Role::"viewer", action == Quantum::Action::"call", resource);\n'


def test_the_shipped_policies_are_valid_and_a_missing_folder_is_no_error(tmp_path: Path) -> None:
    assert load_policies(tmp_path / "none").sources == ("roles.cedar",)
    assert len(load_policies().policy_set) == 7


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (GOOD + "\npermit (principal action, resource);", 3, "unexpected token `action`"),
        (GOOD + 'forbid (principal, action, resource)\nwhen { resource.nam == "x" };', 2, "`nam`"),
        (GOOD + 'forbid (principal in Quantum::Role::"amdin", action, resource);', 2, '"amdin"'),
        ('// a; "comment\nforbid (principal, action == Quantum::Action::"kall", resource);', 2, "kall"),
        ('@id("a;b // \\" c")\npermit (principal, action, resource);\n\n\n  nonsense', 5, "unexpected end"),
        (GOOD + '\n\npermit (principal, action, resource) when { "open };', 4, ""),
        ("permit (principal == ?principal, action, resource);", 1, "templates"),
    ],
)
def test_a_wrong_statement_is_named_with_its_file_and_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    path = tmp_path / "own.cedar"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_policies(tmp_path)
    assert caught.value.message.startswith(f"Policy {path}, line {line}: ")
    assert problem in caught.value.message


def test_files_are_read_in_name_order_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("b.cedar", "a.cedar"):
        (tmp_path / name).write_text(GOOD)
    (tmp_path / "notes.txt").write_text("not a policy")
    loaded = load_policies(tmp_path)
    assert loaded.sources == ("roles.cedar", str(tmp_path / "a.cedar"), str(tmp_path / "b.cedar"))
    assert len(loaded.policy_set) == 9


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"own\.cedar cannot be read"):
        load_policies(tmp_path)


def test_a_file_of_comments_alone_is_fine(tmp_path: Path) -> None:
    (tmp_path / "own.cedar").write_text("// nothing yet; but soon\n")
    assert len(load_policies(tmp_path).policy_set) == 7
