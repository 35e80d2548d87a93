"""Workers that come and go: a run that waits is not to blame for them, however often that happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from quantum_suite.hub.data_plane.opening import DataPlane, open_data_plane
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.workflows.dbos.workflows import DbosWorkflows, open_workflows
from quantum_suite.services.workflows.interface import Json, Owner, RunContext, RunState, Workflow

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 60.0
MOST_ATTEMPTS = 2
OWNER = Owner("user:alice")


async def ask(run: RunContext, arguments: Json) -> Json:
    return await run.wait_for_signal("go", timeout_seconds=3600)


@asynccontextmanager
async def worker(plane: DataPlane, home: Path, name: str) -> AsyncIterator[DbosWorkflows]:
    async with open_workflows(
        home / "workflows.db",
        [Workflow("ask", ask)],
        events=plane.stores.events,
        leases=plane.stores.leases,
        worker_id=name,
        most_attempts=MOST_ATTEMPTS,
    ) as workflows:
        yield workflows


async def reached(workflows: DbosWorkflows, run_id: str, state: RunState) -> None:
    with anyio.fail_after(BOUND_SECONDS):
        while (run := await workflows.get(run_id)).state != state:
            assert run.failure is None, run.failure
            await anyio.sleep(0.01)


async def test_a_run_waits_through_any_number_of_restarts(tmp_path: Path) -> None:
    async with open_data_plane(HubSettings(data_dir=tmp_path, analytics=False)) as plane:
        async with worker(plane, tmp_path, "w") as workflows:
            run_id = (await workflows.start("ask", None, OWNER)).id
            await reached(workflows, run_id, "waiting")
        for _ in range(MOST_ATTEMPTS + 2):
            async with worker(plane, tmp_path, "w") as workflows:
                await reached(workflows, run_id, "waiting")
        async with worker(plane, tmp_path, "w") as workflows:
            await workflows.signal(run_id, "go", "gone")
            run = await workflows.wait(run_id, BOUND_SECONDS)
    assert (run.state, run.result) == ("completed", "gone"), run
