"""Runs the application on uvicorn, until a signal says otherwise."""

import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import uvicorn

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.wire.asgi import HubApp
from quantum_suite.hub.wire.protocol import bounded_protocol

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept for its client's next request."""

_CLOSE_SECONDS = 5
_BACKLOG = 1024


async def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to every address of `host`; port 0 takes a free one, the same for all.

    Raises ConfigurationError naming the setting to change.
    """
    try:
        found = await anyio.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(
            f"Setting host: '{host}' is no address of this machine ({error.strerror or error}).",
            "Give an IP address or a name that resolves, e.g. 127.0.0.1 (QUANTUM_HOST).",
        ) from error
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((item[0], item[4]) for item in found):
            sockets.append(_bind_one(family, address, port))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise _unusable(host, port, error) from error
    return sockets


def _bind_one(family: int, address: tuple[object, ...], port: int) -> socket.socket:
    # asyncio turns Nagle off only for sockets that name their protocol.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setblocking(False)
        bound.bind((address[0], port, *address[2:]))
    except OSError:
        bound.close()
        raise
    return bound


def _unusable(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"Setting port: {port} on {host} is in use by another process.",
            "Stop that one, or choose another port with --port or QUANTUM_PORT (0 picks a free one).",
        )
    if error.errno == errno.EACCES:
        return ConfigurationError(
            f"Setting port: this user may not listen on {port}.", "Choose a port from 1024 up (QUANTUM_PORT)."
        )
    return ConfigurationError(
        f"Setting host: cannot listen on {host}: {error.strerror or error}.",
        "Give an address of this machine, e.g. 127.0.0.1 (QUANTUM_HOST).",
    )


class _Server(uvicorn.Server):
    """uvicorn's server, with signals left to us."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: uvicorn raises them again once it has stopped, which would end the process abruptly."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and say so."""
        await super().startup(sockets)
        self._on_started()


async def _stop_on_signal(app: HubApp, server: _Server) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as tasks:
            asked = False
            async for number in signals:
                if asked:
                    logger.warning("Stopping at once")
                    await app.drain(0)
                    continue
                asked = True
                logger.info("Stopping on %s", signal.Signals(number).name)
                tasks.start_soon(_stop, app, server)


async def _stop(app: HubApp, server: _Server) -> None:
    await app.drain()
    server.should_exit = True


async def run_http(
    app: HubApp, settings: HubSettings, *, on_listening: Callable[[str, int], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, then drain and return; a second signal cancels the calls in flight.

    `on_listening` is called once, with the address that was bound. Cancelling the awaiting task drains without
    waiting. Raises ConfigurationError when the address cannot be used. Signals are heard in the main thread only.
    """
    sockets = await bind(settings.host.strip("[]"), settings.port)
    address = sockets[0].getsockname()

    def started() -> None:
        if on_listening is not None:
            on_listening(address[0], address[1])

    config = uvicorn.Config(
        app,
        loop="none",
        http=bounded_protocol(settings.limits.max_header_bytes + 16 * 1024),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_CLOSE_SECONDS,
    )
    server = _Server(config, started)
    async with anyio.create_task_group() as tasks:
        if threading.current_thread() is threading.main_thread():
            tasks.start_soon(_stop_on_signal, app, server)
        try:
            await server.serve(sockets)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await app.drain(0)
                if server.started:
                    await server.shutdown(sockets)
            raise
        finally:
            for bound in sockets:
                bound.close()
        tasks.cancel_scope.cancel()
