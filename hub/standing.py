"""How one upstream stands: its state and why, what it said of itself, what it offers."""

import logging
from collections.abc import Callable

import anyio

from quantum_suite.core.errors import SuiteError, Unavailable
from quantum_suite.hub.config import UpstreamConfig
from quantum_suite.hub.offer import Offer
from quantum_suite.hub.status import State, UpstreamStatus
from quantum_suite.hub.upstreams.interface import Hello
from quantum_suite.services.breaker import CircuitBreaker

logger = logging.getLogger(__name__)


class Standing:
    """What is known of an upstream, and what is said of it.

    `present` says whether its names are listed. A reason is kept twice: in full for its operator, and in words for
    everybody, since the full one may quote paths and what a server printed.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        transport: str,
        breaker: CircuitBreaker,
        changed: Callable[[], None],
        *,
        problem: str | None,
        offer: Offer | None,
    ) -> None:
        """`changed` is called when the offer or the presence changed."""
        self.offer = offer or Offer()
        self.present = False
        self.hello: Hello | None = None
        self.settled = anyio.Event()
        """Set once the first attempt to connect ended, either way."""
        self._config = config
        self._transport = transport
        self._breaker = breaker
        self._changed = changed
        self._state: State = "disabled" if config.disabled else "starting"
        self._problem = problem
        self._told = "its entry in mcp.json cannot be used." if problem else None

    def moved(self, config: UpstreamConfig) -> None:
        """Take note that the entry, otherwise unchanged, stands elsewhere in its file."""
        self._config = config

    def unusable(self) -> None:
        """Settle an upstream that is disabled, or whose entry cannot be used."""
        self._settle("disabled" if self._config.disabled else "degraded", self._problem, self._told)

    def healthy(self, offer: Offer) -> None:
        """Note that a check succeeded, and what it found."""
        self._settle("healthy", None, None, offer)

    def doubtful(self, problem: str, told: str) -> None:
        """Note a failed check; the upstream stays listed until it counts as away."""
        self._state, self._problem, self._told = "degraded", problem, told

    def away(self, problem: str, told: str) -> None:
        """Withdraw its names, and say why."""
        logger.warning("upstream is away", extra={"upstream": self._config.name, "problem": problem})
        self._settle("degraded", problem, told)

    def _settle(self, state: State, problem: str | None, told: str | None, offer: Offer | None = None) -> None:
        present = state == "healthy"
        first = not self.settled.is_set()
        changed = first or present != self.present or (offer is not None and offer != self.offer)
        self._state, self._problem, self._told, self.present = state, problem, told, present
        if offer is not None:
            self.offer = offer
        self.settled.set()
        if changed:
            self._changed()

    # -- what is said -----------------------------------------------------------------------------------------

    def refusal(self) -> Unavailable:
        """Return the error of a call that cannot be carried now."""
        failing = self.present and self._breaker.is_open
        reason = self._failing() if failing else self._told or "it is still starting."
        return Unavailable(
            f"The server '{self._config.name}' is away: {reason}", "It is tried again by itself; retry later."
        )

    def status(self, refused: tuple[str, ...], in_flight: int) -> UpstreamStatus:
        """Return all of it, for its operator; `refused` are the names the catalogue did not grant."""
        hello, offer = self.hello, self.offer
        server = hello.server_info if hello else {}
        failing = self._state == "healthy" and self._breaker.is_open
        return UpstreamStatus.model_validate(
            {
                "name": self._config.name,
                "transport": self._transport,
                "source": self._config.source,
                "state": "degraded" if failing else self._state,
                "problem": (self._failing() if failing else self._problem) or "; ".join(offer.faults) or None,
                "server": f"{server.get('name', '?')} {server.get('version', '')}".strip() if hello else None,
                "protocol_version": hello.protocol_version if hello else None,
                "tools": len(offer.tools) if self.present else 0,
                "prompts": len(offer.prompts) if self.present else 0,
                "resources": len(offer.resources) + len(offer.templates) if self.present else 0,
                "refused_names": refused,
                "in_flight": in_flight,
            }
        )

    def outline(self, refused: tuple[str, ...], in_flight: int) -> UpstreamStatus:
        """Return the same, without what only its operator may know."""
        full = self.status(refused, in_flight)
        problem = full.problem if full.problem != self._problem else self._told
        return full.model_copy(update={"source": self._config.source.rpartition("/")[2], "problem": problem})

    def _failing(self) -> str:
        return (
            f"it left {self._breaker.failures} calls in a row without an answer. "
            "Calls fail at once, but for one now and then that tries whether it is back."
        )


def reasons(error: BaseException, seconds: float) -> tuple[str, str]:
    """Return why a check failed, in full and in words for everybody; `seconds` was its deadline."""
    if isinstance(error, TimeoutError):
        silent = f"it did not answer within {seconds:g} seconds."
        return silent, silent
    full = str(error) or type(error).__name__
    return full, error.message if isinstance(error, SuiteError) else full
