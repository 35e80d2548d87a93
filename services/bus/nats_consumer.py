"""Those who read the bus over NATS: consumers, which say that they dealt with a message, and listeners."""

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.ids import new_id
from quantum_suite.services.bus.interface import Message
from quantum_suite.services.bus.nats_connection import NatsConnection
from quantum_suite.services.bus.nats_stream import STREAM, NatsStream, StreamState, code_of, words_of

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

logger = logging.getLogger(__name__)

_PULL_SECONDS = 2.0
_LATE_SECONDS = 0.5
_RETRY_SECONDS = 0.2
_LISTENER_MESSAGES = 1_000
_NANOSECONDS = 1_000_000_000
_IDLE_NANOSECONDS = 3600 * _NANOSECONDS
_CONSUMER_EXISTS = 10148
_NOTHING_NOW = frozenset({"404", "408"})


class NatsConsumer:
    """Pulls one message at a time: what is handed out is being dealt with, and nobody else waits for it."""

    def __init__(
        self, connection: NatsConnection, stream: NatsStream, subject: str, durable: str | None, ack_seconds: float
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._name = durable or new_id("passing")
        self._durable = durable is not None
        self._ack_seconds = ack_seconds
        self._sender, self._receiver = anyio.create_memory_object_stream["Msg"](math.inf)
        self._bound: tuple[Client, Subscription] | None = None
        self._seen: StreamState | None = None

    def __aiter__(self) -> "NatsConsumer":
        return self

    async def __anext__(self) -> "NatsDelivery":
        while True:
            await self.bind()
            message = await self._pull()
            if message is None:
                continue
            if message.headers and (status := message.headers.get("Status")):
                if status not in _NOTHING_NOW:
                    await self._unbind()
                continue
            if self._seen is not None:
                self._seen = replace(self._seen, last_sequence=message.metadata.sequence.stream)
            read = _message(message)
            if read is not None:
                return NatsDelivery(message, read)
            await message.term()

    async def bind(self) -> None:
        """See that the stream, the consumer and the inbox are there; waits for the broker."""
        from nats import errors  # an optional package

        while True:
            try:
                client = await self._connection.client()
                if self._bound is not None and self._bound[0] is client:
                    return
                await self._make()
                inbox = await client.subscribe(client.new_inbox(), cb=self._take)
                self._bound = client, inbox
                return
            except (Unavailable, errors.Error):
                await anyio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        """Give back what came but was not handed out."""
        with anyio.move_on_after(_PULL_SECONDS, shield=True):
            if self._bound is not None:
                await _unsubscribe(self._bound[1])
                while True:
                    try:
                        message = self._receiver.receive_nowait()
                    except anyio.WouldBlock:
                        break
                    if not message.headers or "Status" not in message.headers:
                        await message.nak()
                if not self._durable:
                    await self._delete()
        self._sender.close()
        self._receiver.close()

    async def _take(self, message: "Msg") -> None:
        try:
            self._sender.send_nowait(message)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            await message.nak()

    async def _pull(self) -> "Msg | None":
        """Return the next message or word from the broker; None when there was none for a while."""
        from nats import errors  # an optional package

        if self._bound is None:
            return None
        client, inbox = self._bound
        asked = orjson.dumps({"batch": 1, "expires": int(_PULL_SECONDS * _NANOSECONDS)})
        if self._receiver.statistics().current_buffer_used:
            return await self._receiver.receive()
        try:
            with anyio.move_on_after(_PULL_SECONDS + _LATE_SECONDS):
                await client.publish(
                    f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{self._name}", asked, reply=inbox.subject
                )
                return await self._receiver.receive()
        except errors.Error as error:
            logger.debug("Nothing could be asked of NATS: %s", error)
            await anyio.sleep(_RETRY_SECONDS)
        return None

    async def _unbind(self) -> None:
        """Look at everything anew: the consumer or the stream is gone, or has another leader."""
        if self._bound is not None:
            await _unsubscribe(self._bound[1])
            self._bound = None
        await anyio.sleep(_RETRY_SECONDS)

    async def _delete(self) -> None:
        try:
            await self._stream.ask("CONSUMER.DELETE", name=self._name)
        except Unavailable as error:
            logger.debug("The consumer %s ends by itself: %s", self._name, error)

    async def _make(self) -> None:
        """See that the consumer is there, with this subject and time to acknowledge."""
        stream = await self._stream.made()
        answer = await self._stream.ask("CONSUMER.INFO", name=self._name)
        body: dict[str, Any] | None = None
        if code_of(answer) is not None:
            body = {"stream_name": STREAM, "config": self._wanted() | self._start(stream), "action": "create"}
        elif not self._wanted().items() <= answer["config"].items():
            body = {"stream_name": STREAM, "config": answer["config"] | self._wanted()}
        if body is not None:
            made = await self._stream.ask("CONSUMER.CREATE", body, f"{self._name}.{self._subject}")
            if code_of(made) not in (None, _CONSUMER_EXISTS):
                raise self._connection.away(words_of(made))
        if self._seen is None or self._seen.created != stream.created:
            self._seen = stream

    def _wanted(self) -> dict[str, Any]:
        lasting = {"durable_name": self._name} if self._durable else {"inactive_threshold": _IDLE_NANOSECONDS}
        return {
            "name": self._name,
            "filter_subject": self._subject,
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_seconds * _NANOSECONDS),
            **lasting,
        }

    def _start(self, stream: StreamState) -> dict[str, Any]:
        """Return from where on: now; and in place of a consumer that was lost, where that one was."""
        if self._seen is None:
            return {"deliver_policy": "new"}
        if self._seen.created != stream.created:
            return {"deliver_policy": "all"}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": self._seen.last_sequence + 1}


class NatsDelivery:
    """A message in hand. What cannot be told to the broker now comes again, as if it had not been said."""

    def __init__(self, carried: "Msg", message: Message) -> None:
        self._carried = carried
        self.message = message
        self.attempt = carried.metadata.num_delivered

    async def ack(self) -> None:
        """Say that it was dealt with."""
        await self._say("ack")

    async def nack(self, delay_seconds: float = 0) -> None:
        """Give it back."""
        await self._say("nak", delay_seconds)

    async def _say(self, what: str, *details: float) -> None:
        from nats import errors  # an optional package

        try:
            await getattr(self._carried, what)(*details)
        except errors.Error as error:
            logger.debug("The message %s comes again: %s", self.message.id, error)


class NatsListener:
    """The newest messages, as they pass; what it is too slow for is lost to it."""

    def __init__(self, connection: NatsConnection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._sender, self._receiver = anyio.create_memory_object_stream["Msg"](_LISTENER_MESSAGES)
        self._bound: tuple[Client, Subscription] | None = None

    def __aiter__(self) -> "NatsListener":
        return self

    async def __anext__(self) -> Message:
        while True:
            with anyio.move_on_after(_PULL_SECONDS):
                read = _message(await self._receiver.receive())
                if read is not None:
                    return read
            await self.bind()

    async def bind(self) -> None:
        """See that the subscription is there, for this client; waits for the broker."""
        from nats import errors  # an optional package

        while True:
            try:
                client = await self._connection.client()
                if self._bound is None or self._bound[0] is not client:
                    self._bound = client, await client.subscribe(self._subject, cb=self._take)
                    await client.flush()
                return
            except (Unavailable, errors.Error):
                await anyio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        """Stop listening."""
        if self._bound is not None:
            await _unsubscribe(self._bound[1])
        self._sender.close()
        self._receiver.close()

    async def _take(self, message: "Msg") -> None:
        try:
            self._sender.send_nowait(message)
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            logger.debug("A listener to %s is too slow for it.", self._subject)


def _message(carried: "Msg") -> Message | None:
    """Return what the relay published; None, said in the log, for what somebody else did."""
    try:
        identifier = (carried.headers or {})["Nats-Msg-Id"]
        body = orjson.loads(carried.data)
        if not isinstance(body, dict):
            raise ValueError("it is no JSON object")
    except (KeyError, ValueError) as error:
        logger.warning("A message on %s is no event, passed over: %s", carried.subject, error)
        return None
    return Message(identifier, carried.subject, body)


async def _unsubscribe(subscription: "Subscription") -> None:
    from nats import errors  # an optional package

    try:
        with anyio.move_on_after(_PULL_SECONDS, shield=True):
            await subscription.unsubscribe()
    except errors.Error as error:
        logger.debug("The subscription to %s went with its connection: %s", subscription.subject, error)
