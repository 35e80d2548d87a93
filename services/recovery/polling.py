"""Waiting for what a database tells only when it is asked."""

from collections.abc import Awaitable, Callable

import anyio

_PAUSE_SECONDS = 0.005


async def until(asked: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again until the answer is yes. Unbounded: give it a deadline."""
    while True:
        if await asked():
            return
        await anyio.sleep(_PAUSE_SECONDS)
