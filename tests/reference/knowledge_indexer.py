"""Indexes a workspace in a process of its own, for tests that kill it or come second.

`python knowledge_indexer.py ROOT DATA` prints a line for each step and `done` at the end.
"""

import sys
from pathlib import Path

import anyio

from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.opening import open_knowledge


async def main(root: Path, data: Path) -> None:
    async def progress(done: int, total: int, message: str) -> None:
        print(done, total, message, flush=True)

    parsers = Parsers(1)
    async with open_knowledge(data, embedding="none", vectors="memory:", environ={}, parsers=parsers) as knowledge:
        await knowledge.index(root, progress)
    print("done", flush=True)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]))
