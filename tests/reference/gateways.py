"""A gateway over real model servers, for tests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
from reference.models import MODEL, ModelServer, configured

from quantum_suite.core.events import Event
from quantum_suite.core.llm_events import LLM_EVENTS
from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.events.interface import EventStore
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.llm.gateway import ModelGateway
from quantum_suite.services.llm.interface import Message, ModelRequest
from quantum_suite.services.llm.ledger.interface import Charge, Ledger
from quantum_suite.services.llm.ledger.memory import MemoryLedger
from quantum_suite.services.llm.opening import open_gateway

WHO = "key:ann"


@asynccontextmanager
async def gateway(
    directory: Path,
    providers: dict[str, Any],
    *,
    ledger: Ledger | None = None,
    cache: Cache | None = None,
    events: EventStore | None = None,
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[ModelGateway]:
    """Open a gateway over `providers`; `more` goes into the file as it is."""
    path = configured(directory / "providers.yaml", providers, **more)
    kept = MemoryLedger() if ledger is None else ledger
    async with open_gateway(path, ledger=kept, cache=cache, events=events, environ=environ or {}) as opened:
        assert isinstance(opened, ModelGateway)
        yield opened


def question(text: str = "Say hello.", **options: Any) -> ModelRequest:
    """Return a short question that is answered the same each time."""
    given = {"model": "default", "max_output_tokens": 8, "temperature": 0.0, **options}
    return ModelRequest((Message("user", text),), **given)


def both(first: str, second: str) -> dict[str, list[str]]:
    """Return the default route over two providers of the small model."""
    return {"default": [f"{first}/{MODEL}", f"{second}/{MODEL}"]}


async def charged(opened: ModelGateway) -> list[tuple[str, str]]:
    """Return who was asked, in order, and how it is charged."""
    charges = await opened.ledger.charges(limit=1000)
    return [(one.provider, one.state) for one in sorted(charges, key=lambda one: (one.reserved_at, one.attempt))]


async def lasting(opened: ModelGateway) -> list[Charge]:
    """Return the charges but for attempts in vain: a real server may close a kept connection in the moment it is
    used again, which is tried anew and costs nothing."""
    charges = await opened.ledger.charges(limit=1000)
    assert all(one.input_tokens + one.output_tokens == 0 for one in charges if one.state == "failed"), charges
    return [one for one in charges if one.state != "failed"]


async def idle(server: ModelServer) -> None:
    """Wait until a server works on no answer; raises TimeoutError. Its answers are all there is to wait on."""
    with anyio.fail_after(50):
        while await anyio.to_thread.run_sync(server.busy_slots):
            pass


async def busy(server: ModelServer) -> None:
    """Wait until a server works on an answer; raises TimeoutError."""
    with anyio.fail_after(50):
        while not await anyio.to_thread.run_sync(server.busy_slots):
            pass


def event_store() -> MemoryEventStore:
    """Return an empty log of calls."""
    return MemoryEventStore(EventRegistry(LLM_EVENTS))


async def logged(events: EventStore) -> list[Event]:
    """Return everything in a log, oldest first."""
    return list(reversed(await events.read_back(limit=100)))
