"""Who is asked next: the first in order that can be asked now, else the one that can be asked soonest.

So nobody waits for a provider while another can answer, and a failing one is asked again only where none is left.
"""

from dataclasses import dataclass, field

from quantum_suite.core.errors import CallerError, Refused, SuiteError, Unavailable
from quantum_suite.services.backoff import Backoff
from quantum_suite.services.llm.errors import ContextOverflow, ProviderError, Rejected, Unreachable
from quantum_suite.services.llm.routing import Candidate

_FIRST_PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class Prospect:
    """A candidate and how it fared in this call."""

    candidate: Candidate
    left: int
    native_schema: bool
    not_before: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_PAUSE_SECONDS, 8.0))
    failures: int = 0

    def failed(self, error: ProviderError, now: float) -> None:
        """Note a failure: whether and when it may be asked again."""
        self.failures += 1
        self.left -= 1
        if not error.safe_to_repeat:
            self.left = 0
            return
        # A connection that was kept open may have been closed long ago: that costs one try and no pause.
        pause = 0.0 if isinstance(error, Unreachable) and self.failures == 1 else self.backoff.next()
        self.not_before = now + max(pause, error.retry_after_seconds or 0.0)


class Plan:
    """The order of one call's attempts."""

    def __init__(self, candidates: list[Candidate]) -> None:
        self.prospects = [Prospect(one, one.options.attempts, one.native_schema) for one in candidates]
        self._errors: list[SuiteError] = []

    def next(self, now: float) -> tuple[Prospect, float] | None:
        """Return who is next and the seconds to wait for it; None when nobody is left."""
        left = [one for one in self.prospects if one.left > 0]
        for one in left:
            if one.not_before <= now:
                return one, 0.0
        if not left:
            return None
        soonest = min(left, key=lambda one: one.not_before)
        return soonest, soonest.not_before - now

    def note(self, error: SuiteError) -> None:
        """Remember why somebody could not answer."""
        self._errors.append(error)

    def verdict(self, tried: list[str]) -> SuiteError:
        """Return the error that says most about why nobody answered."""
        told = "; ".join(one.rstrip(".") for one in tried[-8:]) or "its deadline passed first"
        if self._errors and all(isinstance(error, ContextOverflow) for error in self._errors):
            return CallerError(f"The request is too long: {told}.", "Send less.", argument="messages")
        if self._errors and all(isinstance(error, Refused) for error in self._errors):
            return self._errors[-1]
        rejected = [error for error in self._errors if isinstance(error, Rejected)]
        if rejected and len(rejected) == len(self._errors):
            return rejected[-1]
        return Unavailable(f"No model answered: {told}.", "Try again later, or add a model to the route.")
