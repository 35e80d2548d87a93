"""A queue of runs in memory."""

import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc

from quantum_suite.services.workflows.interface import Queue
from quantum_suite.services.workflows.memory_record import RunMemory

Execute = Callable[[RunMemory], Awaitable[None]]


class MemoryQueue:
    """Starts runs within a queue's bounds: lowest priority first, then first come."""

    def __init__(self, queue: Queue, execute: Execute) -> None:
        self._queue = queue
        self._execute = execute
        self._numbers = itertools.count()
        self._standing: list[tuple[int, int, RunMemory]] = []
        self._running = 0
        self._starts: deque[float] = deque()

    def push(self, memory: RunMemory, priority: int, tasks: anyio.abc.TaskGroup) -> None:
        """Take a run in, and start it in `tasks` when its turn comes."""
        heapq.heappush(self._standing, (priority, next(self._numbers), memory))
        self._move_up(tasks)

    def leave(self, memory: RunMemory) -> None:
        """Let a run go that stands here."""
        self._standing = [entry for entry in self._standing if entry[2] is not memory]
        heapq.heapify(self._standing)

    def clear(self) -> None:
        """Forget who stands here."""
        self._standing.clear()
        self._running = 0

    def _move_up(self, tasks: anyio.abc.TaskGroup) -> None:
        while self._standing:
            wait = self._wait_seconds(anyio.current_time())
            if wait is None:
                return
            if wait > 0:
                tasks.start_soon(self._move_up_later, wait, tasks)
                return
            memory = heapq.heappop(self._standing)[2]
            self._running += 1
            self._starts.append(anyio.current_time())
            tasks.start_soon(self._run, memory, tasks)

    async def _move_up_later(self, seconds: float, tasks: anyio.abc.TaskGroup) -> None:
        await anyio.sleep(seconds)
        self._move_up(tasks)

    async def _run(self, memory: RunMemory, tasks: anyio.abc.TaskGroup) -> None:
        await self._execute(memory)
        self._running -= 1
        self._move_up(tasks)

    def _wait_seconds(self, now: float) -> float | None:
        """Return how long until one more may start; None: when one of those running ends."""
        limits = [
            limit for limit in (self._queue.concurrency, self._queue.worker_concurrency) if limit is not None
        ]
        if limits and self._running >= min(limits):
            return None
        if self._queue.rate is None:
            return 0
        starts, period = self._queue.rate
        while self._starts and self._starts[0] <= now - period:
            self._starts.popleft()
        return 0 if len(self._starts) < starts else self._starts[0] + period - now
