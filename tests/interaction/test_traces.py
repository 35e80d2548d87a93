"""A call's trace context travels end to end, and spans are exported when an endpoint is configured."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.server.mcpserver import Context, MCPServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from quantum_suite.hub.app import open_hub
from quantum_suite.hub.call import Call, Credentials, NoPeer
from quantum_suite.hub.envelope import hub_envelope
from quantum_suite.hub.mounts import Extra
from quantum_suite.hub.settings import HubSettings

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def a_server() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("things")

    @server.tool()
    async def parent(ctx: Context) -> str:
        meta = ctx.request_context.meta or {}
        return str(dict(meta).get("traceparent"))

    return server


def a_call() -> Call:
    params = {"name": "things_parent", "arguments": {}, "_meta": {**hub_envelope(), "traceparent": PARENT}}
    return Call("call_1", "tools/call", params, "modern", "2026-07-28", Credentials("stdio", True), NoPeer())


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[Any]]]:
    """An OTLP/HTTP endpoint that keeps the spans it is sent."""
    spans: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        )
        sent = ExportTraceServiceRequest.FromString(await reader.readexactly(length))
        spans.extend(span for group in sent.resource_spans for one in group.scope_spans for span in one.spans)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/traces", spans


async def test_without_an_endpoint_the_clients_context_passes_through(tmp_path) -> None:
    settings = HubSettings(data_dir=tmp_path / "data")
    async with open_hub(settings, extra=[Extra("things", a_server(), "things")]) as hub:
        result = await hub.handle(a_call())
    assert result["content"][0]["text"] == PARENT


async def test_with_an_endpoint_the_hubs_span_stands_between_client_and_server(tmp_path) -> None:
    async with collector() as (endpoint, spans):
        settings = HubSettings(data_dir=tmp_path / "data", otlp_endpoint=endpoint)
        async with open_hub(settings, extra=[Extra("things", a_server(), "things")]) as hub:
            result = await hub.handle(a_call())
    (span,) = [span for span in spans if span.name == "tools/call things_parent"]
    assert span.trace_id.hex() == TRACE
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert result["content"][0]["text"] == f"00-{TRACE}-{span.span_id.hex()}-01"
