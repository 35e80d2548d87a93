"""Who calls whom, from spans in OTLP's JSON form (one object, or one a line)."""

import json
from collections.abc import Iterator
from typing import Any

from quantum_suite.core.errors import CallerError

MOST_SPANS = 200_000
_PEERS = (
    "peer.service",
    "db.name",
    "db.namespace",
    "messaging.destination.name",
    "server.address",
    "net.peer.name",
)
_CLIENT_KINDS = frozenset({"3", "4", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER"})


def trace_edges(text: str, name: str) -> list[tuple[str, str]]:
    """Return the calls that spans show, each once.

    A span whose parent is of another service is a call of that service. A client's span that nobody answered with
    a span of its own calls what its attributes name: a database, a queue, another host.
    """
    spans = [span for part in _objects(text, name) for span in _spans(part)]
    if len(spans) > MOST_SPANS:
        raise _wrong(f"{name} has {len(spans)} spans.", f"{MOST_SPANS} is the most.")
    services = {identity: service for identity, _, service, _ in spans}
    answered = {parent for _, parent, service, _ in spans if services.get(parent) not in (None, service)}
    edges: dict[tuple[str, str], None] = {}
    for identity, parent, service, peer in spans:
        caller = services.get(parent)
        if caller is not None and caller != service:
            edges[(caller, service)] = None
        if peer is not None and identity not in answered and peer != service:
            edges[(service, peer)] = None
    return list(edges)


def _objects(text: str, name: str) -> Iterator[Any]:
    try:
        try:
            yield json.loads(text)
        except json.JSONDecodeError:
            for line in text.splitlines():
                if line.strip():
                    yield json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _wrong(f"{name} is no JSON: {str(error)[:200]}.", "Give spans as OTLP writes them.") from error


def _spans(told: Any) -> Iterator[tuple[tuple[str, str], tuple[str, str], str, str | None]]:
    """Yield identity, the parent's identity, service and peer of every span that can be read."""
    for resource in _list(told, "resourceSpans"):
        service = _attribute(resource.get("resource"), ("service.name",))
        if service is None:
            continue
        for scope in _list(resource, "scopeSpans"):
            for span in _list(scope, "spans"):
                trace = str(span.get("traceId", ""))
                peer = _attribute(span, _PEERS) if str(span.get("kind")) in _CLIENT_KINDS else None
                identity = (trace, str(span.get("spanId", "")))
                yield identity, (trace, str(span.get("parentSpanId", ""))), service, peer


def _list(told: Any, key: str) -> list[dict[str, Any]]:
    found = told.get(key) if isinstance(told, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _attribute(told: Any, names: tuple[str, ...]) -> str | None:
    found: dict[str, str] = {}
    for one in _list(told, "attributes"):
        key, value = one.get("key"), one.get("value")
        text = value.get("stringValue") if isinstance(value, dict) else None
        if isinstance(key, str) and isinstance(text, str) and text:
            found[key] = text
    return next((found[name][:200] for name in names if name in found), None)


def _wrong(message: str, hint: str | None = None) -> CallerError:
    return CallerError(message, hint, argument="system")
