"""HTTP upstreams that tell callers apart: each principal's links carry its own headers, and nobody else's."""

from collections.abc import Mapping

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.hub.config import UpstreamConfig
from quantum_suite.hub.upstreams.http import HttpConnector
from quantum_suite.hub.upstreams.interface import Announce, Connector, Diagnostics, Link, LinkKey


class PerIdentityConnector:
    """Connects with the headers of the link's identity; `shared`, where given, serves everybody else."""

    def __init__(self, name: str, own: Mapping[str, Connector], shared: Connector | None) -> None:
        self._name = name
        self._own = own
        self._shared = shared

    async def connect(self, key: LinkKey, announce: Announce) -> Link:
        """Open a link; raises Unavailable for an identity without credentials where none are shared."""
        connector = self._own.get(key.identity, self._shared)
        if connector is None:
            raise Unavailable(
                f"'{self._name}' has no credentials for {key.identity}.",
                "Its operator adds them to the entry's quantum.credentials in mcp.json.",
            )
        return await connector.connect(key, announce)

    def diagnostics(self) -> Diagnostics:
        """Return nothing: an HTTP server prints elsewhere."""
        return Diagnostics()

    async def aclose(self) -> None:
        """Release every identity's connections."""
        async with anyio.create_task_group() as tasks:
            for connector in (*self._own.values(), *([self._shared] if self._shared else [])):
                tasks.start_soon(connector.aclose)


def connect_http(config: UpstreamConfig, *, max_message_bytes: int) -> Connector:
    """Return the connector for an HTTP entry."""
    url = config.url or ""
    if not config.credentials:
        return HttpConnector(url, config.headers, max_message_bytes=max_message_bytes)
    own = {
        identity: HttpConnector(url, {**config.headers, **headers}, max_message_bytes=max_message_bytes)
        for identity, headers in config.credentials.items()
    }
    shared = HttpConnector(url, config.headers, max_message_bytes=max_message_bytes) if config.headers else None
    return PerIdentityConnector(config.name, own, shared)
