"""Reads sloth's forms: `prometheus/v1`, and the Kubernetes resource `PrometheusServiceLevel`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantum_suite.services.slo.fields import Fields, Problems, put_window
from quantum_suite.services.slo.interface import (
    DEFAULT_PERIOD_SECONDS,
    AlertText,
    AlertWindows,
    Indicator,
    Slo,
)
from quantum_suite.services.slo.windows import windows_of
from quantum_suite.services.yaml_nodes import Node

PROMETHEUS_V1 = "prometheus/v1"
KUBERNETES_V1 = "sloth.slok.dev/v1"
_WITHOUT_EFFECT = frozenset({"sloth.dev/core/debug/v1", "sloth.dev/core/noop/v1"})
"""Plugins of sloth that leave rules as they are."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What the two forms call the same thing."""

    plugins: str
    error_query: str
    total_query: str
    ratio_query: str
    page: str
    ticket: str


_SNAKE = _Keys("slo_plugins", "error_query", "total_query", "error_ratio_query", "page_alert", "ticket_alert")
_CAMEL = _Keys("sloPlugins", "errorQuery", "totalQuery", "errorRatioQuery", "pageAlert", "ticketAlert")


def read_prometheus_v1(document: Node, problems: Problems, windows: Sequence[AlertWindows]) -> list[Slo]:
    """Read a document with `version: prometheus/v1`."""
    fields = Fields(document, problems, ("version", "service", "labels", "slos", _SNAKE.plugins))
    return _read_service(fields, problems, windows, _SNAKE, PROMETHEUS_V1)


def read_service_level(document: Node, problems: Problems, windows: Sequence[AlertWindows]) -> list[Slo]:
    """Read a document of kind `PrometheusServiceLevel`."""
    root = Fields(document, problems, ("apiVersion", "kind", "metadata", "spec", "status"))
    spec = root.require("spec", "Give service and slos.")
    if spec is None:
        return []
    fields = Fields(spec, problems, ("service", "labels", "slos", _CAMEL.plugins))
    return _read_service(fields, problems, windows, _CAMEL, KUBERNETES_V1)


def _read_service(
    fields: Fields, problems: Problems, windows: Sequence[AlertWindows], keys: _Keys, spec: str
) -> list[Slo]:
    service = fields.name("service", "Name the service, e.g. checkout.")
    labels = fields.labels("labels")
    _refuse_plugins(fields.get(keys.plugins), problems)
    slos = fields.items("slos")
    if not slos:
        fields.require("slos", "Give a list with one SLO at least.")
    return [_read_slo(node, problems, windows, keys, spec, service, labels) for node in slos]


def _read_slo(
    node: Node,
    problems: Problems,
    windows: Sequence[AlertWindows],
    keys: _Keys,
    spec: str,
    service: str,
    labels: Mapping[str, str],
) -> Slo:
    known = ("name", "description", "objective", "labels", "sli", "alerting", "plugins")
    fields = Fields(node, problems, known)
    _refuse_plugins(fields.get("plugins"), problems)
    page, ticket = _read_alerting(fields, problems, keys)
    return Slo(
        service=service,
        name=fields.name("name", "Name the SLO, e.g. requests-availability."),
        objective_percent=read_percent(fields, "objective"),
        indicator=_read_indicator(fields, problems, keys),
        windows=windows_of(DEFAULT_PERIOD_SECONDS, windows),
        spec=spec,
        description=fields.text("description"),
        labels={**labels, **fields.labels("labels")},
        page=page,
        ticket=ticket,
        file=problems.file,
        line=node.line,
    )


def read_percent(fields: Fields, key: str) -> float:
    """Return an objective in percent; it must be there, above 0 and at most 100."""
    node = fields.require(key, "Give a percentage, e.g. 99.9.")
    percent = fields.number(key)
    if node is not None and percent is not None and not 0 < percent <= 100:
        fields.problems.add(node, f"{percent:g} is no objective.", "Give percent above 0, at most 100, e.g. 99.9.")
    return percent if percent is not None and 0 < percent <= 100 else 99.0


def _read_indicator(fields: Fields, problems: Problems, keys: _Keys) -> Indicator:
    node = fields.require("sli", "Give events with two queries, or raw with one.")
    if node is None:
        return Indicator()
    sli = Fields(node, problems, ("events", "raw", "plugin"))
    if (plugin := sli.get("plugin")) is not None:
        problems.add(
            plugin,
            "Plugins of sloth are programs, and are not run.",
            "Write the query that the plugin makes as raw or events.",
        )
        return Indicator()
    events, raw = sli.get("events"), sli.get("raw")
    if (events is None) == (raw is None):
        problems.add(
            node, "One of events and raw has to be there, and one alone.", "Take events where you can count."
        )
        return Indicator()
    if raw is not None:
        ratio = Fields(raw, problems, (keys.ratio_query,)).query(keys.ratio_query)
        return Indicator(error_ratio=ratio)
    assert events is not None  # one of the two is
    counts = Fields(events, problems, (keys.error_query, keys.total_query))
    error, total = counts.query(keys.error_query), counts.query(keys.total_query)
    if error and put_window(error, "w") == put_window(total, "w"):
        problems.add(events, "Both queries are the same.", f"{keys.error_query} counts the bad events alone.")
    return Indicator(error=error, total=total)


def _read_alerting(fields: Fields, problems: Problems, keys: _Keys) -> tuple[AlertText | None, AlertText | None]:
    node = fields.get("alerting")
    if node is None:
        problems.add(
            fields.node,
            "This is missing.",
            f"Give a name, or disable {keys.page} and {keys.ticket}.",
            key="alerting",
        )
        return None, None
    alerting = Fields(node, problems, ("name", "labels", "annotations", keys.page, keys.ticket))
    name = alerting.text("name")
    labels, annotations = alerting.labels("labels"), alerting.labels("annotations", "annotation")
    found: list[AlertText | None] = []
    for key in (keys.page, keys.ticket):
        given = alerting.get(key)
        own = Fields(given, problems, ("disable", "labels", "annotations")) if given is not None else None
        if own is not None and own.flag("disable"):
            found.append(None)
            continue
        own_labels = own.labels("labels") if own is not None else {}
        own_annotations = own.labels("annotations", "annotation") if own is not None else {}
        found.append(AlertText(name, {**labels, **own_labels}, {**annotations, **own_annotations}))
    if not name and any(found):
        problems.add(node, "This is missing.", "Name the alerts, e.g. CheckoutErrors.", key="name")
    return found[0], found[1]


def _refuse_plugins(node: Node | None, problems: Problems) -> None:
    """Note each plugin that would change rules."""
    if node is None:
        return
    fields = Fields(node, problems, ("overridePrevious", "chain"))
    if fields.flag("overridePrevious"):
        problems.add(
            node, "The rules of other plugins cannot be made.", "Leave overridePrevious and the chain out."
        )
    for item in fields.items("chain"):
        plugin = Fields(item, problems, ("id", "config", "priority"))
        named = plugin.text("id", "Name the plugin.")
        if named and named not in _WITHOUT_EFFECT:
            problems.add(
                item,
                f"The plugin {named[:80]} is a program of sloth, and is not run.",
                "Leave it out, or have sloth make these rules.",
            )
