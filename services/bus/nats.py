"""The bus over NATS JetStream: one stream, `QUANTUM_EVENTS`, that may be lost and is made anew."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from quantum_suite.core.errors import ConfigurationError, SuiteError
from quantum_suite.services.bus.interface import Delivery, Message
from quantum_suite.services.bus.nats_connection import NatsConnection
from quantum_suite.services.bus.nats_consumer import NatsConsumer, NatsListener
from quantum_suite.services.bus.nats_stream import NatsStream
from quantum_suite.services.bus.subjects import check_durable, check_subject

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.api import PubAck

logger = logging.getLogger(__name__)

ACK_SECONDS = 30.0
_IDENTIFIER = "Nats-Msg-Id"
_AFTER = "Nats-Expected-Last-Msg-Id"


class NatsBus:
    """Publishes in order, each message only after the one before it is stored.

    Several processes may publish, one after the other: the relay's lease sees to that. Two at once disturb each
    other's order check and publish again.
    """

    def __init__(
        self, connection: NatsConnection, *, ack_seconds: float = ACK_SECONDS, stream: NatsStream | None = None
    ) -> None:
        self._connection = connection
        self._ack_seconds = ack_seconds
        self._stream = stream or NatsStream(connection)
        self._context: tuple[Client, JetStreamContext] | None = None

    async def publish(self, messages: list[Message]) -> None:
        for message in messages:
            check_subject(message.subject)
        await self._stream.make_if_unknown()
        client, stream = await self._jetstream()
        pending: list[asyncio.Future[PubAck]] = []
        try:
            with anyio.fail_after(self._connection.answer_seconds):
                for message, before in zip(messages, [None, *messages], strict=False):
                    pending.append(await self._send(client, stream, message, before))
            for stored in pending:
                with anyio.fail_after(self._connection.answer_seconds):
                    await stored
        except SuiteError:
            raise
        except Exception as error:
            if not _is_of_nats(error):
                raise
            self._stream.forget()
            raise self._connection.away(f"not everything was stored ({error or type(error).__name__})") from error
        finally:
            for stored in pending:
                if not stored.cancel() and not stored.cancelled():
                    stored.exception()  # seen: asyncio reports what nobody looked at

    @asynccontextmanager
    async def consume(self, subject: str, *, durable: str | None = None) -> AsyncIterator[AsyncIterator[Delivery]]:
        check_subject(subject, pattern=True)
        check_durable(durable)
        consumer = NatsConsumer(self._connection, self._stream, subject, durable, self._ack_seconds)
        try:
            await consumer.bind()
            yield consumer
        finally:
            await consumer.close()

    @asynccontextmanager
    async def listen(self, subject: str) -> AsyncIterator[AsyncIterator[Message]]:
        check_subject(subject, pattern=True)
        listener = NatsListener(self._connection, subject)
        try:
            await listener.bind()
            yield listener
        finally:
            await listener.close()

    async def _jetstream(self) -> "tuple[Client, JetStreamContext]":
        client = await self._connection.client()
        if self._context is None or self._context[0] is not client:
            self._context = client, client.jetstream()
        return self._context

    async def _send(
        self, client: "Client", stream: "JetStreamContext", message: Message, before: Message | None
    ) -> "asyncio.Future[PubAck]":
        body = orjson.dumps(message.body)
        if len(body) > client.max_payload:
            raise ConfigurationError(
                f"The event at {message.id} has {len(body)} bytes; NATS takes {client.max_payload}.",
                "Raise max_payload in the broker's configuration: until then nothing later is published either.",
            )
        headers: dict[str, Any] = {_IDENTIFIER: message.id}
        if before is not None:
            headers[_AFTER] = before.id
        return await stream.publish_async(message.subject, body, headers=headers)


def _is_of_nats(error: Exception) -> bool:
    from nats import errors  # an optional package

    return isinstance(error, (errors.Error, TimeoutError, OSError))
