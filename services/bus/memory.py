"""The bus of a hub that is one process."""

import heapq
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import orjson

from quantum_suite.services.bus.interface import Delivery, Message
from quantum_suite.services.bus.subjects import check_durable, check_subject, matches

logger = logging.getLogger(__name__)

ACK_SECONDS = 30.0
_KEPT_MESSAGES = 100_000
_REMEMBERED_IDS = 100_000
_LISTENER_MESSAGES = 1_000


@dataclass(slots=True)
class _Entry:
    """A message on its way to one name. Its body is bytes: consumers cannot change each other's copy."""

    number: int
    id: str
    subject: str
    body: bytes
    attempt: int = 0

    def message(self) -> Message:
        return Message(self.id, self.subject, orjson.loads(self.body))


class MemoryBus:
    """Delivers within this process and its event loop; what nobody dealt with goes with it (the store has it).

    A durable name keeps the newest 100,000 messages while nobody consumes under it.
    """

    def __init__(self, *, ack_seconds: float = ACK_SECONDS, kept_messages: int = _KEPT_MESSAGES) -> None:
        self._ack_seconds = ack_seconds
        self._kept_messages = kept_messages
        self._numbers = itertools.count()
        self._published: dict[str, None] = {}
        self._durable: dict[str, _Queue] = {}
        self._passing: list[_Queue] = []
        self._listeners: list[_Listener] = []

    async def publish(self, messages: list[Message]) -> None:
        for message in messages:
            check_subject(message.subject)
        for message in messages:
            body = orjson.dumps(message.body)
            for listener in self._listeners:
                listener.put(message, body)
            if message.id in self._published:
                continue
            self._published[message.id] = None
            for queue in (*self._durable.values(), *self._passing):
                if matches(queue.pattern, message.subject):
                    queue.put(_Entry(next(self._numbers), message.id, message.subject, body))
        for identifier in list(itertools.islice(self._published, max(len(self._published) - _REMEMBERED_IDS, 0))):
            del self._published[identifier]
        await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def consume(self, subject: str, *, durable: str | None = None) -> AsyncIterator[AsyncIterator[Delivery]]:
        check_subject(subject, pattern=True)
        check_durable(durable)
        queue = self._durable.get(durable) if durable else None
        if queue is None:
            queue = _Queue(subject, self._ack_seconds, self._kept_messages)
            if durable:
                self._durable[durable] = queue
            else:
                self._passing.append(queue)
        queue.pattern = subject
        consumer = _Consumer(queue)
        try:
            yield consumer
        finally:
            queue.give_back(consumer.out)
            if durable is None:
                self._passing.remove(queue)

    @asynccontextmanager
    async def listen(self, subject: str) -> AsyncIterator[AsyncIterator[Message]]:
        check_subject(subject, pattern=True)
        with _Listener(subject).kept_in(self._listeners) as listener:
            yield listener


class _Queue:
    """What is on its way to one name: ready, put off, or handed out and not yet dealt with."""

    def __init__(self, pattern: str, ack_seconds: float, kept_messages: int) -> None:
        self.pattern = pattern
        self._ack_seconds = ack_seconds
        self._kept_messages = kept_messages
        self._ready: deque[_Entry] = deque()
        self._later: list[tuple[float, int, _Entry]] = []
        self._out: dict[int, tuple[float, _Entry]] = {}
        self._news = anyio.Event()
        self._dropping = False

    def put(self, entry: _Entry) -> None:
        self._ready.append(entry)
        if len(self._ready) > self._kept_messages:
            self._ready.popleft()
            if not self._dropping:
                logger.warning("The bus drops the oldest messages of %s: nobody takes them.", self.pattern)
            self._dropping = True
        self._wake()

    async def take(self) -> _Entry:
        """Return the next message, and reckon that it is being dealt with for `ack_seconds`."""
        while True:
            now = anyio.current_time()
            self._ripen(now)
            if self._ready:
                entry = self._ready.popleft()
                entry.attempt += 1
                self._dropping = False
                self._out[entry.number] = (now + self._ack_seconds, entry)
                return entry
            news, due = self._news, self._next_due()
            with anyio.move_on_after(None if due is None else due - now):
                await news.wait()

    def done(self, entry: _Entry) -> None:
        self._out.pop(entry.number, None)

    def put_off(self, entry: _Entry, delay_seconds: float) -> None:
        if self._out.pop(entry.number, None) is not None:
            heapq.heappush(self._later, (anyio.current_time() + delay_seconds, entry.number, entry))
            self._wake()

    def give_back(self, entries: set[int]) -> None:
        """Make ready what a consumer that ends had in hand."""
        returned = [self._out.pop(number)[1] for number in sorted(entries & self._out.keys())]
        self._ready.extendleft(reversed(returned))
        self._wake()

    def _ripen(self, now: float) -> None:
        """Make ready, before all others and in order, what is due again."""
        overdue = itertools.takewhile(lambda item: item[1][0] <= now, self._out.items())
        ripe = [self._out.pop(number)[1] for number in [number for number, _ in overdue]]
        while self._later and self._later[0][0] <= now:
            ripe.append(heapq.heappop(self._later)[2])
        self._ready.extendleft(sorted(ripe, key=lambda entry: entry.number, reverse=True))

    def _next_due(self) -> float | None:
        """Return when something comes back by itself. Those handed out first are due first."""
        first_out = next(iter(self._out.values()), None)
        due = [when for when, *_ in (*self._later[:1], *(() if first_out is None else (first_out,)))]
        return min(due, default=None)

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()


class _Consumer:
    """One consumer's share of a queue."""

    def __init__(self, queue: _Queue) -> None:
        self._queue = queue
        self.out: set[int] = set()

    def __aiter__(self) -> "_Consumer":
        return self

    async def __anext__(self) -> "_Delivery":
        await anyio.lowlevel.checkpoint()
        entry = await self._queue.take()
        self.out.add(entry.number)
        return _Delivery(self, self._queue, entry)


class _Delivery:
    def __init__(self, consumer: _Consumer, queue: _Queue, entry: _Entry) -> None:
        self._consumer = consumer
        self._queue = queue
        self._entry = entry
        self.message = entry.message()
        self.attempt = entry.attempt

    async def ack(self) -> None:
        self._queue.done(self._entry)
        self._consumer.out.discard(self._entry.number)

    async def nack(self, delay_seconds: float = 0) -> None:
        self._queue.put_off(self._entry, delay_seconds)
        self._consumer.out.discard(self._entry.number)


@dataclass(eq=False)
class _Listener:
    """The newest messages for one listener; what it is too slow for is lost to it."""

    pattern: str
    _messages: deque[Message] = field(default_factory=lambda: deque(maxlen=_LISTENER_MESSAGES))
    _news: anyio.Event = field(default_factory=anyio.Event)

    def put(self, message: Message, body: bytes) -> None:
        if matches(self.pattern, message.subject):
            self._messages.append(Message(message.id, message.subject, orjson.loads(body)))
            self._news.set()

    @contextmanager
    def kept_in(self, listeners: "list[_Listener]") -> Iterator["_Listener"]:
        listeners.append(self)
        try:
            yield self
        finally:
            listeners.remove(self)

    def __aiter__(self) -> "_Listener":
        return self

    async def __anext__(self) -> Message:
        await anyio.lowlevel.checkpoint()
        while not self._messages:
            self._news = anyio.Event()
            await self._news.wait()
        return self._messages.popleft()
