"""What log level each handshake link was asked for, so that a link that replaces a lost one is asked again."""

import logging
from collections import OrderedDict

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.hub.call import METHOD_NOT_FOUND, NoPeer, RpcError
from quantum_suite.hub.upstreams.interface import Link, LinkKey

logger = logging.getLogger(__name__)

_MOST_KEPT = 1_000
_ASK_SECONDS = 5.0


class LogLevels:
    """Remembers levels by link, a bounded number of them. A server that does not obey costs no call."""

    def __init__(self) -> None:
        self._levels: OrderedDict[LinkKey, str] = OrderedDict()

    async def set(self, key: LinkKey, level: str, link: Link | None) -> None:
        """Remember the level, and tell `link` if it does not know yet. Waits some seconds at most."""
        known = self._levels.get(key)
        self._levels[key] = level
        self._levels.move_to_end(key)
        if len(self._levels) > _MOST_KEPT:
            self._levels.popitem(last=False)
        if link is not None and known != level:
            await self._ask(link, level)

    async def restore(self, key: LinkKey, link: Link) -> None:
        """Tell a fresh link what its predecessor knew."""
        if (level := self._levels.get(key)) is not None:
            await self._ask(link, level)

    async def _ask(self, link: Link, level: str) -> None:
        if "logging" not in link.hello.capabilities:
            return
        try:
            with anyio.fail_after(_ASK_SECONDS):
                await link.request("logging/setLevel", {"level": level}, NoPeer())
        except TimeoutError:
            logger.warning("a server left logging/setLevel unanswered for %g seconds", _ASK_SECONDS)
        except (RpcError, SuiteError) as error:
            if not (isinstance(error, RpcError) and error.code == METHOD_NOT_FOUND):
                logger.warning("a server did not take a log level: %s", error)
