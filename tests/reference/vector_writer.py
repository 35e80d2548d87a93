"""Writes vectors until it is killed, and prints each batch that was acknowledged: what the crash tests kill.

`python vector_writer.py KIND WHERE`
"""

import itertools
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from quantum_suite.services.databases.postgres import open_postgres
from quantum_suite.services.knowledge.interface import VectorRecord, VectorStore
from quantum_suite.services.knowledge.vectors.chroma import ChromaVectorStore
from quantum_suite.services.knowledge.vectors.pgvector import PgVectorStore
from quantum_suite.services.knowledge.vectors.sqlite import SqliteVectorStore

DIMENSIONS, BATCH = 16, 20


@asynccontextmanager
async def opened(kind: str, where: str) -> AsyncIterator[VectorStore]:
    """Open a store."""
    if kind == "pgvector":
        async with open_postgres(where) as database:
            yield PgVectorStore(database)
    elif kind == "sqlite":
        async with SqliteVectorStore(Path(where)) as store:
            yield store
    else:
        make = {"chroma": lambda: ChromaVectorStore.embedded(Path(where))}.get(
            kind, lambda: ChromaVectorStore.server(where)
        )
        async with make() as store:
            yield store


def record(number: int) -> VectorRecord:
    """Return the record of this number: the same in every process."""
    chance = random.Random(number)
    return VectorRecord(f"r{number}", [chance.gauss(0, 1) for _ in range(DIMENSIONS)], f"file{number % 7}.py")


async def main() -> None:
    kind, where = sys.argv[1:]
    async with opened(kind, where) as store:
        for batch in itertools.count():
            await store.put("c", [record(n) for n in range(batch * BATCH, (batch + 1) * BATCH)])
            print(batch, flush=True)


if __name__ == "__main__":
    anyio.run(main)
