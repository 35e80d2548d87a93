"""Whether a peer that may be away is worth asking now."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

REST_SECONDS = 3.0
"""How long a peer that failed is left alone before somebody asks it again."""


class Outage:
    """Remembers that a peer failed, so that callers do without it instead of waiting for it one by one.

    The log is told once when the peer goes away and once when it is back. After `rest_seconds` one caller is let
    through to find out; the others go on without.
    """

    def __init__(
        self,
        what: str,
        meanwhile: str,
        *,
        rest_seconds: float = REST_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._meanwhile = meanwhile
        self._rest_seconds = rest_seconds
        self._monotonic = monotonic
        self._away = False
        self._ask_again_at = 0.0

    def may_ask(self) -> bool:
        """Say whether to ask the peer now. Report back by `failed` or `answered`; a cancelled caller need not."""
        if not self._away:
            return True
        now = self._monotonic()
        if now < self._ask_again_at:
            return False
        self._ask_again_at = now + self._rest_seconds
        return True

    def failed(self, error: Exception) -> None:
        """Leave the peer alone for a while."""
        self._ask_again_at = self._monotonic() + self._rest_seconds
        if not self._away:
            self._away = True
            logger.warning("%s is away, %s: %s", self._what, self._meanwhile, error)

    def answered(self) -> None:
        """Ask the peer from now on."""
        if self._away:
            self._away = False
            logger.info("%s is back", self._what)
