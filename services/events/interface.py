"""The port to the event store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from quantum_suite.core.events import Event, EventFilter, Fence, NewEvent, Position

ANY_VERSION = -1
"""For `append`: whatever the stream's version is."""

MAX_BATCH = 1000
"""Most events one `append` takes and one `read` returns."""

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Most payload one `append` takes. A `read` ends early rather than return much more than that."""

MAX_EVENT_BYTES = 256 * 1024
"""Largest payload, personal part included, as JSON. What is longer is an object, and the event links to it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stream's state at one version, made to spare reading all of it. May be thrown away at any time."""

    stream: str
    version: int
    state: dict[str, Any]
    schema: int
    """The version of the code's own idea of `state`: a snapshot of another schema is not used."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as its bytes lie in the store: what a proof is made over. Reading it needs no key."""

    position: Position
    stream: str
    version: int
    id: str
    type: str
    time: str
    """RFC 3339 with microseconds, UTC."""
    attributes: bytes
    """JSON: subject, principal, correlation_id, causation_id, traceparent, those that are set."""
    payload: bytes
    """The data as stored: ciphertext where encryption is on."""
    personal: bytes
    """Ciphertext by subject (JSON of base64); empty where there is none."""


class Appender(Protocol):
    """Where somebody who only tells what happened appends: an event store, or an outbox before one."""

    async def append(self, stream: str, expected_version: int, events: Sequence[NewEvent]) -> object:
        """Append as `EventStore.append` does; what an outbox takes is its own to say."""
        ...


class EventStore(Protocol):
    """An append-only log of events in streams.

    Guarantees. Once `append` has returned, its events survive the loss of process, machine and power. They are
    stored all or none, in the order given, in a stream without gaps. Every reader sees the same order, and once it
    has passed a position nothing ever appears before it. Several processes may use one store. Cancelling `append`
    leaves it open whether the events were stored; appending them again (the same ids) settles it.

    Every method raises `Unavailable` while the database is away or the disk is full, and `Damaged` when stored
    bytes do not decrypt. Nothing is stored by an append that raises, with one exception: a database server that is
    lost while it commits leaves that open, as cancelling does.
    """

    async def append(
        self, stream: str, expected_version: int, events: Sequence[NewEvent], *, fence: Fence | None = None
    ) -> list[Event]:
        """Append to `stream`, which must be at `expected_version` (0: it does not exist; `ANY_VERSION`: any).

        Repeating an append whose events are already there, with the same ids at the expected place, changes
        nothing and returns what is stored (with `ANY_VERSION` the ids are looked for at the stream's end).
        Appending no events checks nothing and returns none.

        Raises Conflict when the stream is at another version, Fenced when a higher token of the fence's name was
        seen, CallerError for an unregistered type, too many or too large events, or a stream name that is not
        `<module>.<aggregate>/<id>`, and ConfigurationError for personal data in a store without subjects' keys.
        """
        ...

    async def read(
        self, after: Position | None = None, where: EventFilter | None = None, *, limit: int = MAX_BATCH
    ) -> list[Event]:
        """Return up to `limit` events after a position (None: from the beginning), in order.

        Fewer than `limit` do not say that there are no more; none does.
        """
        ...

    async def read_stream(self, stream: str, after_version: int = 0, *, limit: int = MAX_BATCH) -> list[Event]:
        """Return a stream's events after `after_version`, in order; none for a stream that does not exist."""
        ...

    async def read_back(self, before: Position | None = None, *, limit: int = MAX_BATCH) -> list[Event]:
        """Return up to `limit` events before a position (None: from the end), newest first."""
        ...

    async def read_stored(self, after: Position | None = None, *, limit: int = MAX_BATCH) -> list[StoredEvent]:
        """Return events as they are stored, for proofs and copies."""
        ...

    def subscribe(
        self, checkpoint: Position | None = None, where: EventFilter | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Event]]]:
        """Yield batches of events after `checkpoint`, first what is there, then what comes, without end.

        A batch is never empty. Appends of this process wake subscribers at once, others within the store's
        polling interval or at the next `wake`. While the store is away it waits, and logs once.
        """
        ...

    def wake(self) -> None:
        """Have subscribers look now: somebody (the bus) says there is something new. Callable from any thread."""
        ...

    async def head(self) -> Position | None:
        """Return the position of the last readable event; None when there is none."""
        ...

    async def count(self, after: Position | None = None) -> int:
        """Return how many readable events there are after a position; what lag is measured by."""
        ...

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of an older one of the stream. Losing it loses nothing.

        It holds nothing personal; should it all the same, `erase` throws every snapshot away.
        """
        ...

    async def snapshot(self, stream: str, schema: int) -> Snapshot | None:
        """Return the stream's snapshot of that schema, if there is one."""
        ...

    async def erase(self, subject: str) -> bool:
        """Erase the key of a data subject, in every copy this store holds; what it covered is gone for good.

        Returns whether there was one. Later events about the subject begin under a new key.
        """
        ...
