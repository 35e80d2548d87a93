"""Sealing under a provider's newest key, and opening under any of its keys, without asking it every time."""

import logging
import time
from collections.abc import Callable

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.encryption.cipher import Opener, Sealer
from quantum_suite.services.encryption.interface import KeyProvider

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 30.0


class DataCipher:
    """Knows the provider's keys.

    Somebody else's rotation is noticed within `refresh_seconds`: until then data is sealed under the key before,
    which stays readable. While the provider is away the last key known goes on being used.
    """

    def __init__(
        self,
        provider: KeyProvider,
        *,
        refresh_seconds: float = REFRESH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider = provider
        self._refresh_seconds = refresh_seconds
        self._monotonic = monotonic
        self._sealer: Sealer | None = None
        self._fresh_until = 0.0
        self._openers: dict[str, Opener] = {}

    async def sealer(self, *, newest: bool = False) -> Sealer:
        """Return what seals under the newest key known; with `newest` the provider is asked in any case."""
        if self._sealer is None or newest or self._monotonic() >= self._fresh_until:
            await self._refresh(required=newest or self._sealer is None)
        assert self._sealer is not None
        return self._sealer

    async def opener(self, key_id: str) -> Opener:
        """Return what opens values sealed under this key; raises Damaged when the provider has it no more."""
        found = self._openers.get(key_id)
        if found is None:
            found = self._openers[key_id] = Opener(await self._provider.get(key_id))
        return found

    async def _refresh(self, *, required: bool) -> None:
        asked_at = self._monotonic()
        try:
            key = await self._provider.current()
        except Unavailable as error:
            if required:
                raise
            logger.warning("Going on under the last key known: %s", error)
        else:
            if self._sealer is None or self._sealer.key_id != key.id:
                self._sealer = Sealer(key)
        self._fresh_until = asked_at + self._refresh_seconds
