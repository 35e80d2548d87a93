"""A file that says how a system is built and measured: signals, who depends on whom, what was changed.

signals:
  - {kind: latency, node: service, query: "sum by (service) (rate(seconds_sum[2m])) / sum by (service) (...)"}
  - {kind: errors, node: service, query: "..."}
edges:
  - [front, cart]                     # front calls cart
traces: traces.json                   # spans as OTLP writes them, beside this file
kubernetes: [shop.yaml]               # objects, beside this file
changes: changes.csv                  # or a list of {at, what, service}
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantum_suite.core.errors import CallerError
from quantum_suite.services.root_cause.change_files import read_changes, read_changes_csv
from quantum_suite.services.root_cause.interface import KINDS, Change, Kind
from quantum_suite.services.root_cause.kubernetes_edges import kubernetes_edges
from quantum_suite.services.root_cause.topology import MOST_EDGES, Topology
from quantum_suite.services.root_cause.trace_edges import trace_edges
from quantum_suite.services.yaml_nodes import UnreadableYaml, YamlForm, read_nodes

MAX_BYTES = 2 * 1024 * 1024
MAX_VALUES = 5_000
"""Of a document, on the average."""
MOST_FILES = 20
MOST_SIGNALS = 20
_KEYS = frozenset({"signals", "edges", "traces", "kubernetes", "changes"})

ReadFile = Callable[[str], str]
"""Returns the text of a file that stands beside the system's; raises CallerError."""


@dataclass(frozen=True, slots=True)
class SignalQuery:
    """A query whose series are one kind of signal, a node each."""

    kind: Kind
    query: str
    node: str
    """The label that names the node."""


@dataclass(frozen=True, slots=True)
class System:
    """What is known of how a system is built and measured."""

    topology: Topology = field(default_factory=lambda: Topology(()))
    signals: tuple[SignalQuery, ...] = ()
    changes: tuple[Change, ...] = ()


def read_system(text: str, read_file: ReadFile) -> System:
    """Return what a file says; raises CallerError with the place of what is wrong. Pure but for `read_file`."""
    (told,) = read_yaml(text, "system", documents=1) or ({},)
    if not isinstance(told, dict) or not told.keys() <= _KEYS:
        wrong = ", ".join(sorted(set(told) - _KEYS)) if isinstance(told, dict) else "no mapping"
        raise wrong_system(f"It has {wrong}.", f"The keys are {', '.join(sorted(_KEYS))}.")
    edges = [_edge(one, index) for index, one in enumerate(_list(told, "edges"))]
    for name in _files(told, "traces"):
        edges += trace_edges(read_file(name), name)
    for name in _files(told, "kubernetes"):
        edges += kubernetes_edges(read_yaml(read_file(name), name))
    if len(set(edges)) > MOST_EDGES:
        raise wrong_system(f"It has {len(set(edges))} edges.", f"{MOST_EDGES} is the most.")
    signals = tuple(_signal(one, index) for index, one in enumerate(_list(told, "signals")))
    if len(signals) > MOST_SIGNALS:
        raise wrong_system(f"It has {len(signals)} signals.", f"{MOST_SIGNALS} is the most.")
    return System(Topology(edges), signals, tuple(_changes(told.get("changes"), read_file)))


def read_yaml(text: str, name: str, *, documents: int = 500) -> list[Any]:
    """Return the documents of a YAML text that are not empty, bounded; raises CallerError with the place."""
    form = YamlForm(characters=MAX_BYTES, values=MAX_VALUES * documents, documents=documents)
    try:
        return [node.plain() for node in read_nodes(text, form) if node.value is not None]
    except UnreadableYaml as error:
        raise wrong_system(f"{name}: {error.problem}") from error


def wrong_system(message: str, hint: str | None = None) -> CallerError:
    """Return the error for a file that cannot be used."""
    return CallerError(message, hint, argument="system")


def _list(told: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = told.get(key)
    if found is None:
        return ()
    if not isinstance(found, list):
        raise wrong_system(f"{key} is no list.")
    return found


def _files(told: Mapping[str, Any], key: str) -> Sequence[str]:
    found = told.get(key) or ()
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        raise wrong_system(f"{key} is no file, nor a list of files.")
    if len(names) > MOST_FILES:
        raise wrong_system(f"{key} names {len(names)} files.", f"{MOST_FILES} is the most.")
    return names


def _edge(told: Any, index: int) -> tuple[str, str]:
    if isinstance(told, list) and len(told) == 2 and all(isinstance(one, str) and one for one in told):
        return told[0][:200], told[1][:200]
    raise wrong_system(f"edges[{index}] is no pair of names.", "Write [caller, what it calls].")


def _signal(told: Any, index: int) -> SignalQuery:
    place = f"signals[{index}]"
    if not isinstance(told, dict) or not told.keys() <= {"kind", "query", "node"}:
        raise wrong_system(f"{place} is not made of kind, query and node.")
    kind = told.get("kind")
    if kind not in KINDS:
        raise wrong_system(f"{place}.kind is {kind!r:.40}.", f"It is one of {', '.join(KINDS)}.")
    query, node = told.get("query"), told.get("node")
    if not isinstance(query, str) or not isinstance(node, str):
        raise wrong_system(f"{place} needs a query, and the label that names the node.")
    return SignalQuery(kind, query, node)


def _changes(told: Any, read_file: ReadFile) -> Sequence[Change]:
    if told is None:
        return ()
    if not isinstance(told, str):
        return read_changes(told, "the system's file")
    text = read_file(told)
    if told.endswith(".csv"):
        return read_changes_csv(text, told)
    documents = read_yaml(text, told, documents=1)
    return read_changes(documents[0] if documents else [], told)
