"""How long to wait before trying again."""

import random


class Backoff:
    """Delays that double up to a bound, with jitter so that those who failed together do not return together."""

    def __init__(self, first_seconds: float = 0.5, longest_seconds: float = 30.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures = 0

    def next(self) -> float:
        """Return how many seconds to wait after one more failure: between half of the delay and all of it."""
        delay = min(self._longest, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return delay * random.uniform(0.5, 1)  # noqa: S311  # no secret

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._failures = 0
