"""The orchestrator's own database away: runs wait for it, whatever they are at, and none fails over it."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from reference.backends import Postgres, running

from quantum_suite.core.ids import new_id
from quantum_suite.hub.data_plane.opening import open_data_plane
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.workflows.dbos.workflows import open_workflows
from quantum_suite.services.workflows.interface import Json, Owner, RunContext, StepContext, Workflow

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 60.0
OWNER = Owner("user:alice")


@pytest.fixture
def own_server(backends_directory: Path) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be killed."""
    server = Postgres(backends_directory / "outlasting")
    with running(server):
        yield server


async def test_a_step_that_asks_whether_it_may_go_on_waits_for_the_answer(
    tmp_path: Path, own_server: Postgres
) -> None:
    in_step, killed = anyio.Event(), anyio.Event()

    async def work(step: StepContext) -> Json:
        in_step.set()
        await killed.wait()
        await step.check()
        return "done"

    async def body(run: RunContext, arguments: Json) -> Json:
        return await run.step("work", work)

    database = own_server.new_database("runs")
    settings = HubSettings(data_dir=tmp_path / "data", database=database, analytics=False)
    with anyio.fail_after(BOUND_SECONDS):
        async with (
            open_data_plane(settings) as plane,
            open_workflows(
                database,
                [Workflow("work", body)],
                events=plane.stores.events,
                leases=plane.stores.leases,
                worker_id=new_id("w"),
            ) as workflows,
        ):
            run = await workflows.start("work", None, OWNER)
            await in_step.wait()
            await anyio.to_thread.run_sync(own_server.kill)
            killed.set()
            await anyio.to_thread.run_sync(own_server.start)
            ended = await workflows.wait(run.id, BOUND_SECONDS)
    assert (ended.state, ended.result) == ("completed", "done"), ended
