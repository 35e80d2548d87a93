"""A process that appends to an event store until it is killed, and says of each append what was acknowledged.

`event_producer.py WHERE NAME PRODUCERS APPENDS`: so many producers, each on a stream of its own named after NAME,
append batches of one to seven events, APPENDS times (0: without end). Each line printed is the JSON list of
stream, first version and ids of an append that returned. Started anew with the same name it goes on.
"""

import itertools
import json
import sys
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from reference.counting import counted, opened

from quantum_suite.services.events.interface import EventStore


async def main(where: str, name: str, producers: int, appends: int) -> None:
    async with opened(where) as store, anyio.create_task_group() as tasks:
        for number in range(producers):
            tasks.start_soon(produce, store, f"tests.counter/{name}-{number}", appends)


async def produce(store: EventStore, stream: str, appends: int) -> None:
    version = 0
    while page := await store.read_stream(stream, version):
        version = page[-1].version
    for turn in itertools.count(1):
        events = counted(*range(turn % 7 + 1))
        await store.append(stream, version, events)
        print(json.dumps([stream, version + 1, [event.id for event in events]]), flush=True)
        version += len(events)
        if turn == appends:
            return


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
