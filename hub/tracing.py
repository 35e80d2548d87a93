"""OpenTelemetry, when an endpoint is configured: one server span a call, joined to the client's trace.

Trace context travels in `_meta` (`traceparent`, `tracestate`, `baggage`; SEP-414). Without an endpoint nothing is
loaded and the client's own context passes through untouched.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.call import Call, Handler, Json, RpcError, Stage

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_FLUSH_SECONDS = 5.0
_KEYS = ("traceparent", "tracestate", "baggage")


@asynccontextmanager
async def open_tracer(endpoint: str) -> AsyncIterator["Tracer"]:
    """Export spans to `endpoint` (OTLP over HTTP) until the context ends; the rest is flushed then, for at most
    `_FLUSH_SECONDS`.

    Raises `ConfigurationError` when the SDK is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigurationError(
            "Traces are configured, but OpenTelemetry's SDK is not installed.", "pip install 'quantum-suite[otel]'"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "quantum-suite"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    try:
        yield provider.get_tracer("quantum_suite.hub")
    finally:
        with anyio.move_on_after(_FLUSH_SECONDS, shield=True):
            await anyio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)


def trace_stage(tracer: "Tracer") -> Stage:
    """Return the stage that wraps each call in a span and hands its context on to the upstream."""
    from opentelemetry import propagate, trace

    async def stage(call: Call, following: Handler) -> Json:
        meta = call.params.get("_meta")
        carrier = (
            {key: meta[key] for key in _KEYS if isinstance(meta.get(key), str)} if isinstance(meta, dict) else {}
        )
        attributes = {"mcp.method.name": call.method, "mcp.protocol.version": call.protocol_version}
        with tracer.start_as_current_span(
            call.method, context=propagate.extract(carrier), kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:
            onward: dict[str, str] = {}
            propagate.inject(onward)
            call.params = {**call.params, "_meta": {**(meta if isinstance(meta, dict) else {}), **onward}}
            try:
                result = await following(call)
            except RpcError as error:
                span.set_attribute("error.type", str(error.code))
                raise
            finally:
                if call.target is not None:  # known once the call was authenticated and resolved
                    span.update_name(f"{call.method} {call.target.name}")
                    if call.target.kind == "tool":
                        span.set_attribute("gen_ai.tool.name", call.target.name)
            if result.get("isError") is True:
                span.set_attribute("error.type", "tool_error")
            return result

    return stage
