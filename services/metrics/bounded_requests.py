"""`requests` with an end to what is read and how long it takes. Imported on first use: it is of an extra."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.limits import SourceLimits, too_many_bytes

_RETRY_ON = (429, 500, 502, 504)
_RETRIES = 2
_PAUSE_SECONDS = 0.2


class TooSlow(Exception):
    """Nobody waits for this answer any more."""


class Exchange(HTTPAdapter):
    """Carries requests, and remembers the last answer: libraries above it drop half of what it says."""

    def __init__(self, limits: SourceLimits, argument: str) -> None:
        super().__init__(
            max_retries=Retry(
                total=_RETRIES,
                backoff_factor=_PAUSE_SECONDS,
                status_forcelist=_RETRY_ON,
                raise_on_status=False,
                redirect=0,
            )
        )
        self._limits = limits
        self._argument = argument
        self._ends_at = time.monotonic() + limits.deadline_seconds
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()

    def send(self, request: Any, *positional: Any, **options: Any) -> Any:
        """Send, and have the answer's body read through the bounds."""
        response = super().send(request, *positional, **options)
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.body = bytearray()
        response.raw = _Bounded(response.raw, self)
        return response

    def took(self, piece: bytes) -> None:
        """Count a piece of the body; raises CallerError and TooSlow past the bounds."""
        self.body += piece
        if len(self.body) > self._limits.max_bytes:
            raise too_many_bytes(self._limits, self._argument)
        if time.monotonic() > self._ends_at:
            raise TooSlow


class _Bounded:
    """The raw answer of urllib3, read through an exchange's bounds."""

    def __init__(self, raw: Any, exchange: Exchange) -> None:
        self._raw = raw
        self._exchange = exchange

    def stream(self, size: int, decode_content: bool = False) -> Iterator[bytes]:
        """Yield the body."""
        try:
            for piece in self._raw.stream(size, decode_content=decode_content):
                self._exchange.took(piece)
                yield piece
        except (CallerError, TooSlow):
            self._raw.close()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def open_session(headers: Mapping[str, str]) -> requests.Session:
    """Return a session that follows no redirects; close it."""
    session = requests.Session()
    session.max_redirects = 0
    session.headers.update({**headers, "user-agent": "quantum-suite"})
    return session
