"""Runs a hub on a transport until it is told to stop."""

import gc
import logging
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import anyio
import anyio.to_thread
import orjson

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore
from quantum_suite.hub.app import Gateway, open_hub
from quantum_suite.hub.logs import configure_logging
from quantum_suite.hub.metrics import CONTENT_TYPE
from quantum_suite.hub.mounts import Extra
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.status import UpstreamStatus
from quantum_suite.hub.wire.asgi import HubApp
from quantum_suite.hub.wire.server import run_http
from quantum_suite.hub.wire.stdio import serve_stdio as run_stdio

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """What a person wants to know once the hub listens."""

    url: str
    upstreams: list[UpstreamStatus]
    engines: dict[str, list[EngineStatus]]


Page = Callable[[], Awaitable[tuple[int, str, bytes]]]


async def serve_http(
    settings: HubSettings,
    *,
    only: str | None = None,
    on_ready: Callable[[Started], None] | None = None,
    extra: Sequence[Extra] = (),
) -> None:
    """Serve Streamable HTTP at `/mcp` until SIGINT or SIGTERM, then drain.

    `on_ready` is called once, when the hub listens and its engines were looked up. Raises ConfigurationError when
    the settings cannot be used: a port that is taken, or an address others can reach while nobody has a key.
    """
    configure_logging(settings.log_level)
    check_exposure(settings)
    async with open_hub(settings, only=only, extra=extra) as gateway, anyio.create_task_group() as tasks:
        app = HubApp(gateway, settings, routes=pages(gateway), hooks=gateway.hooks, on_drain=gateway.end_streams)

        async def announce(host: str, port: int) -> None:
            engines = await anyio.to_thread.run_sync(gateway.engines)
            if on_ready is not None:
                on_ready(Started(f"http://{_in_url(host)}:{port}/mcp", gateway.statuses(), engines))

        def listening(host: str, port: int) -> None:
            tasks.start_soon(announce, host, port)

        with _settled_memory():
            await run_http(app, settings, on_listening=listening)
        tasks.cancel_scope.cancel()


async def serve_stdio(settings: HubSettings, *, only: str | None = None) -> None:
    """Serve the process's own stdin and stdout until stdin ends."""
    configure_logging(settings.log_level)
    async with open_hub(settings, only=only) as gateway:
        await run_stdio(gateway, settings)


async def work(settings: HubSettings, *, on_ready: Callable[[], None] | None = None) -> None:
    """Take on queued runs, without listening, until SIGINT or SIGTERM; then what is under way goes back in line.

    Raises as `open_hub`. `on_ready` is called once, when the first run can be taken.
    """
    configure_logging(settings.log_level)
    async with open_hub(settings) as gateway:
        await gateway.work()
        if on_ready is not None:
            on_ready()
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                logger.info("Stopping on %s", signal.Signals(number).name)
                return


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Keep what start-up made out of the garbage collector's sight.

    Modules, schemas and policies live as long as the process; walking them again and again costs every call. In
    the end it sees them again: libraries that count what they made (nanobind) would print them as leaked.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def check_exposure(settings: HubSettings) -> None:
    """Refuse an address others can reach unless callers have to prove who they are.

    Raises ConfigurationError. Behind a proxy on this machine every caller looks local, so local trust must be off
    there too; the hub cannot see that, the documentation says it.
    """
    if is_loopback(settings.host):
        return
    with SqliteKeyStore(settings.keys_file) as keys:
        usable = any(key.active for key in keys.list())
    if not usable:
        raise ConfigurationError(
            f"Refusing to listen on {settings.host}: others can reach it, and there is no API key.",
            "Make one with `quantum keys create NAME --role operator`, or listen on 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def pages(gateway: Gateway) -> Mapping[str, Page]:
    """Return the pages beside the endpoint, by path."""

    async def alive() -> tuple[int, str, bytes]:
        return 200, "application/json", b'{"status":"ok"}'

    async def ready() -> tuple[int, str, bytes]:
        # Anybody may ask, so no names: those are in /metrics, for who shows a key.
        states = Counter(status.state for status in gateway.statuses())
        ready, code = ("draining", 503) if gateway.draining else ("ready", 200)
        return code, "application/json", orjson.dumps({"status": ready, "upstreams": states})

    async def metrics() -> tuple[int, str, bytes]:
        return 200, CONTENT_TYPE, gateway.metrics.render()

    return {"/healthz": alive, "/readyz": ready, "/metrics": metrics}


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
