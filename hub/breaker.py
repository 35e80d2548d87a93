"""A circuit breaker: after several failures in a row, stop asking until something proves the upstream is back."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class CircuitBreaker:
    """Counts consecutive failures of one upstream's transport.

    A tool that answers with an error is not a failure; an answer that never comes is. While open, calls fail at
    once; `close` is called when a health check succeeds.
    """

    threshold: int = 5
    on_open: Callable[[], None] | None = None
    _failures: int = field(default=0, init=False)

    @property
    def is_open(self) -> bool:
        """Whether calls should fail at once."""
        return self._failures >= self.threshold

    def failed(self) -> None:
        """Note a failure; calls `on_open` when it is the one that opens the breaker."""
        self._failures += 1
        if self._failures == self.threshold and self.on_open is not None:
            self.on_open()

    def close(self) -> None:
        """Note a success."""
        self._failures = 0
