"""A process that runs a long recovery drill, as a hub does, until somebody kills it: `drill_child.py SCRATCH`."""

import sys
from pathlib import Path

import anyio

from quantum_suite.core.ids import new_id
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.recovery.interface import DrillRequest
from quantum_suite.services.recovery.runner import DrillRunner


async def main(scratch: str) -> None:
    async def said(done: float, total: float | None, words: str) -> None:
        print(words, flush=True)

    runner = DrillRunner(Path(scratch), MemoryKeyProvider(), {})
    await runner.run(new_id("drill"), DrillRequest(kind="failover", rows=1_000_000), said)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
