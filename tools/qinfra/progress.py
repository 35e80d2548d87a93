"""How a caller hears how far a long call is."""

from collections.abc import Awaitable, Callable

Progress = Callable[[float, float | None, str], Awaitable[None]]
"""Takes steps done, steps in total where that is known, and what is going on."""


def before_steps(progress: Progress) -> Callable[[str], Awaitable[None]]:
    """Return what tells in words alone what is going on while no step is done yet."""

    async def tell(words: str) -> None:
        await progress(0, None, words)

    return tell
