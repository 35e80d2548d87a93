"""The port to leases: leader election and the liveness of workers."""

from dataclasses import dataclass
from typing import Protocol

from quantum_suite.core.events import Fence


@dataclass(frozen=True, slots=True)
class Lease:
    """A name held by one holder until it is released or not renewed in time."""

    name: str
    holder: str
    token: int
    """Higher than every token given for the name before, across all processes and restarts."""
    ttl_seconds: float

    @property
    def fence(self) -> Fence:
        """What to hand to whatever writes under this lease."""
        return Fence(self.name, self.token)


class LeaseStore(Protocol):
    """Gives out leases. Time is the store's (the database's or broker's own clock), never the holders'.

    A lease ends `ttl_seconds` after its last renewal; the store does not give the name to somebody else before
    that. A holder that was paused may think it still holds it: that is what the fence is for. Methods raise
    Unavailable while the store is away.
    """

    async def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        """Take the lease; None while somebody else holds it. The same holder gets it anew, with a new token."""
        ...

    async def renew(self, lease: Lease) -> bool:
        """Hold it for another `ttl_seconds`; False when it has been lost, for good."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give it up, if it is still held. The next holder's token is higher all the same."""
        ...

    async def holders(self, prefix: str) -> dict[str, str]:
        """Return who holds what now, for names that begin with `prefix`."""
        ...
