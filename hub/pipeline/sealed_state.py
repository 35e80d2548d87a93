"""What the hub gives a client to hold between two rounds of a call, and can trust when it comes back.

Follows the server requirements of multi round-trip requests (2026-07-28, basic/patterns/mrtr): bound to the
principal, to the request, to an expiry; and, because what it stands for is a person's yes, good for one use.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import orjson

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.limits.interface import Budget, RateLimiter

Step = Literal["asked", "approved"]
"""`asked`: a person was asked. `approved`: they said yes, and now the tool itself asks something."""

_PREFIX = "qsa1."
_MAC_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class Binding:
    """The one call a state is good for."""

    principal: str
    tool: str
    """The owner's name and the owner's own name of the tool."""
    arguments_sha256: str


@dataclass(frozen=True, slots=True)
class State:
    """What was sealed. `inner` is the tool's own `requestState`, where it has one."""

    step: Step
    inner: str | None = None


class InvalidState(Exception):
    """A state that must not be honoured; `why` is one of `forged`, `expired`, `mismatched`, `used`."""

    def __init__(self, why: Literal["forged", "expired", "mismatched", "used"], message: str) -> None:
        super().__init__(message)
        self.why = why
        self.message = message


class StateSeal:
    """Seals states with HMAC-SHA256 and opens each of them once.

    Without a `key` it lives and dies with the process: a restart voids every pending approval. Processes that
    share a key take each other's states; so that each is still good once, they share `uses` too, without which
    each process takes a state once. Where the clocks differ, so does what counts as expired.

    A principal holds at most `max_outstanding` of this process's states at once; the oldest is void when there are
    more. Not encrypted: everything inside is the caller's own already.
    """

    def __init__(
        self,
        key: bytes | None = None,
        *,
        uses: RateLimiter | None = None,
        lifetime_seconds: float = 300.0,
        max_outstanding: int = 64,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`key` is secret and at least 32 bytes; raises ConfigurationError when it is shorter."""
        if key is not None and len(key) < _MAC_BYTES:
            raise ConfigurationError(f"The key that seals approvals has {len(key)} bytes.", "It needs 32 or more.")
        self._key = key or secrets.token_bytes(_MAC_BYTES)
        self._uses = uses
        # A bucket with room for one use, which fills again when the state has long expired.
        self._one_use = Budget(per_minute=60 / (4 * lifetime_seconds), burst=1)
        self._process = secrets.token_urlsafe(8)
        self.lifetime_seconds = lifetime_seconds
        self._max_outstanding = max_outstanding
        self._clock = clock
        self._outstanding: dict[str, OrderedDict[str, float]] = {}
        self._taken: OrderedDict[str, float] = OrderedDict()
        """States of other processes that were used here, and when they expire."""

    def seal(self, state: State, binding: Binding) -> str:
        """Return `state` in a form that only this call of this principal can use, once, until it expires."""
        nonce = f"{self._process}.{secrets.token_urlsafe(16)}"
        expires_at = self._clock() + self.lifetime_seconds
        self._remember(binding.principal, nonce, expires_at)
        body = orjson.dumps(
            [
                state.step,
                state.inner,
                binding.principal,
                binding.tool,
                binding.arguments_sha256,
                expires_at,
                nonce,
            ]
        )
        return _PREFIX + base64.urlsafe_b64encode(self._mac(body) + body).decode()

    def recognises(self, text: object) -> bool:
        """Whether `text` was sealed here, be it still good or not."""
        return self._body(text) is not None

    async def redeem(self, text: object, binding: Binding) -> State:
        """Return what was sealed and void it everywhere; raises InvalidState when it is not good for this call."""
        state = self.open(text, binding)
        if self._uses is not None:
            used = hashlib.sha256(
                self._body(text) or b""
            ).hexdigest()  # of one state there may be several spellings
            if await self._uses.take(f"approval:{used}", self._one_use) > 0:
                raise _used()
        return state

    def open(self, text: object, binding: Binding) -> State:
        """Return what was sealed and void it in this process; raises InvalidState like `redeem`."""
        body = self._body(text)
        if body is None:
            raise InvalidState("forged", "It was not made by this hub, or was changed since.")
        step, inner, principal, tool, digest, expires_at, nonce = orjson.loads(body)
        if Binding(principal, tool, digest) != binding:
            raise InvalidState("mismatched", "It belongs to another call, or to other arguments.")
        if self._clock() >= expires_at:
            raise InvalidState("expired", f"It was good for {self.lifetime_seconds:g} seconds.")
        if nonce.startswith(f"{self._process}."):
            if self._outstanding.get(principal, {}).pop(nonce, None) is None:
                raise _used()
        elif nonce in self._taken:
            raise _used()
        else:
            self._taken[nonce] = expires_at
            while next(iter(self._taken.values())) <= self._clock():
                self._taken.popitem(last=False)
        return State(step, inner)

    def _body(self, text: object) -> bytes | None:
        if not isinstance(text, str) or not text.startswith(_PREFIX):
            return None
        try:
            sealed = base64.b64decode(text[len(_PREFIX) :], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        return body if hmac.compare_digest(mac, self._mac(body)) else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")

    def _remember(self, principal: str, nonce: str, expires_at: float) -> None:
        mine = self._outstanding.setdefault(principal, OrderedDict())
        mine[nonce] = expires_at
        now = self._clock()
        while mine and (len(mine) > self._max_outstanding or next(iter(mine.values())) <= now):
            mine.popitem(last=False)


def _used() -> InvalidState:
    return InvalidState("used", "It was used already; each is good for one use.")
