"""A JSON-RPC peer over a duplex of lines: many requests at once, on one channel."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import orjson

from quantum_suite.hub.call import INVALID_PARAMS, Era, Json, Peer, RpcError
from quantum_suite.hub.upstreams.conversation import Conversation, protocol_broken
from quantum_suite.hub.upstreams.interface import LinkLost

MAX_GARBAGE = 100
"""Lines in a row that make no sense before the channel is given up. Servers do print to stdout by mistake."""

_FLOODED = "sent thousands of notifications that nobody waits for, faster than they can be read"

logger = logging.getLogger(__name__)


class LineChannel(Protocol):
    """Where lines are written."""

    @property
    def backed_up(self) -> bool:
        """Whether the other side reads more slowly than is written."""
        ...

    def write(self, data: bytes) -> None:
        """Write without waiting; raises when the other side is gone."""
        ...

    async def drain(self) -> None:
        """Wait until there is room again, or the other side is gone."""
        ...


class JsonRpcPeer:
    """Our side of the channel. Feed it with `line` and `ended`; give it the channel with `attach`."""

    def __init__(self, era: Era, *, shared: bool, announce: Callable[[str, Json], None]) -> None:
        self._conversation = Conversation(era, shared=shared, reply=self._reply, announce=announce)
        self._channel: LineChannel | None = None
        self._garbage = 0
        self.on_closed: Callable[[], object] = lambda: None
        """Called once, when the channel carries nothing more."""
        self.closed_because: str | None = None
        """Why the channel carries nothing more; None while it does."""

    @property
    def in_flight(self) -> int:
        """How many requests wait for an answer."""
        return len(self._conversation.in_flight)

    def attach(self, channel: LineChannel) -> None:
        """Write to `channel` from now on."""
        self._channel = channel

    # -- what comes in ----------------------------------------------------------------------------------------

    def line(self, line: bytes) -> None:
        """Take one line; never raises."""
        if self.closed_because is not None or not line or line.isspace():
            return
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            self._wrong("sent a line that is not JSON", line)
            return
        # Revision 2025-03-26 has batches: a list of messages.
        for one in message if type(message) is list and message else (message,):
            wrong = self._conversation.receive(one, len(line))
            if wrong is not None:
                self._wrong(wrong, line)
            elif type(one) is dict and "method" not in one:
                self._garbage = 0
        if self._conversation.flooded():
            self._give_up(_FLOODED)

    def ended(self, reason: str) -> None:
        """Take note that the other side is gone; fails what is in flight. `reason` is a sentence."""
        if self.closed_because is None:
            self.closed_because = reason
            self._conversation.fail_all(lambda: LinkLost(f"The server went away before it answered. {reason}"))
            self.on_closed()

    def _wrong(self, what: str, line: bytes) -> None:
        logger.debug("ignored: the server %s (%d bytes)", what, len(line))
        self._garbage += 1
        if self._garbage > MAX_GARBAGE:
            self._give_up(f"sent {self._garbage} lines in a row that make no sense; with the last it {what}")

    def _give_up(self, what: str) -> None:
        if self.closed_because is None:
            self.closed_because = f"It {what}."
            self._conversation.fail_all(lambda: protocol_broken(f"{what}, and was given up"))
            self.on_closed()

    # -- what goes out ----------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        params: Json,
        peer: Peer,
        *,
        request_id: str | int | None = None,
        cancellable: bool = True,
    ) -> Json:
        """Send a request and return its result, or raise as `Link.request` does.

        When cancelled, the server is told, unless the request is one that may not be cancelled (`initialize`).
        """
        if self.closed_because is not None:
            raise LinkLost(f"The server is gone. {self.closed_because}", never_processed=True)
        inbox, params = self._conversation.begin(method, params, peer, request_id)
        abandoned = False
        try:
            self._write(
                {"jsonrpc": "2.0", "id": inbox.id, "method": method, "params": params}
                if params
                else {"jsonrpc": "2.0", "id": inbox.id, "method": method}
            )
            if self._channel is not None and self._channel.backed_up:
                await self._channel.drain()
            return await inbox.outcome()
        except asyncio.CancelledError:
            abandoned = True
            if cancellable:
                self._reply(_notification("notifications/cancelled", {"requestId": inbox.id}))
            raise
        finally:
            self._conversation.end(inbox, abandoned=abandoned)

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; dropped when the channel is closed."""
        self._reply(_notification(method, params))
        if self._channel is not None and self._channel.backed_up:
            await self._channel.drain()

    def _write(self, message: Json) -> None:
        try:
            data = orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError as error:
            raise RpcError(INVALID_PARAMS, f"The params cannot be written as JSON: {error}.") from error
        if self._channel is None:
            raise LinkLost("The server is not started.", never_processed=True)
        try:
            self._channel.write(data)
        except Exception as error:
            raise LinkLost("The server was gone before the request was sent.", never_processed=True) from error

    def _reply(self, message: Json) -> None:
        if self.closed_because is None:
            try:
                self._write(message)
            except RpcError as error:
                logger.debug("a message to a server was dropped: %s", error)


def _notification(method: str, params: Json) -> Json:
    return (
        {"jsonrpc": "2.0", "method": method, "params": params} if params else {"jsonrpc": "2.0", "method": method}
    )
