"""How often a step is tried, and for how long."""

import random
from collections.abc import Awaitable

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.workflows.interface import Json, Retry

UNDO_SECONDS = 60.0
"""How long taking back one step may take."""


def delay_seconds(retry: Retry, attempt: int) -> float:
    """Return how long to wait after the `attempt`-th try: exponential, with full jitter."""
    longest = min(retry.longest_delay_seconds, retry.first_delay_seconds * retry.backoff ** (attempt - 1))
    return random.uniform(0, longest)  # noqa: S311 - spreads load, guards nothing


async def within(seconds: float | None, name: str, work: Awaitable[Json]) -> Json:
    """Await `work`; raises Unavailable once it has taken longer than `seconds`."""
    if seconds is None:
        return await work
    with anyio.move_on_after(seconds):
        return await work
    raise Unavailable(
        f"The step {name} took longer than {seconds:g} seconds.", "Give it more time, or less to do."
    )
