"""The documents of an OpenSLO file by kind and name, for what refers to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from quantum_suite.services.slo.fields import Fields, Problems
from quantum_suite.services.yaml_nodes import Node

V1 = "openslo/v1"
V1ALPHA = "openslo/v1alpha"
KINDS = ("SLO", "SLI", "Service", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "DataSource")
ROOT = ("apiVersion", "kind", "metadata", "spec")
_METADATA = ("name", "displayName", "labels", "annotations")


@dataclass(slots=True)
class OpenSloObjects:
    """What a file defines besides SLOs."""

    by_kind: dict[str, dict[str, Node]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    slos: list[Node] = field(default_factory=list)
    """Documents of kind SLO: nothing refers to them, and two services may have one of the same name."""

    def find(self, kind: str, name: str, at: Node, problems: Problems) -> Node | None:
        """Return a document that is referred to; notes a problem where it is not in the file."""
        found = self.by_kind[kind].get(name)
        if found is None:
            there = ", ".join(self.by_kind[kind]) or "none"
            problems.add(at, f"There is no {kind} named '{name[:60]}' in this file.", f"There is: {there}.")
        return found


def gather_objects(documents: Sequence[Node], problems: Problems) -> OpenSloObjects:
    """Sort documents by kind; notes names that are taken twice."""
    objects = OpenSloObjects()
    for document in documents:
        fields = Fields(document, problems, ROOT)
        kind = fields.choice("kind", KINDS)
        name = metadata_of(fields, problems).name("name", "Name the object, e.g. checkout-availability.")
        if kind is None or not name:
            continue
        if kind == "SLO":
            objects.slos.append(document)
            continue
        if name in objects.by_kind[kind]:
            problems.add(document, f"There are two of kind {kind} named '{name}'.", "Rename one of them.")
        objects.by_kind[kind][name] = document
        if kind == "Service":
            Fields(spec_of(fields), problems, ("description",))
    return objects


def metadata_of(fields: Fields, problems: Problems) -> Fields:
    """Return the metadata of an object."""
    node = fields.require("metadata", "Give a mapping with name.")
    return Fields(node if node is not None else _nothing(fields.node, "metadata"), problems, _METADATA)


def spec_of(fields: Fields) -> Node:
    """Return the spec of an object; an empty one, which is noted, where there is none."""
    node = fields.require("spec", "Give a mapping.")
    return node if node is not None else _nothing(fields.node, "spec")


def name_in(document: Node) -> str:
    """Return the name in an object's metadata, empty where there is none."""
    metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
    named = metadata.value.get("name") if metadata is not None and isinstance(metadata.value, dict) else None
    return named.written if named is not None else ""


def _nothing(near: Node, key: str) -> Node:
    return Node({}, f"{near.path}.{key}" if near.path else key, near.line, near.column)
