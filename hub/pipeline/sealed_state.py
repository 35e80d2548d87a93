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

    The key lives and dies with the process, and so does the memory of what is outstanding: a restart voids every
    pending approval. A principal holds at most `max_outstanding` at once; the oldest is void
    when there are more. Not encrypted: everything inside is the caller's own already.
    """

    def __init__(
        self,
        *,
        lifetime_seconds: float = 300.0,
        max_outstanding: int = 64,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = secrets.token_bytes(32)
        self.lifetime_seconds = lifetime_seconds
        self._max_outstanding = max_outstanding
        self._monotonic = monotonic
        self._outstanding: dict[str, OrderedDict[str, float]] = {}

    def seal(self, state: State, binding: Binding) -> str:
        """Return `state` in a form that only this call of this principal can use, once, until it expires."""
        nonce = secrets.token_urlsafe(16)
        expires_at = self._monotonic() + self.lifetime_seconds
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

    def open(self, text: object, binding: Binding) -> State:
        """Return what was sealed and void it; raises InvalidState when `text` is not good for this call."""
        body = self._body(text)
        if body is None:
            raise InvalidState("forged", "It was not made by this hub, or was changed since.")
        step, inner, principal, tool, digest, expires_at, nonce = orjson.loads(body)
        if Binding(principal, tool, digest) != binding:
            raise InvalidState("mismatched", "It belongs to another call, or to other arguments.")
        if self._monotonic() >= expires_at:
            raise InvalidState("expired", f"It was good for {self.lifetime_seconds:g} seconds.")
        if self._outstanding.get(principal, {}).pop(nonce, None) is None:
            raise InvalidState("used", "It was used already; each is good for one use.")
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
        now = self._monotonic()
        while mine and (len(mine) > self._max_outstanding or next(iter(mine.values())) <= now):
            mine.popitem(last=False)
