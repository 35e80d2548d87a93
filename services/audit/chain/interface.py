"""The port to the audit chain."""

from collections.abc import Sequence
from typing import Protocol

from quantum_suite.core.events import Fence
from quantum_suite.services.audit.chain.checkpoints import Checkpoint
from quantum_suite.services.audit.chain.records import ChainHead, ChainRow

PAGE_ROWS = 20_000
"""Most rows `page` returns."""


class AuditChain(Protocol):
    """Records and checkpoints, added and never changed or removed. There is no way to begin again.

    What was added is durable when the method returns. Every method raises Unavailable while the database is away.
    """

    async def head(self) -> ChainHead:
        """Return the last record; `records.START` where there is none."""
        ...

    async def append(self, after: ChainHead, rows: Sequence[ChainRow], fence: Fence) -> None:
        """Add rows after `after`, all or none.

        Raises Fenced when somebody newer writes the chain, and Conflict when `after` is not its head.
        """
        ...

    async def add_checkpoint(self, checkpoint: Checkpoint, fence: Fence) -> None:
        """Add a checkpoint; raises Fenced like `append`, and Conflict when there is one of its number."""
        ...

    async def checkpoints(self, after_number: int = 0) -> list[Checkpoint]:
        """Return the checkpoints after a number, in order."""
        ...

    async def last_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint."""
        ...

    async def page(self, after_number: int, limit: int = PAGE_ROWS) -> list[ChainRow]:
        """Return up to `limit` rows after a number, in order, as they are stored."""
        ...
