"""Searching a log that is longer than one look takes in."""

from pathlib import Path

import pytest
from reference.counting import Cleared, counted, opened

from quantum_suite.core.events import EventFilter, NewEvent
from quantum_suite.services.events import postgres, sqlite, sqlite_writer

pytestmark = pytest.mark.anyio

WANTED = EventFilter(frozenset({"tests.counter.cleared"}))


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sqlite, "SCANNED_EVENTS", 7)
    monkeypatch.setattr(postgres, "SCANNED_EVENTS", 7)
    monkeypatch.setattr(sqlite_writer, "REMEMBERED_STREAMS", 2)
    return str(request.getfixturevalue("postgres_url") if request.param == "postgres" else tmp_path / "events.db")


async def test_rare_events_are_found_stretch_by_stretch(where: str) -> None:
    async with opened(where) as store:
        rare = []
        for turn in range(4):
            await store.append(f"tests.counter/{turn}", 0, counted(*range(10 + turn)))
            rare += await store.append("tests.counter/rare", turn, [NewEvent(Cleared())])
        found = []
        after = None
        while page := await store.read(after, WANTED):
            found += page
            after = page[-1].position
        assert found == rare
        assert await store.read(rare[0].position, WANTED, limit=1) == rare[1:2]
        assert await store.read(rare[-1].position, WANTED) == []
        async with store.subscribe(rare[1].position, WANTED) as batches:
            assert await anext(batches) == rare[2:3]
            assert await anext(batches) == rare[3:]


async def test_streams_are_remembered_only_so_long_and_their_versions_stay_right(where: str) -> None:
    async with opened(where) as store:
        for version in range(3):
            for stream in range(5):
                await store.append(f"tests.counter/{stream}", version, counted(version))
        for stream in range(5):
            assert len(await store.read_stream(f"tests.counter/{stream}")) == 3
