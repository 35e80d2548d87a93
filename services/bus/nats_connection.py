"""A connection to NATS, shared by all that use the broker."""

import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from quantum_suite.core.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from nats.aio.client import Client

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
_PING_SECONDS = 10
_CLOSE_SECONDS = 2.0
_HINT = "See that it runs with JetStream on, and takes the credentials given."
INSTALL = 'pip install "quantum-suite[nats]"'


class NatsConnection:
    """A client that comes back for ever. Belongs to the event loop that opened it."""

    def __init__(
        self,
        servers: list[str],
        options: Mapping[str, Any],
        *,
        answer_seconds: float = ANSWER_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._servers = servers
        self._options = options
        self.answer_seconds = answer_seconds
        self._connect_seconds = connect_seconds
        self._client: Client | None = None
        self._opening = anyio.Lock()
        self._next_try = 0.0

    @property
    def address(self) -> str:
        """Where the broker is, without what proves who we are."""
        return ", ".join(server.rpartition("@")[2].rpartition("//")[2] for server in self._servers)

    async def client(self) -> "Client":
        """Return the client, connected; raises Unavailable, at once where that is known, while the broker is away.

        A client that the broker has thrown out (its credentials were changed, it was full) is replaced here:
        subscriptions made on the old one are gone then.
        """
        client = self._client
        if client is None or client.is_closed:
            async with self._opening:
                client = self._client
                if client is None or client.is_closed:
                    client = self._client = await self._connect_anew()
        if not client.is_connected:
            raise self.away("the connection is lost")
        return client

    async def request(
        self, subject: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Ask, and return the JSON answered, JetStream's `error` member included.

        Raises Unavailable when nobody answers, within a few seconds.
        """
        from nats import errors  # an optional package

        client = await self.client()
        try:
            with anyio.fail_after(self.answer_seconds):
                reply = await client.request(
                    subject, body, timeout=self.answer_seconds, headers=dict(headers) if headers else None
                )
        except (errors.Error, OSError, TimeoutError) as error:
            raise self.away(_words(error)) from error
        answered: dict[str, Any] = orjson.loads(reply.data)
        return answered

    def away(self, why: str) -> Unavailable:
        """Return the error to raise while the broker cannot be used."""
        return Unavailable(f"NATS at {self.address} cannot be used now: {why}.", _HINT)

    async def close(self) -> None:
        """Close the connection, within a bound."""
        if self._client is not None:
            await _close(self._client)

    async def _connect_anew(self) -> "Client":
        """Connect, unless somebody has just tried in vain: all who wait here would try one after the other."""
        if anyio.current_time() < self._next_try:
            raise self.away("it did not answer just now")
        try:
            return await self._connect()
        except Unavailable:
            self._next_try = anyio.current_time() + _PAUSE_SECONDS
            raise

    async def _connect(self) -> "Client":
        from nats import errors
        from nats.aio.client import Client

        client, trouble = Client(), ["no answer"]

        async def went_away() -> None:
            if not client.is_closed:
                logger.info("NATS at %s went away; waiting for it.", self.address)

        async def came_back() -> None:
            logger.info("NATS at %s is back.", self.address)

        async def failed(error: Exception) -> None:
            if not isinstance(error, errors.AuthorizationError) and _words(errors.AuthorizationError()) in trouble:
                return  # what follows a refusal says less
            trouble[0] = _words(error)
            logger.debug("NATS at %s: %s", self.address, trouble[0])

        connected = False
        try:
            with anyio.move_on_after(self._connect_seconds):
                await client.connect(
                    self._servers,
                    name="quantum-suite",
                    error_cb=failed,
                    disconnected_cb=went_away,
                    reconnected_cb=came_back,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RETRY_SECONDS,  # type: ignore[arg-type]  # seconds, given to sleep
                    ping_interval=_PING_SECONDS,
                    **self._options,
                )
                connected = True
        except errors.Error as error:
            trouble[0] = _words(error)
        finally:
            if not connected:
                await _close(client)
        if not connected:
            raise self.away(trouble[0])
        return client


@asynccontextmanager
async def open_nats(
    url: str,
    *,
    environment: Mapping[str, str] = os.environ,
    answer_seconds: float = ANSWER_SECONDS,
    connect_seconds: float = CONNECT_SECONDS,
    must_answer: bool = True,
) -> AsyncIterator[NatsConnection]:
    """Open `nats://...`, or `tls://...`; several servers of one cluster are parted by commas.

    Credentials come in the URL (`user:password@`, `token@`) or in the file named by NATS_CREDS; a CA of one's own
    in NATS_CA. A broker that does not answer for `answer_seconds` counts as away. Raises Unavailable when it
    cannot be reached (unless it need not answer yet: then whoever uses the connection waits for it), and
    ConfigurationError when the client is not installed or a file cannot be read.
    """
    if find_spec("nats") is None:
        raise ConfigurationError("The bus is NATS, but its client is not installed.", INSTALL)
    servers = [server.strip() for server in url.split(",")]
    connection = NatsConnection(
        servers, _options(environment), answer_seconds=answer_seconds, connect_seconds=connect_seconds
    )
    try:
        await connection.client()
    except Unavailable as error:
        if must_answer:
            raise
        logger.warning("%s", error)
    try:
        yield connection
    finally:
        await connection.close()


def _options(environment: Mapping[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    try:
        if credentials := environment.get("NATS_CREDS"):
            with open(credentials, "rb"):  # noqa: PTH123  # only whether it can be read, before the broker is asked
                options["user_credentials"] = credentials
            if find_spec("nkeys") is None:
                raise ConfigurationError("NATS_CREDS is set, but nkeys is not installed.", "pip install nkeys")
        if authority := environment.get("NATS_CA"):
            options["tls"] = ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ConfigurationError(
            f"NATS_CREDS or NATS_CA cannot be read: {error}.", "Name a readable file."
        ) from error
    return options


async def _close(client: "Client") -> None:
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        await client.close()


def _words(error: BaseException) -> str:
    return str(error).removeprefix("nats: ") or type(error).__name__
