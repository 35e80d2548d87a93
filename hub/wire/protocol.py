"""uvicorn's HTTP/1.1 protocol with the bounds it leaves out: size of unfinished headers, and time.

Without them a client can feed one header line for ever, or hold a connection with a request it never finishes
(CWE-400), or leave a large answer unread.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from quantum_suite.hub.wire.asgi import ABORT

REQUEST_SECONDS = 60.0
"""A request must have arrived whole after this, from when the connection or the request began."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection of a client's."""

    max_header_bytes = 64 * 1024

    _deadline: asyncio.TimerHandle | None = None
    _in_headers = False
    _incomplete = True
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Expect a request."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and keep an eye on what is not complete yet."""
        super().data_received(data)
        if self._incomplete:
            if self._in_headers:
                self._header_bytes += len(data)
                if self._header_bytes > self.max_header_bytes:
                    self._refuse_headers()
            if self._deadline is None:
                self._start_clock()
        elif self._deadline is not None:
            self._stop_clock()

    def on_message_begin(self) -> None:
        """A request's first bytes came."""
        super().on_message_begin()
        self._incomplete = self._in_headers = True
        self._header_bytes = 0
        self.scope["extensions"] = {ABORT: {"abort": self.abort}}

    def on_headers_complete(self) -> None:
        """The application is started here."""
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._incomplete = False
        super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; at once, if its last answer still lies unread."""
        if self.transport.get_write_buffer_size():
            self.abort()
        else:
            super().timeout_keep_alive_handler()

    def abort(self) -> None:
        """Drop the connection without sending what is buffered."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.transport is not None:
            self.transport.abort()

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse_headers(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.abort()
        elif not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()


def bounded_protocol(max_header_bytes: int) -> type[BoundedHttpProtocol]:
    """Return the protocol with its header limit set: uvicorn takes a class, and hands it no settings of ours."""
    bound = {"max_header_bytes": max_header_bytes}
    return type("BoundedHttpProtocol", (BoundedHttpProtocol,), bound)
