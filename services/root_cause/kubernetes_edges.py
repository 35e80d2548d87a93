"""Who depends on whom, from Kubernetes objects: ingresses, services, and what runs behind them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
_HOST = re.compile(r"(?:^|[/@=\s,;\"'])([a-z0-9](?:[a-z0-9-]{0,62}))(?:\.[a-z0-9-]+)*(?=$|[:/\s,;?\"'.])")


def kubernetes_edges(objects: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the calls that objects show, by the names of workloads.

    An ingress calls what its backends' services select. A workload calls what it has the name of a service for in
    its environment, command or arguments: that is how clients find each other in a cluster. A service that selects
    no workload here (one outside, say) stands for itself.
    """
    known = [one for one in _flat(objects) if isinstance(one.get("kind"), str)]
    workloads = [one for one in known if one["kind"] in _WORKLOADS]
    behind: dict[tuple[str, str], tuple[str, ...]] = {}
    for service in (one for one in known if one["kind"] == "Service"):
        selector = _at(service, "spec", "selector")
        chosen = tuple(
            _name(one) for one in workloads if _space(one) == _space(service) and _selects(selector, one)
        )
        behind[(_space(service), _name(service))] = chosen or (_name(service),)
    edges: dict[tuple[str, str], None] = {}
    for ingress in (one for one in known if one["kind"] == "Ingress"):
        for service_name in _backends(ingress):
            for workload in behind.get((_space(ingress), service_name), (service_name,)):
                edges[(_name(ingress), workload)] = None
    for workload_object in workloads:
        for word in _words(workload_object):
            for callee in behind.get((_space(workload_object), word), ()):
                if callee != _name(workload_object):
                    edges[(_name(workload_object), callee)] = None
    return list(edges)


def _flat(objects: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for one in objects:
        if isinstance(one, dict):
            items = one.get("items")
            if one.get("kind") == "List" and isinstance(items, list):
                yield from (item for item in items if isinstance(item, dict))
            else:
                yield one


def _at(told: Any, *path: str) -> Any:
    for key in path:
        told = told.get(key) if isinstance(told, dict) else None
    return told


def _items(told: Any, *path: str) -> list[Any]:
    found = _at(told, *path)
    return found if isinstance(found, list) else []


def _name(told: Mapping[str, Any]) -> str:
    return str(_at(told, "metadata", "name") or "")[:200]


def _space(told: Mapping[str, Any]) -> str:
    return str(_at(told, "metadata", "namespace") or "default")


def _selects(selector: Any, workload: Mapping[str, Any]) -> bool:
    labels = _at(workload, "spec", "template", "metadata", "labels")
    if not isinstance(selector, dict) or not selector or not isinstance(labels, dict):
        return False
    return all(labels.get(key) == value for key, value in selector.items())


def _backends(ingress: Mapping[str, Any]) -> Iterator[str]:
    backends = [_at(ingress, "spec", "defaultBackend")]
    for rule in _items(ingress, "spec", "rules"):
        backends += [_at(path, "backend") for path in _items(rule, "http", "paths")]
    for backend in backends:
        name = _at(backend, "service", "name")
        if isinstance(name, str):
            yield name


def _words(workload: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may be host names in what the workload's containers are told."""
    for container in _items(workload, "spec", "template", "spec", "containers"):
        texts = [_at(variable, "value") for variable in _items(container, "env")]
        texts += [*_items(container, "command"), *_items(container, "args")]
        for text in texts:
            if isinstance(text, str):
                yield from _HOST.findall(text[:2000])
