"""What all stores of leases have in common: what may be asked for, which token comes next, whose clock counts."""

import time
from collections.abc import Callable

from quantum_suite.core.errors import CallerError

Clock = Callable[[], int]
"""Returns nanoseconds."""

MAX_TTL_SECONDS = 24 * 60 * 60
_MAX_NAME = 200


def check_terms(name: str, holder: str, ttl_seconds: float) -> None:
    """Raise CallerError for a name, a holder or a duration that no store takes."""
    for argument, text in (("name", name), ("holder", holder)):
        if not 0 < len(text) <= _MAX_NAME or not text.isprintable():
            raise CallerError(
                f"A lease's {argument} has 1 to {_MAX_NAME} printable characters.", argument=argument
            )
    if not 0 < ttl_seconds <= MAX_TTL_SECONDS:
        raise CallerError(f"A lease is held for up to {MAX_TTL_SECONDS} seconds.", argument="ttl_seconds")


def next_token(previous: int, wall_clock_ns: int) -> int:
    """Return the token after `previous`.

    It is at least the time in microseconds: a store that was lost, or left for another kind of store, begins above
    the tokens it gave out before, which writers have been fenced with. A clock set back changes nothing, since
    the token before counts too.
    """
    return max(previous + 1, wall_clock_ns // 1000)


def boot_clock() -> int:
    """Return the time since this machine started, sleep included: setting the clock does not change it."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def nanoseconds(seconds: float) -> int:
    """Return a duration in nanoseconds."""
    return int(seconds * 1_000_000_000)
