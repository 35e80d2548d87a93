"""A circuit breaker: after several failures in a row, fail at once, and try single calls."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class CircuitBreaker:
    """Counts consecutive failures of one peer: an upstream, a model provider.

    A tool that answers with an error is not a failure; an answer that never comes is. While open, one call is let
    through as a trial after every pause; pauses double with each trial that fails. A call that succeeds closes
    the breaker. A health check alone does not, since a server may answer those and nothing else: it merely brings
    the next trial forward.
    """

    threshold: int = 5
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    on_open: Callable[[], None] | None = None
    monotonic: Callable[[], float] = time.monotonic
    _failures: int = field(default=0, init=False)
    _pause: float = field(default=0.0, init=False)
    _next_trial_at: float = field(default=0.0, init=False)

    @property
    def is_open(self) -> bool:
        """Whether calls fail at once, trials excepted."""
        return self._failures >= self.threshold

    @property
    def failures(self) -> int:
        """How many failures there were in a row."""
        return self._failures

    def blocks(self) -> bool:
        """Whether a call would be refused now; lets none through."""
        return self.is_open and self.monotonic() < self._next_trial_at

    def admits(self) -> bool:
        """Let a call through, or say that it must fail at once."""
        if not self.is_open:
            return True
        if self.blocks():
            return False
        # A trial that never ends must not keep the next one away.
        self._next_trial_at = self.monotonic() + self._pause
        return True

    def failed(self) -> None:
        """Note a failure; calls `on_open` when it is the one that opens the breaker."""
        self._failures += 1
        if not self.is_open:
            return
        opens = self._failures == self.threshold
        self._pause = self.first_pause_seconds if opens else min(self._pause * 2, self.longest_pause_seconds)
        self._next_trial_at = self.monotonic() + self._pause
        if opens and self.on_open is not None:
            self.on_open()

    def answers_again(self) -> None:
        """Take note that a health check succeeded: the next call is a trial."""
        if self.is_open:
            self._next_trial_at = self.monotonic()

    def close(self) -> None:
        """Note a success."""
        self._failures = 0
