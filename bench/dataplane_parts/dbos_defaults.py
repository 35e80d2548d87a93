"""DBOS as it comes, on SQLite: what the shipped preset is compared with. `dbos_defaults.py DIRECTORY SECONDS`.

The same work as in `workflows.py`, on DBOS's own runtime with its own settings; prints a JSON object. A process of
its own, since DBOS is one for a whole process.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from dbos import DBOS


@DBOS.step()
async def step(number: int) -> int:
    """Do nothing."""
    return number


@DBOS.workflow()
async def two_steps(number: int) -> int:
    """Do two steps."""
    return await step(number) + await step(number)


@DBOS.workflow()
async def many_steps(count: int) -> int:
    """Do so many steps."""
    for number in range(count):
        await step(number)
    return count


async def rate(clients: int, seconds: float, steps: int) -> float:
    """Return how many workflows are completed a second: of two steps, or of so many."""
    done = 0
    begun = time.perf_counter()

    async def client() -> None:
        nonlocal done
        while time.perf_counter() - begun < seconds:
            if steps:
                handle = await DBOS.start_workflow_async(many_steps, steps)
            else:
                handle = await DBOS.start_workflow_async(two_steps, 1)
            await handle.get_result()
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.perf_counter() - begun)


async def main(directory: Path, seconds: float, clients: int, steps: int) -> None:
    """Measure, and print."""
    DBOS(
        config={
            "name": "defaults",
            "system_database_url": f"sqlite:///{directory / 'defaults.db'}",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    await rate(clients, seconds / 5, 0)
    workflows = await rate(clients, seconds, 0)
    stepped = await rate(clients, seconds, steps) * steps
    print(json.dumps({"workflows_per_s": workflows, "steps_per_s": stepped}), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
