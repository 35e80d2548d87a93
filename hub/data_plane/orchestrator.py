"""The workflow engine of this process: opened when it is first needed, for it is heavy to import and to run."""

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.hub.data_plane.stores import Stores, is_embedded
from quantum_suite.hub.data_plane.worker_slots import worker_slot
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.upstreams.host import Host
from quantum_suite.services.backoff import Backoff
from quantum_suite.services.workflows.interface import Workflow, Workflows

logger = logging.getLogger(__name__)

KEEP_RUNS_DAYS = 30
"""How long a run can be looked at after its end; what happened stays in the event log. Tasks live shorter."""

_FORGET_SECONDS = 6 * 3600.0


class Orchestrator:
    """Opens the engine once for all who ask, and keeps it open until `aclose`."""

    def __init__(self, settings: HubSettings, stores: Stores) -> None:
        self._home: Path = settings.data_dir
        self._where: str | Path = self._home / "workflows.db" if is_embedded(settings) else settings.database
        self._stores = stores
        self._definitions: list[Workflow] = []
        self._engine = Host(self._open)
        self._closing = False

    def know(self, definitions: Sequence[Workflow]) -> None:
        """Add definitions, before the engine is opened."""
        self._definitions.extend(definitions)

    async def open(self) -> Workflows:
        """Return the engine, opening it on first use; raises what opening it raised."""
        return await self._engine.open()

    async def take_up(self) -> None:
        """Open the engine if anything may be waiting for it: runs, schedules, what other workers left.

        While its database is away, wait for it: nobody else may be there to take up what waits.
        """
        if isinstance(self._where, Path) and not self._where.exists():
            return
        backoff, told = Backoff(), False
        while not self._closing:
            try:
                await self._engine.open()
                return
            except SuiteError as error:
                if not told or not error.retryable:
                    logger.error("Unfinished workflows are not taken up now: %s", error)
                if not error.retryable:
                    return
                told = True
            await anyio.sleep(backoff.next())

    async def aclose(self, seconds: float) -> None:
        """End the work at its present step and close the engine, within about `seconds`."""
        self._closing = True
        await self._engine.aclose(seconds)

    async def _open(self, stack: AsyncExitStack) -> Workflows:
        # The engine and what it stands on take a second to import, and memory.
        from quantum_suite.services.workflows.dbos.workflows import open_workflows

        worker = stack.enter_context(worker_slot(self._home / "workers"))
        engine = await stack.enter_async_context(
            open_workflows(
                self._where,
                self._definitions,
                events=self._stores.events,
                leases=self._stores.leases,
                worker_id=worker,
            )
        )
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(_forget_old_runs, engine)
        return engine


async def _forget_old_runs(engine: Workflows) -> None:
    """Drop runs that ended long ago, now and then. Processes that share a database may do it at once."""
    while True:
        try:
            dropped = await engine.forget(datetime.now(UTC) - timedelta(days=KEEP_RUNS_DAYS))
            if dropped:
                logger.info("Dropped %d workflow runs that ended over %d days ago.", dropped, KEEP_RUNS_DAYS)
        except SuiteError as error:
            logger.warning("Old workflow runs are not dropped now: %s", error)
        await anyio.sleep(_FORGET_SECONDS)
