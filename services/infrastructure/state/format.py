"""Pulumi's deployment format, version 3 (sdk/go/common/apitype/deployments.json in pulumi/pulumi), both ways.

`retainOnDelete` and `deletedWith` are written only where set, as Pulumi's own type `ResourceV3` does; its
published JSON schema does not list them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from quantum_suite.core.errors import Damaged
from quantum_suite.services.infrastructure.interface import Deployment, PendingOperation, ResourceState
from quantum_suite.services.infrastructure.values import canonical

VERSION = 3
ENGINE_VERSION = "v3.272.0"
"""The release of Pulumi whose format and protocol this speaks."""

_TEXTS = {"parent": "parent", "provider": "provider", "import_id": "importID", "deleted_with": "deletedWith"}
_FLAGS = {
    "protect": "protect",
    "external": "external",
    "delete": "delete",
    "pending_replacement": "pendingReplacement",
    "retain_on_delete": "retainOnDelete",
}
_LISTS = {
    "dependencies": "dependencies",
    "additional_secret_outputs": "additionalSecretOutputs",
    "aliases": "aliases",
    "init_errors": "initErrors",
}


def resource_to_json(resource: ResourceState) -> dict[str, Any]:
    """Return a resource as `ResourceV3`."""
    body: dict[str, Any] = {"urn": resource.urn, "custom": resource.custom, "type": resource.type}
    if resource.id:
        body["id"] = resource.id
    if resource.inputs:
        body["inputs"] = dict(resource.inputs)
    if resource.outputs:
        body["outputs"] = dict(resource.outputs)
    for ours, theirs in (*_TEXTS.items(), *_FLAGS.items()):
        if value := getattr(resource, ours):
            body[theirs] = value
    for ours, theirs in _LISTS.items():
        if values := getattr(resource, ours):
            body[theirs] = list(values)
    if resource.property_dependencies:
        body["propertyDependencies"] = {
            key: list(urns) for key, urns in sorted(resource.property_dependencies.items())
        }
    if resource.custom_timeouts:
        body["customTimeouts"] = dict(resource.custom_timeouts)
    return body


def resource_from_json(body: Mapping[str, Any]) -> ResourceState:
    """Return the resource a `ResourceV3` describes."""
    fields: dict[str, Any] = {ours: body.get(theirs, "") for ours, theirs in _TEXTS.items()}
    fields |= {ours: bool(body.get(theirs)) for ours, theirs in _FLAGS.items()}
    fields |= {ours: tuple(body.get(theirs) or ()) for ours, theirs in _LISTS.items()}
    return ResourceState(
        urn=body["urn"],
        type=body.get("type", ""),
        custom=bool(body.get("custom")),
        id=body.get("id", ""),
        inputs=body.get("inputs") or {},
        outputs=body.get("outputs") or {},
        property_dependencies={key: tuple(urns) for key, urns in (body.get("propertyDependencies") or {}).items()},
        custom_timeouts=body.get("customTimeouts") or {},
        **fields,
    )


def deployment_to_json(deployment: Deployment) -> dict[str, Any]:
    """Return the file's content: Pulumi's, with our serial and checksum in the metadata."""
    body: dict[str, Any] = {
        "manifest": {
            "time": datetime.now(UTC).isoformat(),
            "magic": hashlib.sha256(ENGINE_VERSION.encode()).hexdigest(),
            "version": ENGINE_VERSION,
        },
        "secrets_providers": {"type": "quantum"},
        "resources": [resource_to_json(resource) for resource in in_order(deployment.resources)],
        "metadata": {"serial": deployment.serial, "project": deployment.project, "stack": deployment.stack},
    }
    if deployment.pending:
        body["pending_operations"] = [
            # An import is a creation to Pulumi's schema; the id it was to have is in the resource.
            {
                "type": "creating" if operation.type == "importing" else operation.type,
                "resource": resource_to_json(operation.resource),
            }
            for operation in deployment.pending
        ]
    body["metadata"]["checksum"] = _checksum(body)
    return {"version": VERSION, "deployment": body}


def deployment_from_json(document: Any, project: str, stack: str) -> Deployment:
    """Return the state a file holds; raises Damaged, saying what is wrong with it."""
    if not isinstance(document, dict) or not isinstance(document.get("deployment"), dict):
        raise Damaged("it is no deployment")
    if document.get("version") != VERSION:
        raise Damaged(f"it is of version {document.get('version')}, and version {VERSION} is read")
    body = cast("dict[str, Any]", document["deployment"])
    metadata = body.get("metadata") or {}
    # A deployment that Pulumi exported has no checksum of ours.
    if "checksum" in metadata and metadata["checksum"] != _checksum(body):
        raise Damaged("its checksum does not fit its content")
    try:
        return Deployment(
            project=metadata.get("project", project),
            stack=metadata.get("stack", stack),
            serial=int(metadata.get("serial", 0)),
            resources=tuple(resource_from_json(item) for item in body.get("resources") or ()),
            pending=tuple(
                PendingOperation(item["type"], resource_from_json(item["resource"]))
                for item in body.get("pending_operations") or ()
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"a resource in it cannot be read ({error!r})") from error


def needs(resource: ResourceState) -> set[str]:
    """Return the URNs that must exist before a resource does, and may go only after it."""
    urns = {*resource.dependencies, resource.parent, resource.deleted_with, resource.provider.rpartition("::")[0]}
    urns.update(urn for group in resource.property_dependencies.values() for urn in group)
    return {urn for urn in urns if urn and urn != resource.urn}


def in_order(resources: Sequence[ResourceState]) -> list[ResourceState]:
    """Return resources after what they need, otherwise in the order given. A cycle keeps the order given."""
    at: dict[str, list[ResourceState]] = {}
    for resource in resources:
        at.setdefault(resource.urn, []).append(resource)
    placed: list[ResourceState] = []
    begun: set[int] = set()
    for first in resources:
        open_ends: list[tuple[ResourceState, bool]] = [(first, False)]
        while open_ends:
            resource, ready = open_ends.pop()
            if ready:
                placed.append(resource)
                continue
            if id(resource) in begun:
                continue
            begun.add(id(resource))
            open_ends.append((resource, True))
            open_ends += [(found, False) for urn in sorted(needs(resource)) for found in at.get(urn, ())]
    return placed


def dependents(urns: set[str], resources: Sequence[ResourceState]) -> set[str]:
    """Return the URNs of all that needs one of `urns`, directly or through others."""
    users: dict[str, list[str]] = {}
    for resource in resources:
        for urn in needs(resource):
            users.setdefault(urn, []).append(resource.urn)
    found: set[str] = set()
    open_ends = list(urns)
    while open_ends:
        for user in users.get(open_ends.pop(), ()):
            if user not in found and user not in urns:
                found.add(user)
                open_ends.append(user)
    return found


def _checksum(body: Mapping[str, Any]) -> str:
    metadata = {key: value for key, value in (body.get("metadata") or {}).items() if key != "checksum"}
    return hashlib.sha256(canonical({**body, "metadata": metadata})).hexdigest()
