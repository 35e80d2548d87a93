"""Indexing that is killed, and indexing in two processes at once."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from quantum_suite.core.errors import Conflict
from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.interface import IndexStatus, SearchRequest
from quantum_suite.services.knowledge.opening import open_knowledge

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).parents[3] / "reference" / "knowledge_indexer.py"
FILES = 600


def workspace(home: Path) -> Path:
    root = home / "work"
    root.mkdir()
    for number in range(FILES):
        lines = "".join(f"def f{number}_{inner}(x):\n    return x + {inner}\n\n\n" for inner in range(8))
        (root / f"m{number}.py").write_text(lines)
    return root


@asynccontextmanager
async def indexing(root: Path, data: Path) -> AsyncIterator[Process]:
    """Index in another process; yields once some files are committed and others are not."""
    async with await anyio.open_process(
        [sys.executable, str(SCRIPT), str(root), str(data)], stderr=None
    ) as process:
        assert process.stdout is not None
        told = b""
        with anyio.fail_after(60):
            while b"100 of" not in told:
                told += await process.stdout.receive()
        try:
            yield process
        finally:
            if process.returncode is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()


async def status_of(root: Path, data: Path) -> IndexStatus:
    async with open_knowledge(
        data, embedding="none", vectors="memory:", environ={}, parsers=Parsers(1)
    ) as knowledge:
        return await knowledge.status(root)


async def test_a_killed_indexing_is_gone_on_with_and_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    root, data = workspace(tmp_path), tmp_path / "data"
    async with indexing(root, data) as process:
        process.kill()
        await process.wait()
    killed = await status_of(root, data)
    assert killed.state == "interrupted"
    assert 100 <= killed.files_indexed < FILES
    assert killed.stale_files == FILES - killed.files_indexed
    told: list[str] = []

    async def progress(done: int, total: int, message: str) -> None:
        told.append(message)

    async with open_knowledge(
        data, embedding="none", vectors="memory:", environ={}, parsers=Parsers(1)
    ) as knowledge:
        status = await knowledge.index(root, progress)
        assert (status.state, status.files_indexed, status.stale_files) == ("ready", FILES, 0)
        assert status.chunks == status.symbols == FILES * 8
        kept = next(message for message in told if "as they were" in message)
        assert int(kept.split()[0]) <= FILES - 100
        (hit, *_) = (await knowledge.search(SearchRequest(root, f"f{FILES - 1}_7"))).hits
        assert hit.chunk.name == f"f{FILES - 1}_7"
        assert [one.name for one in await knowledge.find_symbol(root, "f0_0")].count("f0_0") == 1


async def test_a_killed_parser_costs_one_try(tmp_path: Path) -> None:
    root, data = workspace(tmp_path), tmp_path / "data"
    parsers = Parsers(1)
    killed: list[int] = []

    async def progress(done: int, total: int, message: str) -> None:
        if done and not killed:
            killed.append(parsers.pids[0])
            os.kill(killed[0], signal.SIGKILL)

    async with open_knowledge(data, embedding="none", vectors="memory:", environ={}, parsers=parsers) as knowledge:
        status = await knowledge.index(root, progress)
        assert killed
        # Whichever file it was at is blamed, and tried again by the next call.
        assert status.files_indexed >= FILES - 1
        status = await knowledge.index(root)
        assert (status.state, status.files_indexed) == ("ready", FILES)


async def test_a_second_process_is_told_who_indexes_and_searches_all_the_same(tmp_path: Path) -> None:
    root, data = workspace(tmp_path), tmp_path / "data"
    async with (
        indexing(root, data) as process,
        open_knowledge(data, embedding="none", vectors="memory:", environ={}, parsers=Parsers(1)) as knowledge,
    ):
        os.kill(process.pid, signal.SIGSTOP)
        assert (await knowledge.status(root)).state == "indexing"
        with pytest.raises(Conflict, match=f"Process {process.pid} is indexing"):
            await knowledge.index(root)
        answer = await knowledge.search(SearchRequest(root, "f0_0"))
        assert answer.hits
        assert any("changed" in caveat or "indexing" in caveat for caveat in answer.caveats)
        os.kill(process.pid, signal.SIGCONT)
        with anyio.fail_after(60):
            await process.wait()
        assert process.returncode == 0
        status = await knowledge.index(root)
        assert (status.state, status.files_indexed) == ("ready", FILES)
