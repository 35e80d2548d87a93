"""One HTTP API, asked in bounded time and bytes, with its failures named."""

import base64
import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import anyio.to_thread
import orjson

from quantum_suite.core.errors import CallerError, EngineError, NotFound, Refused, SuiteError, Unavailable
from quantum_suite.core.masking import MASK, mask_text
from quantum_suite.services.metrics.configuration import Address
from quantum_suite.services.metrics.interface import Notes
from quantum_suite.services.metrics.limits import SourceLimits, too_many_bytes
from quantum_suite.services.outbound import OutboundClient, OutboundReply, OutboundRequest

_MOST_SAID = 500
_INLINE_BYTES = 128 * 1024
"""Parsed at once; what is longer is parsed in a thread, so that other calls go on."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: parameters go into the query of a GET and the form of a POST; `json` is a body instead."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    content: bytes = b""
    content_type: str = ""
    idempotent: bool = True
    argument: str = "query"
    """What the caller would change to be answered."""


class HttpApi:
    """A server by its address. The client's owner closes it."""

    def __init__(
        self, address: Address, client: OutboundClient, limits: SourceLimits, product: str, setting: str
    ) -> None:
        """`product` is what should be there, `setting` the one that names it: both are told in errors."""
        self.address = address
        self.limits = limits
        self._client = client
        self._product = product
        self._setting = setting

    async def ask(self, ask: Ask, notes: Notes | None = None) -> tuple[int, Any]:
        """Return the status and the parsed JSON of an answer: of success, or of a 4xx or 5xx that explains itself.

        Raises CallerError for an answer that is too long, Unavailable and EngineError. A clock that differs from
        ours goes into `notes`.
        """
        headers = {**self.address.headers, "accept": "application/json"}
        if ask.content_type:
            headers["content-type"] = ask.content_type
        request = OutboundRequest(
            ask.method,
            f"{self.address.url}{ask.path}",
            headers=headers,
            body=ask.content,
            idempotent=ask.idempotent,
            reach="private",
            max_body_bytes=self.limits.max_bytes + 1,
            answers=_explains_itself,
        )
        before = time.time()
        reply = await self._send(request)
        if notes is not None:
            self.compare_clocks(reply.headers, before, notes)
        if len(reply.body) > self.limits.max_bytes:
            raise too_many_bytes(self.limits, ask.argument)
        if len(reply.body) <= _INLINE_BYTES:
            return reply.status, self.parsed(reply.status, reply.headers, reply.body)
        return reply.status, await anyio.to_thread.run_sync(self.parsed, reply.status, reply.headers, reply.body)

    async def _send(self, request: OutboundRequest) -> OutboundReply:
        try:
            with anyio.fail_after(self.limits.deadline_seconds):
                return await self._client.send(request)
        except TimeoutError:
            raise Unavailable(
                f"{self._named} did not answer within {self.limits.deadline_seconds:g} seconds.",
                "Ask for less (fewer series, a shorter time), or try again later.",
            ) from None
        except Unavailable as error:
            raise Unavailable(
                f"{self._named}: {error.message}", "Try again later, or see that it runs."
            ) from error
        except Refused as error:
            raise EngineError(f"{self._named}: {error}", engine=self.address.name) from error

    def parsed(self, status: int, headers: Mapping[str, str], body: bytes) -> Any:
        """Return the JSON of a reply; raises EngineError for a status or a body that is none of the API's."""
        if status in (401, 403):
            name = self.address.name.upper().replace("-", "_")
            hint = f"Set {self._setting}_{name}_TOKEN, or _USER and _PASSWORD, and start the hub again."
            raise self._error(status, body, "does not accept the credentials", hint)
        if 300 <= status < 400:
            raise self._error(status, b"", "answers from elsewhere", f"Mend its address in {self._setting}.")
        if not body and status < 300:
            return None
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            problem = "does not have this API" if status == 404 else "did not answer in JSON"
            raise self._error(
                status, body, problem, f"See that {self._setting} leads to {self._product}."
            ) from None

    def too_slow(self) -> Unavailable:
        """Return the error for an answer that took too long."""
        return Unavailable(
            f"{self._named} did not answer within {self.limits.deadline_seconds:g} seconds.",
            "Ask for less (fewer series, a shorter time), or try again later.",
        )

    def away(self, what: str) -> Unavailable:
        """Return the error for a server that is not there."""
        return Unavailable(f"{self._named}: {what}", "Try again later, or see that it runs.")

    def garbled(self, what: str) -> EngineError:
        """Return the error for JSON of another shape than the API's."""
        return EngineError(
            f"{self._named} sent an answer without {what}.",
            f"See that {self._setting} leads to {self._product}.",
            engine=self.address.name,
        )

    def refused(self, status: int, said: str, kind: str, argument: str) -> SuiteError:
        """Return what a status means, and what the server said with it."""
        said = self.masked(said)
        if status == 404:
            return NotFound(f"{self._named}: {said}", argument=argument)
        if status in (400, 422):
            return CallerError(f"{self._named} refuses it: {said}", argument=argument)
        if status == 503 or kind in ("timeout", "canceled"):
            return Unavailable(
                f"{self._named} gave up: {said}", "Ask for less (fewer series, a shorter time), or try later."
            )
        return EngineError(f"{self._named} answered {status}: {said}", engine=self.address.name, printed=said)

    def masked(self, said: str) -> str:
        """Return words of the server in one bounded line, credentials masked."""
        for secret in _spellings(self.address.secrets):
            said = said.replace(secret, MASK)
        return mask_text(" ".join(said.split()))[:_MOST_SAID]

    @property
    def _named(self) -> str:
        return f"{self._product} '{self.address.name}'"

    def _error(self, status: int, body: bytes, what: str, hint: str) -> EngineError:
        said = self.masked(body[: 4 * _MOST_SAID].decode(errors="replace"))
        return EngineError(
            f"{self._named} {what} (status {status}).", hint, engine=self.address.name, printed=said
        )

    def compare_clocks(self, headers: Mapping[str, str], before: float, notes: Notes) -> None:
        """Note when the server's clock (`Date`) differs from this machine's; `before` is when it was asked."""
        theirs = _date(headers)
        if theirs is None:
            return
        after = time.time()
        # Their second may have begun any time in it; ours lies between asking and being answered.
        apart = before - (theirs + 1) if theirs + 1 < before else theirs - after if theirs > after else 0.0
        if apart > self.limits.clock_seconds:
            way = "behind" if theirs < before else "ahead of"
            notes.append(
                f"The clock of {self.address.name} is {_seconds(apart)} {way} this machine's: times up to now may "
                "miss or lack data."
            )


def _explains_itself(reply: OutboundReply) -> bool:
    """Whether an error is the API's own, which asking again does not change."""
    return reply.body[:1] == b"{" and b'"errorType"' in reply.body[:4096]


def _date(headers: Mapping[str, str]) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _spellings(secrets: tuple[str, ...]) -> list[str]:
    """Return secrets as they are, and what base64 in them hides."""
    found = list(secrets)
    for secret in secrets:
        try:
            found.append(base64.b64decode(secret, validate=True).decode().partition(":")[2])
        except ValueError:
            continue
    return [secret for secret in found if len(secret) >= 4]
