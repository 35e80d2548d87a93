"""Opens what carries and keeps things that may be lost: the bus, the cache, rate limits; and the objects."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.bus.interface import Bus
from quantum_suite.services.bus.memory import MemoryBus
from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.cache.sqlite import SqliteCache
from quantum_suite.services.limits.interface import RateLimiter
from quantum_suite.services.limits.memory import MemoryRateLimiter
from quantum_suite.services.limits.sqlite import SqliteRateLimiter


@asynccontextmanager
async def open_bus(settings: HubSettings) -> AsyncIterator[Bus]:
    """Open the bus that the settings name; raises ConfigurationError for one that cannot be used."""
    if settings.bus == "inprocess":
        yield MemoryBus()
        return
    if not settings.bus.startswith(("nats://", "tls://")):
        raise ConfigurationError(
            f"Setting bus: '{settings.bus.partition('://')[0]}' carries no events.",
            "Set QUANTUM_BUS to inprocess or to nats://host:4222.",
        )
    # An optional server: its client is an extra.
    from quantum_suite.services.bus.nats import NatsBus
    from quantum_suite.services.bus.nats_connection import open_nats

    async with open_nats(settings.bus, must_answer=False) as connection:
        yield NatsBus(connection)


@dataclass(frozen=True, slots=True)
class Volatile:
    """What may be lost at any time."""

    cache: Cache | None
    """Shared between processes; None where each keeps its own."""
    limiter: RateLimiter


@asynccontextmanager
async def open_volatile(settings: HubSettings) -> AsyncIterator[Volatile]:
    """Open the cache and the rate limits that the settings name. Raises ConfigurationError."""
    if settings.cache == "memory":
        yield Volatile(None, MemoryRateLimiter())
    elif settings.cache == "sqlite":
        with (
            SqliteCache(settings.data_dir / "cache.db") as cache,
            SqliteRateLimiter(settings.data_dir / "limits.db") as limiter,
        ):
            yield Volatile(cache, limiter)
    else:
        from quantum_suite.services.cache.valkey import ValkeyCache
        from quantum_suite.services.databases.valkey import open_valkey
        from quantum_suite.services.limits.valkey import ValkeyRateLimiter

        async with open_valkey(settings.cache) as server:
            yield Volatile(ValkeyCache(server), ValkeyRateLimiter(server))
