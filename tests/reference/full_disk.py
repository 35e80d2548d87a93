"""A process that appends to a SQLite event store until no more bytes may be written, then with room again.

`full_disk.py FILE` prints, as one JSON object, the ids acknowledged before (`before`), how many appends found the
disk full (`refused`), and the ids acknowledged once there was room again (`after`). The limit is the kernel's own
(RLIMIT_FSIZE): writes beyond it fail as they do on a full disk.
"""

import json
import resource
import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from reference.counting import Counted, opened

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import NewEvent
from quantum_suite.services.events.interface import ANY_VERSION, EventStore

LIMIT_BYTES = 400_000
STREAM = "tests.counter/full"


async def main(path: str) -> None:
    async with opened(path) as store:
        before = await fill(store)
        refused = 0
        for _ in range(3):
            try:
                await append(store, 20_000)
            except Unavailable:
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        after = [await append(store, 20_000), await append(store, 10)]
        print(json.dumps({"before": before, "refused": refused, "after": after}))


async def fill(store: EventStore) -> list[str]:
    acknowledged = [await append(store, 10)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
    try:
        while True:
            acknowledged.append(await append(store, 20_000))
    except Unavailable:
        return acknowledged


async def append(store: EventStore, size: int) -> str:
    event = NewEvent(Counted(number=0, text="x" * size))
    await store.append(STREAM, ANY_VERSION, [event])
    return event.id


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
