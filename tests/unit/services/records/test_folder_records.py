"""Records with their files are kept whole, for their owner, and readable in the form they always had."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantum_suite.core.errors import NotFound
from quantum_suite.core.principals import LOCAL, Principal
from quantum_suite.services.metrics.result_store import ResultStore
from quantum_suite.services.records.folder_records import FolderRecords, RecordKind
from quantum_suite.services.testing.report_store import ReportStore

pytestmark = pytest.mark.anyio

ANN, BOB = Principal("key:ann"), Principal("key:bob")


@dataclass(frozen=True, slots=True)
class Note:
    id: str
    owner: str
    words: tuple[str, ...] = ()


def records(directory: Path, keep: int = 2) -> FolderRecords[Note]:
    kind = RecordKind(
        "note",
        noun="note",
        named_in="the desk",
        record_file="note.json",
        keep=keep,
        load=lambda told: Note(told["id"], told["owner"], tuple(told["words"])),
    )
    return FolderRecords(directory, kind)


async def saved(notes: FolderRecords[Note], owner: Principal = ANN, **files: bytes) -> Note:
    note = Note(notes.new_id(), owner.id, ("a", "b"))
    await notes.save(note, files.items())
    return note


async def test_a_record_comes_back_with_its_files(tmp_path: Path) -> None:
    notes = records(tmp_path / "made" / "here")
    note = await saved(notes, text=b"\x00words")
    assert await notes.get(note.id, ANN) == note
    assert await notes.file(note, "text") == b"\x00words"
    folder = tmp_path / "made" / "here" / note.id
    assert sorted(path.name for path in folder.iterdir()) == ["note.json", "text"]
    assert [path.stat().st_mode & 0o077 for path in (folder, folder.parent)] == [0, 0]


async def test_owners_see_their_own_and_administrators_all(tmp_path: Path) -> None:
    notes = records(tmp_path)
    hers, his = await saved(notes), await saved(notes, BOB)
    assert (await notes.latest(ANN), await notes.latest(BOB)) == ([hers], [his])
    assert await notes.latest(LOCAL) == [his, hers]
    assert await notes.latest(LOCAL, 1) == [his]
    with pytest.raises(NotFound, match=f"There is no note '{hers.id}'"):
        await notes.get(hers.id, BOB)


async def test_the_oldest_of_an_owner_go_with_their_files(tmp_path: Path) -> None:
    notes = records(tmp_path, keep=2)
    his = await saved(notes, BOB)
    hers = [await saved(notes, text=b"x") for _ in range(4)]
    assert await notes.latest(LOCAL) == [hers[3], hers[2], his]
    assert len(list(tmp_path.iterdir())) == 3
    with pytest.raises(NotFound, match="There is no note"):
        await notes.file(hers[0], "text")


async def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield "first", b"x"
        raise OSError(28, "no space left")

    notes = records(tmp_path)
    with pytest.raises(OSError, match="no space left"):
        await notes.save(Note(notes.new_id(), ANN.id), files())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../note.json", "a/b", "/etc/passwd", "note.json"])
async def test_no_name_reaches_beyond_a_records_files(tmp_path: Path, name: str) -> None:
    notes = records(tmp_path)
    note = await saved(notes)
    with pytest.raises(ValueError, match="no name of a file"):
        await notes.file(note, name)
    with pytest.raises(ValueError, match="no name of a file"):
        await notes.save(Note(notes.new_id(), ANN.id), [(name, b"x")])
    assert await notes.latest(ANN) == [note]


@pytest.mark.parametrize("told", ["{", "[]", "{}", '{"id": "note_x", "owner": "key:ann", "words": []}'])
async def test_a_record_that_is_not_what_its_folder_says_is_none(tmp_path: Path, told: str) -> None:
    notes = records(tmp_path)
    note = await saved(notes)
    (tmp_path / note.id / "note.json").write_text(told)
    assert await notes.latest(LOCAL) == []
    with pytest.raises(NotFound):
        await notes.get(note.id, LOCAL)


async def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".new-broken-off").mkdir()
    (tmp_path / "mine").mkdir()
    notes = records(tmp_path, keep=1)
    await saved(notes)
    note = await saved(notes)
    assert await notes.latest(LOCAL) == [note]
    assert {path.name for path in tmp_path.iterdir()} == {".new-broken-off", "mine", note.id}


async def test_answers_and_runs_lie_under_the_names_they_always_had(tmp_path: Path) -> None:
    answer, run = "query_" + "0" * 26, "run_" + "0" * 26
    _laid(tmp_path / answer, "1.csv", "record.json", ANSWER | {"id": answer})
    _laid(tmp_path / run, "junit", "run.json", RUN | {"id": run})
    assert await ResultStore(tmp_path).page(answer, "csv", "1", ANN) == b"kept"
    assert await ReportStore(tmp_path).report(run, "junit", ANN) == b"kept"
    fresh = await ResultStore(tmp_path).save(ANN, "live", "up", (0, 1, 1), ())
    assert {path.name for path in (tmp_path / fresh.id).iterdir()} == {"1.json", "1.csv", "record.json"}
    assert json.loads((tmp_path / fresh.id / "record.json").read_bytes()).keys() == ANSWER.keys() | {"id"}
    ran = await ReportStore(tmp_path).save(ANN, "tests", tmp_path, {"passed": True}, {"junit": b"<x/>"})
    assert {path.name for path in (tmp_path / ran.id).iterdir()} == {"junit", "run.json"}
    assert json.loads((tmp_path / ran.id / "run.json").read_bytes()).keys() == RUN.keys() | {"id"}


STORED_AT = "2026-01-01T00:00:00+00:00"
ANSWER: dict[str, object] = {
    "owner": ANN.id,
    "source": "live",
    "query": "up",
    "start": 0.0,
    "end": 1.0,
    "step": 1.0,
    "stored_at": STORED_AT,
    "series": 1,
    "points": 1,
    "pages": 1,
}
RUN: dict[str, object] = {
    "owner": ANN.id,
    "kind": "tests",
    "root": "/r",
    "stored_at": STORED_AT,
    "summary": {"passed": True},
    "views": ["junit"],
}


def _laid(folder: Path, name: str, record_file: str, record: dict[str, object]) -> None:
    folder.mkdir()
    (folder / name).write_bytes(b"kept")
    (folder / record_file).write_text(json.dumps(record))
