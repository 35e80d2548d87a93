"""What is read of how a system is built: right files, and hostile ones."""

import json
from typing import Any

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.services.root_cause.system_file import System, read_system
from quantum_suite.services.root_cause.topology import MOST_EDGES

KUBERNETES = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: entry}
spec:
  rules:
    - http:
        paths:
          - {path: /, backend: {service: {name: front, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: front}}
---
# a comment alone
---
apiVersion: v1
kind: Service
metadata: {name: store}
spec: {type: ExternalName, externalName: db.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: cart-api}
spec: {selector: {app: cart}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front-v2}
spec:
  template:
    metadata: {labels: {app: front, tier: web}}
    spec:
      containers:
        - name: main
          env:
            - {name: CART, value: "http://cart-api.default.svc.cluster.local:8080/v1"}
            - {name: LEVEL, value: info}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: cart}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec:
      containers:
        - {name: main, args: ["--database=postgres://store:5432/cart"]}
"""


def span(trace: str, identity: str, parent: str, kind: int = 2, **attributes: str) -> dict[str, Any]:
    told = [{"key": key.replace("_", "."), "value": {"stringValue": value}} for key, value in attributes.items()]
    return {"traceId": trace, "spanId": identity, "parentSpanId": parent, "kind": kind, "attributes": told}


def traces(**services: list[dict[str, Any]]) -> str:
    resources = [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": name}}]},
            "scopeSpans": [{"spans": spans}],
        }
        for name, spans in services.items()
    ]
    return json.dumps({"resourceSpans": resources})


def read(text: str, **files: str) -> System:
    def read_file(name: str) -> str:
        if name not in files:
            raise CallerError(f"{name} is not there.", argument="system")
        return files[name]

    return read_system(text, read_file)


def test_kubernetes_objects_say_who_calls_whom() -> None:
    system = read("kubernetes: k8s", k8s=KUBERNETES)
    assert set(system.topology.edges) == {("entry", "front-v2"), ("front-v2", "cart"), ("cart", "store")}


def test_spans_say_who_calls_whom_and_which_database() -> None:
    told = traces(
        front=[span("t", "1", ""), span("t", "2", "1", 3, peer_service="cart-alias")],
        cart=[span("t", "3", "2"), span("t", "4", "3", 3, db_name="orders")],
    )
    assert set(read("traces: spans", spans=told).topology.edges) == {("front", "cart"), ("cart", "orders")}
    lines = "\n".join([told, traces(batch=[span("u", "9", "", 4, messaging_destination_name="jobs")])])
    assert ("batch", "jobs") in read("traces: [spans]", spans=lines).topology.edges


def test_changes_come_from_a_list_or_a_table() -> None:
    system = read("changes: [{at: 2026-11-27T10:00:00Z, what: release 41, service: cart}, {at: 5, what: early}]")
    assert [(one.at, one.node) for one in system.changes] == [(1_795_773_600.0, "cart"), (5.0, None)]
    table = "at,what,service\n2026-11-27T10:00:00+01:00,release 41,cart\n2026-11-27T10:00:00,config,\n"
    system = read("changes: deployments.csv", **{"deployments.csv": table})
    assert [(one.at, one.node) for one in system.changes] == [(1_795_770_000.0, "cart"), (1_795_773_600.0, None)]


def test_signals_and_edges_are_taken_as_written() -> None:
    system = read("signals: [{kind: errors, node: service, query: up}]\nedges: [[a, b], [b, c], [a, b]]")
    assert (system.signals[0].kind, system.topology.edges) == ("errors", (("a", "b"), ("b", "c")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "no mapping"),
        ("edge: [[a, b]]", "It has edge"),
        ("edges: [[a]]", r"edges\[0\] is no pair"),
        ("edges: [[a, 5]]", r"edges\[0\] is no pair"),
        ("edges: a", "edges is no list"),
        ("signals: [{kind: speed, query: up, node: a}]", r"signals\[0\].kind is 'speed'"),
        ("signals: [{kind: errors, query: up}]", "needs a query"),
        ("signals: [{kind: errors, query: up, node: a, extra: 1}]", "not made of"),
        ("traces: 5", "no file"),
        ("traces: gone", "gone is not there"),
        ("changes: [{at: soon, what: x}]", "'soon' is no time"),
        ("changes: [{at: 1e30, what: x}]", "is no time"),
        ("changes: [{at: 5}]", "what is needed"),
        ("changes: {at: 5}", "no list of mappings"),
        ("a: &x [1]\nb: *x", "Anchors"),
        ("edges: " + "[" * 5000, "nested too deeply"),
        ("a: 1\n---\nb: 2", "line 2, column 1: A second document"),
        ("edges: [", "no YAML"),
        ("edges: [" + "[a, b]," * 3000 + "]", "too many values"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text: str, said: str) -> None:
    with pytest.raises(CallerError, match=said) as caught:
        read(text)
    assert caught.value.argument == "system"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("", None),
        ("[]", None),
        ('{"resourceSpans": 5}', None),
        (
            traces(front=[{"kind": {}, "spanId": [], "attributes": [{"key": [], "value": "x"}, {"key": "a"}]}]),
            None,
        ),
    ],
)
def test_traces_that_are_none_are_refused_or_say_nothing(told: str, said: str | None) -> None:
    if said is None:
        assert read("traces: t", t=told).topology.edges == ()
    else:
        with pytest.raises(CallerError, match=said):
            read("traces: t", t=told)


@pytest.mark.parametrize(
    "objects",
    [
        "kind: Service",
        "kind: List\nitems: 5",
        "kind: Ingress\nspec: {rules: 7}",
        "kind: Ingress\nspec: {rules: [{http: 5}, 6]}",
        "kind: Deployment\nmetadata: 4\nspec: {template: {spec: {containers: {a: 1}}}}",
        "- 1",
    ],
)
def test_objects_of_other_shapes_say_nothing(objects: str) -> None:
    assert read("kubernetes: k", k=objects).topology.edges == ()


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(CallerError, match="no columns at and what"):
        read("changes: c.csv", **{"c.csv": "when,what\n1,2\n"})
    with pytest.raises(CallerError, match="line 2"):
        read("changes: c.csv", **{"c.csv": "at,what\nnever,release\n"})


def test_too_many_edges_are_refused() -> None:
    spans = [span("t", str(number), "", 3, peer_service=f"s{number}") for number in range(MOST_EDGES + 1)]
    with pytest.raises(CallerError, match="edges"):
        read("traces: t", t=traces(front=spans))
