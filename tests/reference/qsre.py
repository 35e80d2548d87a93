"""QSRE alone behind a hub, over sources of metrics that a test chooses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.types import CallToolResult
from reference.hub import running_hub

from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.qsre import build
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.workspaces import Workspaces


@asynccontextmanager
async def connected(home: Path, sources: MetricSources | None) -> AsyncIterator[Client]:
    """Run a hub with QSRE over these sources and the workspace `home`, and connect to it."""
    home.mkdir(exist_ok=True)
    services = Services(
        home / "data",
        Workspaces((home,)),
        MemoryCapacity(2),
        MemoryEventStore(EventRegistry([])),
        metrics=sources,
    )
    extra = [Extra("watch", build(services).server, "watch")]
    async with running_hub(home, {}, extra=extra) as hub, Client(hub.url) as client:
        yield client


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    """Call one of its tools, by the name it has in the module."""
    return await client.call_tool(f"watch_{tool}", arguments)
