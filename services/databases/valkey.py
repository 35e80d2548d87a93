"""One Valkey (or Redis) server: scripts run on it within a bounded time."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from quantum_suite.core.errors import ConfigurationError, EngineMissing, Unavailable

if TYPE_CHECKING:
    from valkey.asyncio import Valkey

TIMEOUT_SECONDS = 0.25
"""How long a request may take, connecting included: what it saves is seldom worth more."""

_MAX_CONNECTIONS = 32
_SCHEMES = frozenset({"valkey", "valkeys", "redis", "rediss"})


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; the server knows it by its hash once it has seen it."""

    text: str
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


class ValkeyServer:
    """A server as this process reaches it. Belongs to the event loop that opened it."""

    def __init__(self, client: "Valkey", address: str, timeout_seconds: float) -> None:
        self.address = address
        self._execute: Callable[..., Awaitable[Any]] = client.execute_command
        self._timeout_seconds = timeout_seconds

    async def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes | float]) -> Any:
        """Run a script; raises Unavailable when there is no good answer in time.

        A script that got no answer may have run all the same, or may yet run.
        """
        from valkey.exceptions import NoScriptError, ValkeyError  # an extra: there is a client, so it is installed

        try:
            with anyio.fail_after(self._timeout_seconds):
                try:
                    return await self._execute("EVALSHA", script.sha1, len(keys), *keys, *arguments)
                except NoScriptError:
                    return await self._execute("EVAL", script.text, len(keys), *keys, *arguments)
        except TimeoutError as error:
            raise Unavailable(f"No answer within {self._timeout_seconds:g} seconds.") from error
        except (ValkeyError, OSError) as error:
            raise Unavailable(f"{error}"[:300]) from error


@asynccontextmanager
async def open_valkey(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[ValkeyServer]:
    """Lend the server at `valkey://`, `valkeys://` (TLS), `redis://` or `rediss://`; it may be away.

    Raises ConfigurationError for a URL it cannot use, EngineMissing where the client is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"'{parts.scheme}' is no scheme of a Valkey server.", "Use valkey://host:6379/0 or valkeys:// for TLS."
        )
    try:
        # An optional engine: most installations keep their cache in SQLite.
        from valkey.asyncio import BlockingConnectionPool, Valkey
    except ImportError as error:
        raise EngineMissing(
            "The client of Valkey is not installed.", 'pip install "quantum-suite[valkey]"', engine="valkey"
        ) from error
    try:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=_MAX_CONNECTIONS, socket_timeout=None, socket_connect_timeout=timeout_seconds
        )
    except ValueError as error:
        raise ConfigurationError(f"The URL of the Valkey server cannot be used: {error}.", "Mend it.") from error
    client = Valkey(connection_pool=pool)
    try:
        yield ValkeyServer(client, f"Valkey at {parts.hostname}:{parts.port or 6379}", timeout_seconds)
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose(close_connection_pool=True)
