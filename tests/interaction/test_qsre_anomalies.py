"""Anomalies over MCP, through the real hub."""

import csv
import io
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import ImageContent
from reference.answers import read, refusal, text_of, told
from reference.hub import running_hub

from quantum_suite.core.anomaly_events import ANOMALY_EVENTS
from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.module import Services
from quantum_suite.servers.qsre import build
from quantum_suite.services.anomalies.watches import AnomalyWatches
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.registry import EventRegistry
from quantum_suite.services.metrics.interface import Series
from quantum_suite.services.metrics.memory import MemorySource
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.workflows.memory import MemoryWorkflows
from quantum_suite.services.workspaces import Workspaces

pytestmark = pytest.mark.anyio

BEGIN = 1_767_225_600
POINTS = 700


def wave(leap: int | None) -> list[float]:
    rng = random.Random(11)
    values = [50 + 10 * math.sin(place / 23) + rng.gauss(0, 0.5) for place in range(POINTS)]
    if leap is not None:
        values[leap] = 95.0
    return values


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncIterator[Client]:
    """Run a hub with the operations server over a workspace and a source, and connect to it."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    times = [float(BEGIN + 60 * place) for place in range(POINTS)]
    held = [
        Series({"__name__": "load", "host": host}, times, wave(leap)) for host, leap in (("a", None), ("b", 600))
    ]
    sources = MetricSources({"live": MemorySource("live", held)})
    events = MemoryEventStore(EventRegistry(ANOMALY_EVENTS))
    watches = AnomalyWatches(sources, events, tmp_path / "watches")
    async with MemoryWorkflows([watches.workflow]) as workflows:

        async def opened() -> MemoryWorkflows:
            return workflows

        services = Services(
            tmp_path / "data",
            Workspaces((workspace,)),
            MemoryCapacity(2),
            events,
            open_workflows=opened,
            metrics=sources,
            watches=watches,
        )
        extra = [Extra("ops", build(services).server, "ops")]
        (tmp_path / "home").mkdir()
        async with running_hub(tmp_path / "home", {}, extra=extra) as hub, Client(hub.url) as client:
            yield client


async def call(client: Client, tool: str, **arguments: Any) -> tuple[dict[str, Any], str, list[Any]]:
    result = await client.call_tool(f"ops_{tool}", arguments)
    return told(result), text_of(result), list(result.content)


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    return refusal(await client.call_tool(f"ops_{tool}", arguments))


async def test_a_query_is_judged_series_by_series_with_reasons_a_picture_and_scores(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        window = {"start": str(BEGIN), "end": str(BEGIN + 60 * (POINTS - 1)), "step": "1m"}
        answer, text, blocks = await call(client, "detect_anomalies", query="load", **window)
        assert (answer["series_count"], answer["enough_data"]) == (2, True)
        strangest = answer["series"][0]
        assert "b" in strangest["series"]
        alarm = strangest["alarms"][0]
        assert alarm["time"] == "2026-01-01T10:00:00Z"
        assert alarm["value"] == 95.0
        assert alarm["expected_high"] < 70
        assert alarm["reasons"]
        assert "density" in text
        assert answer["accuracy"]["benchmark"] in text
        assert any(isinstance(block, ImageContent) for block in blocks)
        rows = list(csv.DictReader(io.StringIO(await read(client, answer["data_csv"]))))
        scores = [row for row in rows if row["anomaly"] == "score" and row["host"] == "b"]
        assert (
            max(scores, key=lambda row: float(row["value"].replace("nan", "0")))["time"] == "2026-01-01T10:00:00Z"
        )


async def test_a_file_of_the_workspace_is_judged_and_a_bad_cell_is_told_with_its_place(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        rows = "".join(f"{BEGIN + 60 * place},{value}\n" for place, value in enumerate(wave(500)))
        (tmp_path / "workspace" / "load.csv").write_text("when,load\n" + rows)
        answer, text, _ = await call(client, "detect_anomalies", file="load.csv", plot=False)
        assert answer["series"][0]["alarms"][0]["value"] == 95.0
        assert not answer["plotted"]
        assert "anomalies in 1 series" in text

        (tmp_path / "workspace" / "bad.csv").write_text("when,load\n1,2\n2,many\n")
        assert "Row 3, column 'load': 'many' is no number" in await refused(
            client, "detect_anomalies", file="bad.csv"
        )
        assert "outside the granted" in await refused(client, "detect_anomalies", file="/etc/hosts")


async def test_values_are_judged_and_too_few_are_not_enough(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        answer, _, _ = await call(
            client, "detect_anomalies", values=[*wave(None)[:400], 95.0, None, 50.0], plot=False
        )
        assert answer["series"][0]["missing"] == 1
        assert answer["series"][0]["alarms"][0]["value"] == 95.0
        answer, text, _ = await call(client, "detect_anomalies", values=[1.0, 2.0], plot=False)
        assert not answer["enough_data"]
        assert "Not enough data" in text
        assert "one of query, file and values" in await refused(client, "detect_anomalies")
        told = await refused(client, "detect_anomalies", values=[1.0], query="load")
        assert "one of query, file and values" in told
        assert "times" in await refused(client, "detect_anomalies", values=[1.0, 2.0], times=[1.0])


async def test_a_watch_is_added_listed_and_removed(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        added, text, _ = await call(
            client, "manage_watches", action="add", query='load{host="a"}', name="load of a"
        )
        watch = added["watches"][0]["id"]
        assert "Watching" in text
        listed, text, _ = await call(client, "manage_watches", action="list")
        assert [one["id"] for one in listed["watches"]] == [watch]
        assert "load of a" in text
        assert "no watch" in await refused(client, "manage_watches", action="remove", watch="watch_x")
        assert "watch" in await refused(client, "manage_watches", action="remove")
        assert "query" in await refused(client, "manage_watches", action="add")
        await call(client, "manage_watches", action="remove", watch=watch)
        listed, text, _ = await call(client, "manage_watches", action="list")
        assert "Nothing is watched" in text
