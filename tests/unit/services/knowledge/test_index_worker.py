"""What the worker does with the files it is given, whatever they became since they were listed."""

from pathlib import Path
from typing import Any

import pytest

from quantum_suite.services.knowledge.index.database import IndexDatabase
from quantum_suite.services.knowledge.index.reading import counts, known_files, uses_of
from quantum_suite.services.knowledge.index.worker import IndexWorker
from quantum_suite.services.knowledge.parsing.decoding import MAX_FILE_BYTES


class Desk:
    """A workspace, its index, and the worker that is asked."""

    def __init__(self, home: Path) -> None:
        self.root = home / "work"
        self.root.mkdir()
        self.path = home / "index.sqlite3"
        self.note = home / "note"
        self.worker = IndexWorker()
        self.database = IndexDatabase(self.path)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        return self.worker.answer({"do": do, "database": str(self.path), "root": str(self.root), **more})

    def index(self, *paths: str, language: str = "python", anew: tuple[str, ...] = ()) -> dict[str, Any]:
        files = [[path, language] for path in paths]
        return self.ask("index", files=files, note=str(self.note), anew=list(anew))

    def reasons(self) -> dict[str, str | None]:
        return {path: file.reason for path, file in self.database.read_now(known_files).items()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path.resolve())


def test_a_file_is_put_in_touched_replaced_and_taken_out(desk: Desk) -> None:
    file = desk.root / "a.py"
    file.write_text("def one():\n    return used()\n")
    assert desk.index("a.py") == {"files": 1, "lines": 2}
    before = desk.database.read_now(known_files)["a.py"]
    file.touch()
    assert desk.index("a.py")["lines"] == 0
    after = desk.database.read_now(known_files)["a.py"]
    assert (after.digest, after.seen.stamp == before.seen.stamp) == (before.digest, False)
    assert desk.index("a.py", anew=("a.py",))["lines"] == 2
    file.write_text("def two():\n    pass\n")
    desk.index("a.py")
    assert desk.database.read_now(counts).symbols == 1
    assert desk.database.read_now(lambda db: uses_of(db, "used")) == []
    file.unlink()
    desk.index("a.py")
    assert desk.reasons() == {}
    assert desk.database.read_now(counts).chunks == 0


def test_what_cannot_be_read_is_noted_with_the_reason(desk: Desk) -> None:
    (desk.root / "grown.py").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    (desk.root / "nul.py").write_bytes(b"\0" * 10)
    outside = desk.root.parent / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("def outside(): pass\n")
    (desk.root / "way").symlink_to(outside)
    (desk.root / "folder.py").mkdir()
    desk.index("grown.py", "nul.py", "way/a.py", "folder.py", "gone.py")
    reasons = desk.reasons()
    assert "grew" in str(reasons["grown.py"])
    assert "binary" in str(reasons["nul.py"])
    assert "link" in str(reasons["way/a.py"])
    assert "directory" in str(reasons["folder.py"])
    assert "gone.py" not in reasons
    assert desk.database.read_now(counts).chunks == 0


def test_a_refused_file_stays_listed_until_it_is_forgotten(desk: Desk) -> None:
    (desk.root / "a.py").write_text("def one(): pass\n")
    desk.index("a.py")
    for path in ("a.py", "gone.py"):
        desk.ask("refuse", path=path, language="python", reason="the parser ended on it")
    assert desk.reasons() == {"a.py": "the parser ended on it", "gone.py": "the parser ended on it"}
    assert desk.database.read_now(counts).symbols == 0
    desk.ask("forget", paths=["a.py", "gone.py"])
    assert desk.reasons() == {}


def test_uses_in_files_that_are_gone_are_tidied_up(desk: Desk) -> None:
    for number in range(8):
        (desk.root / f"m{number}.py").write_text("used()\n")
    desk.index(*(f"m{number}.py" for number in range(8)))
    desk.ask("forget", paths=[f"m{number}.py" for number in range(4)])
    rows = "SELECT count(*) FROM uses"
    assert desk.database.read_now(lambda db: db.execute(rows).fetchone()) == (8,)
    assert desk.ask("finish") == {"symbols": 0}
    assert desk.database.read_now(lambda db: db.execute(rows).fetchone()) == (4,)


def test_an_index_that_was_deleted_is_made_anew(desk: Desk) -> None:
    (desk.root / "a.py").write_text("def one(): pass\n")
    desk.index("a.py")
    desk.database.close()
    for file in desk.path.parent.glob("index.sqlite3*"):
        file.unlink()
    desk.index("a.py")
    again = IndexDatabase(desk.path)
    assert list(again.read_now(known_files)) == ["a.py"]
    again.close()


def test_a_request_that_is_none_is_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="Nothing is known"):
        desk.ask("dance")
