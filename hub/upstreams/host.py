"""A task that holds what outlives single calls: a task group, and context managers.

Links are opened by one task and closed by another, so what runs on their behalf cannot be a block of either. It
lives in a task of its own, started on first use and ended by `aclose`; within it everything is nested as usual.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Host(Generic[T]):
    """Opens something once, keeps it open, and runs tasks beside it until `aclose`.

    `opening` enters what it needs on the stack it is given and returns what callers of `open` get.
    """

    def __init__(self, opening: Callable[[AsyncExitStack], Awaitable[T]]) -> None:
        self._opening = opening
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[T] | None = None
        self._group: TaskGroup | None = None
        self._end = asyncio.Event()

    async def open(self) -> T:
        """Return what was opened, opening it on first use; raises what opening raised, to every caller.

        After a failure the next call tries again. A cancelled caller does not undo the opening.
        """
        if self._end.is_set():
            raise RuntimeError("It was closed.")
        if self._opened is None or (self._opened.done() and not _succeeded(self._opened)):
            self._opened = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(self._opened))
        return await asyncio.shield(self._opened)

    def start_soon(self, function: Callable[..., Awaitable[object]], *args: object) -> bool:
        """Run a function beside what is open; False when nothing is. A function that raises is logged."""
        if self._group is None or self._end.is_set():
            return False
        self._group.start_soon(_contained, function, args)
        return True

    async def aclose(self, seconds: float = 10.0) -> None:
        """End the tasks and close what is open. Idempotent; not cancellable; after `seconds` it is abandoned."""
        self._end.set()
        task = self._task
        if task is None:
            return
        with anyio.CancelScope(shield=True):
            _, pending = await asyncio.wait({task}, timeout=seconds)
            if pending:
                logger.warning("closing took longer than %g seconds and was cut short", seconds)
                task.cancel()
                await asyncio.wait({task}, timeout=1)

    async def _run(self, opened: asyncio.Future[T]) -> None:
        try:
            async with AsyncExitStack() as stack:
                value = await self._opening(stack)
                async with anyio.create_task_group() as group:
                    self._group = group
                    opened.set_result(value)
                    await self._end.wait()
                    group.cancel_scope.cancel()
        except Exception as error:
            if opened.done():
                logger.exception("closing failed")
            else:
                opened.set_exception(error)
                # Whoever asked may be gone already; an unread exception would be reported as a leak.
                opened.exception()
        finally:
            self._group = None
            if not opened.done():
                opened.set_exception(RuntimeError("It was closed while it was opened."))
                opened.exception()


def _succeeded(future: asyncio.Future[T]) -> bool:
    return not future.cancelled() and future.exception() is None


async def _contained(function: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    try:
        await function(*args)
    except Exception:
        logger.exception("a background task of an upstream failed")
