"""Telling those who wait for a place what they wait for."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from quantum_suite.services.capacity.interface import Waiting

AGAIN_SECONDS = 5.0


@asynccontextmanager
async def told(
    held: Callable[[], Sequence[str]], places: int, waiting: Waiting | None
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Give a callable that says there is a wait: at once, and again every few seconds until the context ends."""
    failed: Exception | None = None
    async with anyio.create_task_group() as group:

        async def tell() -> None:
            if waiting is not None:
                await waiting(in_words(held(), places))
                group.start_soon(_again, held, places, waiting)

        try:
            yield tell
        except Exception as error:  # raised below, outside the group, which would wrap it
            failed = error
        group.cancel_scope.cancel()
    if failed is not None:
        raise failed


async def _again(held: Callable[[], Sequence[str]], places: int, waiting: Waiting) -> None:
    while True:
        await anyio.sleep(AGAIN_SECONDS)
        await waiting(in_words(held(), places))


def in_words(held: Sequence[str], places: int) -> str:
    """Return what somebody who waits is told."""
    counted = ", ".join(f"{number} x {what}" if number > 1 else what for what, number in Counter(held).items())
    here = "1 place" if places == 1 else f"{places} places"
    return f"waiting: this machine has {here} for heavy work, taken by {counted or 'others'}"
