"""Tasks that live as long as a block, and leave the block's own errors alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc


@asynccontextmanager
async def background(*, cancel: bool) -> AsyncIterator[anyio.abc.TaskGroup]:
    """Yield a task group; at the end its tasks are cancelled, or waited for.

    A plain `async with` would wrap what the block raises into an exception group.
    """
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    try:
        yield tasks
    finally:
        if cancel:
            tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
