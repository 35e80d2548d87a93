"""Drops objects whose time is over, every now and then, by one process at a time."""

import logging
from collections.abc import Callable
from datetime import datetime

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.leases.interface import LeaseStore
from quantum_suite.services.objects.interface import ObjectStore
from quantum_suite.services.objects.record import utc_now

logger = logging.getLogger(__name__)

LEASE = "objects.retention"
EVERY_SECONDS = 6 * 3600.0


class Retention:
    """Has `store` drop what need not be kept, every `every_seconds`, by whoever holds the lease then.

    The lease saves work and guards nothing: two passes at once drop nothing that must be kept. It is given back
    only after a pass that failed: the other processes leave the rest of the period to the one that made it.
    """

    def __init__(
        self,
        store: ObjectStore,
        leases: LeaseStore,
        holder: str,
        *,
        every_seconds: float = EVERY_SECONDS,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._leases = leases
        self._holder = holder
        self._every_seconds = every_seconds
        self._clock = clock

    async def run(self) -> None:
        """Make a pass now and after every period, for a task of its own. What is away is tried again then."""
        while True:
            try:
                await self.once()
            except SuiteError as error:
                logger.warning("objects past their end were not dropped: %s", error)
            await anyio.sleep(self._every_seconds)

    async def once(self) -> int:
        """Make a pass unless another process has the lease; returns how many objects were dropped."""
        lease = await self._leases.acquire(LEASE, self._holder, self._every_seconds * 0.9)
        if lease is None:
            return 0
        try:
            dropped = await self._store.expire(self._clock())
        except SuiteError:
            await self._leases.release(lease)
            raise
        if dropped:
            logger.info("%d objects past their end were dropped", dropped)
        return dropped
