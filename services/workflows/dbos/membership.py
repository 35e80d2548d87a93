"""A worker among others: alive for as long as it holds its lease, and fenced by the lease's token.

A worker writes under an executor id, `<worker>:<token>`. Its lease tells others that the worker lives, the newest
token stored in `workflow_workers` which of several processes of that name does: one that is started anew takes
its name, and with it its runs, over at once.
"""

import logging
import time
from collections.abc import Callable
from typing import Literal

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.leases.interface import Lease, LeaseStore
from quantum_suite.services.workflows.dbos.ledger import Ledger, Transaction, Work
from quantum_suite.services.workflows.dbos.transitions import put_back

PREFIX = "workers/"

_log = logging.getLogger(__name__)


class Membership:
    """This process's place among the workers."""

    def __init__(self, ledger: Ledger, leases: LeaseStore, worker: str, ttl_seconds: float) -> None:
        self._ledger = ledger
        self._leases = leases
        self._worker = worker
        self._ttl = ttl_seconds
        self._lease: Lease | None = None
        self._token: int | None = None
        self._renewed = 0.0
        self._succeeded = False

    @property
    def executor(self) -> str | None:
        """Under which id this worker takes runs now; None while it may take none."""
        return None if self._lease is None or self.lapsed() else f"{self._worker}:{self._lease.token}"

    def lapsed(self) -> bool:
        """Whether the lease was not renewed in time, as far as this process can tell."""
        return time.monotonic() - self._renewed > self._ttl

    async def join(self) -> bool:
        """Become a worker, with a token of its own; False while that cannot be."""
        if self._succeeded:
            return False
        asked = time.monotonic()
        if self._token is not None and await self._ledger.read(_newer(self._worker, self._token)):
            _log.error(
                "another process works as '%s' now: this one works no more; give each its own name", self._worker
            )
            self._succeeded, self._lease = True, None
            return False
        lease = await self._leases.acquire(f"{PREFIX}{self._worker}", self._worker, self._ttl)
        if lease is None:
            return False
        self._token = lease.token  # noted before it is stored: it is not mistaken for another process's later
        if not await self._ledger.write(_enter(self._worker, lease.token)):
            return False
        self._lease, self._renewed = lease, asked
        return True

    async def keep(self, lost: Callable[[], None]) -> None:
        """Renew the lease for ever; call `lost` when it was lost, then join again."""
        while True:
            await anyio.sleep(self._ttl / 4)
            try:
                with anyio.fail_after(self._ttl):
                    if not await self._renew():
                        lost()
                        if await self.join():
                            _log.warning("joined the workers again, as %s", self.executor)
            except (Unavailable, TimeoutError) as error:
                _log.warning("the lease of worker %s was not renewed: %s", self._worker, str(error) or "no answer")
                if self.lapsed():
                    lost()

    async def _renew(self) -> bool:
        asked = time.monotonic()
        if self._lease is None or self.lapsed() or not await self._leases.renew(self._lease):
            return False
        self._renewed = asked
        return True

    async def leave(self) -> None:
        """Give the lease up."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._leases.release(lease)

    async def hand_over(self) -> None:
        """Put what this worker holds back in line, for others or for its next start."""
        if self._lease is not None:
            await self.take_over(f"{self._worker}:{self._lease.token}", "left")

    async def dead_executors(self) -> list[str]:
        """Return executors that hold runs and live no more.

        Who holds runs is read before who lives, for a worker holds its lease before it takes a run.
        """
        held = await self._ledger.read(_executors)
        if not held:
            return []
        tokens = dict(await self._ledger.read(_tokens))
        alive = await self._leases.holders(PREFIX)
        return [executor for executor in held if not self._lives(executor, tokens, alive)]

    def _lives(self, executor: str, tokens: dict[str, int], alive: dict[str, str]) -> bool:
        worker, _, token = executor.rpartition(":")
        return f"{PREFIX}{worker}" in alive and token.isdigit() and int(token) >= tokens.get(worker, 0)

    async def take_over(self, executor: str, how: Literal["lost", "left"] = "lost") -> int:
        """Put the runs of a dead executor, or of one that leaves, back in line.

        Returns how many this worker was the first to put back.
        """
        run_ids = await self._ledger.read(held_by(executor))
        first = [await self._ledger.write(put_back(run_id, executor, how)) for run_id in run_ids]
        if any(first):
            _log.warning("put %d runs of %s back in line", sum(first), executor)
        return sum(first)


def held_by(executor: str) -> Work[list[str]]:
    """Return the runs an executor holds."""

    def work(transaction: Transaction) -> list[str]:
        rows = transaction.all(
            "SELECT workflow_uuid FROM dbos.workflow_status WHERE status = 'PENDING' AND executor_id = ?", executor
        )
        return [run_id for (run_id,) in rows]

    return work


def _executors(transaction: Transaction) -> list[str]:
    rows = transaction.all("SELECT DISTINCT executor_id FROM dbos.workflow_status WHERE status = 'PENDING'")
    return [executor for (executor,) in rows if executor]


def _tokens(transaction: Transaction) -> list[tuple[str, int]]:
    return [(worker, token) for worker, token in transaction.all("SELECT worker, token FROM our.workflow_workers")]


def _newer(worker: str, token: int) -> Work[bool]:
    def work(transaction: Transaction) -> bool:
        row = transaction.one("SELECT token FROM our.workflow_workers WHERE worker = ?", worker)
        return row is not None and int(row[0]) > token

    return work


def _enter(worker: str, token: int) -> Work[bool]:
    def work(transaction: Transaction) -> bool:
        transaction.run(
            "INSERT INTO our.workflow_workers (worker, token) VALUES (?, ?) "
            "ON CONFLICT (worker) DO UPDATE SET token = excluded.token "
            "WHERE workflow_workers.token < excluded.token",
            worker,
            token,
        )
        row = transaction.one("SELECT token FROM our.workflow_workers WHERE worker = ?", worker)
        return row is not None and row[0] == token

    return work
