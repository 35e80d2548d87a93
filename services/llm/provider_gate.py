"""What stands before each provider: its circuit breaker, its rates, its places."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from quantum_suite.core.errors import RateLimited
from quantum_suite.services.breaker import CircuitBreaker
from quantum_suite.services.limits.interface import Budget, RateLimiter
from quantum_suite.services.llm.configuration import ProviderOptions
from quantum_suite.services.llm.errors import ProviderError
from quantum_suite.services.llm.standing import State

_LONGEST_REST_SECONDS = 300.0
_ROUNDING_SECONDS = 0.01


class Closed(Exception):
    """The provider is not to be asked now; the message says why, `again_seconds` for how long."""

    def __init__(self, why: str, again_seconds: float | None = None) -> None:
        super().__init__(why)
        self.again_seconds = again_seconds


class ProviderGate:
    """Lets requests to one provider through. For one event loop."""

    def __init__(
        self,
        name: str,
        options: ProviderOptions,
        limiter: RateLimiter,
        *,
        problem: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.problem = "it is disabled" if options.disabled else problem
        """Why it cannot be used as configured."""
        self.breaker = CircuitBreaker(threshold=3, first_pause_seconds=2.0, monotonic=monotonic)
        self.in_flight = 0
        self._limiter = limiter
        self._monotonic = monotonic
        self._rests_until = 0.0
        self._places = anyio.Semaphore(options.concurrency)
        self._requests = _budget(options.requests_per_minute)
        self._tokens = _budget(options.tokens_per_minute)

    @property
    def state(self) -> State:
        """Say in a word how it stands; `open`: its circuit is."""
        if self.problem is not None:
            return "unusable"
        if self.breaker.blocks():
            return "open"
        return "resting" if self.rests_seconds > 0 else "ready"

    @property
    def why(self) -> str:
        """Say why it is not ready; empty when it is."""
        try:
            self.check()
        except Closed as closed:
            return str(closed)
        return ""

    @property
    def rests_seconds(self) -> float:
        """How long the provider asked to be left alone."""
        return max(0.0, self._rests_until - self._monotonic())

    def check(self) -> None:
        """Raise Closed where asking now is of no use."""
        self._check(self.breaker.blocks())

    def admit(self) -> None:
        """Let a request through, as a trial where the circuit is open. Raises Closed."""
        self._check(not self.breaker.admits())

    def _check(self, blocked: bool) -> None:
        if self.problem is not None:
            raise Closed(self.problem)
        if self.rests_seconds > _ROUNDING_SECONDS:
            raise Closed(f"it asked to be left alone for {self.rests_seconds:.0f} s more", self.rests_seconds)
        if blocked:
            raise Closed(f"its circuit is open after {self.breaker.failures} failures in a row")

    @asynccontextmanager
    async def place(self, patience_seconds: float) -> AsyncIterator[None]:
        """Hold a place, given in the order of asking. Raises RateLimited after `patience_seconds`."""
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(patience_seconds) as waiting:
                await self._places.acquire()
            if waiting.cancelled_caught:
                raise RateLimited(f"All places of {self.name} are taken.", retry_after_seconds=1.0) from None
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._places.release()

    async def take_rates(self, tokens: int, patience_seconds: float) -> None:
        """Take a request and its tokens from the provider's rates, waiting for `patience_seconds` at most. Raises
        RateLimited where that is not long enough."""
        for what, budget, cost in (
            ("requests", self._requests, 1.0),
            ("tokens", self._tokens, float(max(1, tokens))),
        ):
            if budget is not None:
                patience_seconds -= await self._take(what, budget, min(cost, budget.burst), patience_seconds)

    async def _take(self, what: str, budget: Budget, cost: float, patience_seconds: float) -> float:
        began = self._monotonic()
        while True:
            wait = await self._limiter.take(f"llm:{self.name}:{what}", budget, cost)
            waited = self._monotonic() - began
            if not wait:
                return waited
            if waited + wait > patience_seconds:
                raise RateLimited(
                    f"{self.name} has no {what} left for this minute.",
                    f"Try again in {wait:.0f} s.",
                    retry_after_seconds=wait,
                )
            await anyio.sleep(wait)

    def answered(self) -> None:
        """Note an answer."""
        self.breaker.close()

    def failed(self, error: ProviderError) -> None:
        """Note a failure, and how long the provider wants to be left alone."""
        if error.counts_against:
            self.breaker.failed()
        else:
            self.breaker.close()
        if error.retry_after_seconds:
            rest = min(error.retry_after_seconds, _LONGEST_REST_SECONDS)
            self._rests_until = max(self._rests_until, self._monotonic() + rest)


def _budget(per_minute: float | None) -> Budget | None:
    return None if per_minute is None else Budget(per_minute, max(1.0, per_minute))
