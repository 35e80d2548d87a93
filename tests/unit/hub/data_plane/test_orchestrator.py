"""The engine of a process that starts while its database is away."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from reference.backends import Postgres, running

from quantum_suite.hub.data_plane.opening import open_data_plane
from quantum_suite.hub.data_plane.orchestrator import Orchestrator
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.workflows.interface import Json, Owner, RunContext, Workflow

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 60.0


@pytest.fixture
def own_server(backends_directory: Path, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own, to be killed."""
    server = Postgres(backends_directory / request.node.name)
    with running(server):
        yield server


async def finish(run: RunContext, arguments: Json) -> Json:
    return arguments


async def test_unfinished_runs_are_taken_up_once_the_database_is_back(
    tmp_path: Path, own_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    settings = HubSettings(
        data_dir=tmp_path / "data", database=own_server.new_database("runs"), cache="memory", analytics=False
    )
    with anyio.fail_after(BOUND_SECONDS):
        async with open_data_plane(settings) as plane:
            first = Orchestrator(settings, plane.stores)
            first.know([Workflow("finish", finish)])
            workflows = await first.open()
            run = await workflows.start("finish", "done", Owner("user:alice"), delay_seconds=0.5)
            await first.aclose(BOUND_SECONDS)
            await anyio.to_thread.run_sync(own_server.kill)

            second = Orchestrator(settings, plane.stores)
            second.know([Workflow("finish", finish)])
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(second.take_up)
                while "Unfinished workflows are not taken up now" not in caplog.text:
                    await anyio.sleep(0.01)
                await anyio.to_thread.run_sync(own_server.start)
            workflows = await second.open()
            assert (await workflows.wait(run.id, BOUND_SECONDS)).result == "done"
            await second.aclose(BOUND_SECONDS)


async def test_a_process_that_ends_while_its_database_is_away_ends_in_order(
    tmp_path: Path, own_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    settings = HubSettings(
        data_dir=tmp_path / "data", database=own_server.new_database("away"), cache="memory", analytics=False
    )
    with anyio.fail_after(BOUND_SECONDS):
        async with open_data_plane(settings) as plane, anyio.create_task_group() as tasks:
            await anyio.to_thread.run_sync(own_server.kill)
            orchestrator = Orchestrator(settings, plane.stores)
            tasks.start_soon(orchestrator.take_up)
            while "Unfinished workflows are not taken up now" not in caplog.text:
                await anyio.sleep(0.01)
            await orchestrator.aclose(1)
