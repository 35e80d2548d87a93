"""The stream in NATS that keeps events for a while."""

from dataclasses import dataclass
from typing import Any

import orjson

from quantum_suite.services.bus.nats_connection import NatsConnection
from quantum_suite.services.bus.subjects import EVERYTHING

STREAM = "QUANTUM_EVENTS"
_KEEP_SECONDS = 3 * 24 * 60 * 60
_KEEP_BYTES = 1024 * 1024 * 1024
_DUPLICATE_SECONDS = 120
_NANOSECONDS = 1_000_000_000
_STREAM_NOT_FOUND, _NAME_IN_USE = 10059, 10058


@dataclass(frozen=True, slots=True)
class StreamState:
    """Which stream it is, and how far it goes."""

    created: str
    """Tells it from another one of its name, before or after it."""
    last_sequence: int


class NatsStream:
    """The stream all events go through; made when it is not there, left alone when it is.

    It keeps three days and a gigabyte, whichever is less, and knows a repeated message id for two minutes.
    """

    def __init__(self, connection: NatsConnection, *, replicas: int = 1, keep_bytes: int = _KEEP_BYTES) -> None:
        self._connection = connection
        self._replicas = replicas
        self._keep_bytes = keep_bytes
        self._known = False

    async def make_if_unknown(self) -> None:
        """Make the stream unless it was seen before."""
        if not self._known:
            await self.made()

    def forget(self) -> None:
        """Look again next time: something went wrong."""
        self._known = False

    async def made(self) -> StreamState:
        """Return the stream's state; make it if need be."""
        answer = await self.ask("STREAM.INFO")
        if code_of(answer) == _STREAM_NOT_FOUND:
            made = await self.ask("STREAM.CREATE", self._configuration())
            if code_of(made) not in (None, _NAME_IN_USE):
                raise self._connection.away(f"its stream cannot be made: {words_of(made)}")
            answer = await self.ask("STREAM.INFO")
        if code_of(answer) is not None:
            raise self._connection.away(words_of(answer))
        self._known = True
        return StreamState(str(answer["created"]), int(answer["state"]["last_seq"]))

    async def ask(self, question: str, body: dict[str, Any] | None = None, name: str = "") -> dict[str, Any]:
        """Ask JetStream about this stream, or something in it."""
        subject = f"$JS.API.{question}.{STREAM}" + (f".{name}" if name else "")
        return await self._connection.request(subject, orjson.dumps(body) if body else b"")

    def _configuration(self) -> dict[str, Any]:
        return {
            "name": STREAM,
            "subjects": [EVERYTHING],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_age": _KEEP_SECONDS * _NANOSECONDS,
            "max_bytes": self._keep_bytes,
            "num_replicas": self._replicas,
            "duplicate_window": _DUPLICATE_SECONDS * _NANOSECONDS,
        }


def code_of(answer: dict[str, Any]) -> int | None:
    """Return JetStream's code of what went wrong; None when nothing did."""
    error = answer.get("error")
    return None if error is None else int(error.get("err_code", 0))


def words_of(answer: dict[str, Any]) -> str:
    """Return what JetStream says went wrong."""
    return str(answer.get("error", {}).get("description", "no reason given"))
