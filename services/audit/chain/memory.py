"""The audit chain's twin in memory."""

from collections.abc import Sequence

from quantum_suite.core.errors import Conflict
from quantum_suite.core.events import Fence
from quantum_suite.services.audit.chain.checkpoints import Checkpoint
from quantum_suite.services.audit.chain.interface import PAGE_ROWS
from quantum_suite.services.audit.chain.records import START, ChainHead, ChainRow, position_in
from quantum_suite.services.databases.fences import outdated


class MemoryAuditChain:
    """Keeps the chain of this process."""

    def __init__(self) -> None:
        self.rows: list[ChainRow] = []
        self.signed: list[Checkpoint] = []
        self._tokens: dict[str, int] = {}

    async def head(self) -> ChainHead:
        """Return the last record."""
        if not self.rows:
            return START
        number, record, stored = self.rows[-1]
        return ChainHead(number, stored, position_in(record))

    async def append(self, after: ChainHead, rows: Sequence[ChainRow], fence: Fence) -> None:
        """Add rows after `after`."""
        self._check(fence)
        if await self.head() != after:
            raise moved(after)
        self.rows += rows

    async def add_checkpoint(self, checkpoint: Checkpoint, fence: Fence) -> None:
        """Add a checkpoint."""
        self._check(fence)
        if any(signed.number == checkpoint.number for signed in self.signed):
            raise signed_already(checkpoint)
        self.signed.append(checkpoint)

    async def checkpoints(self, after_number: int = 0) -> list[Checkpoint]:
        """Return the checkpoints after a number."""
        return [checkpoint for checkpoint in self.signed if checkpoint.number > after_number]

    async def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint."""
        return self.signed[-1] if self.signed else None

    async def page(self, after_number: int, limit: int = PAGE_ROWS) -> list[ChainRow]:
        """Return rows after a number."""
        return [row for row in self.rows if row[0] > after_number][:limit]

    def _check(self, fence: Fence) -> None:
        if self._tokens.get(fence.name, fence.token) > fence.token:
            raise outdated(fence)
        self._tokens[fence.name] = fence.token


def moved(after: ChainHead) -> Conflict:
    """Return the error for rows that would not follow the chain's head."""
    return Conflict(
        f"Record {after.number} is not the last of the audit chain any more.", "Read its head again, then append."
    )


def signed_already(checkpoint: Checkpoint) -> Conflict:
    """Return the error for a second checkpoint of one number."""
    return Conflict(f"Record {checkpoint.number} has a checkpoint already.", "Read the last one again.")
