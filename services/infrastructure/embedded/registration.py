"""What a program registers, and how it is named."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi.runtime.proto import alias_pb2, resource_pb2

from quantum_suite.services.infrastructure.embedded.wire import from_struct, from_value

STACK_TYPE: Final = "pulumi:pulumi:Stack"
PROVIDER_TYPE: Final = "pulumi:providers:"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class AliasSpec:
    """How a resource may have been called; None: as it is called now."""

    urn: str = ""
    name: str | None = None
    type: str | None = None
    stack: str | None = None
    project: str | None = None
    parent: str | None = None
    """Empty: it had none."""


@dataclass(frozen=True, slots=True)
class Registration:
    """A resource as a program declares it."""

    type: str
    name: str
    parent: str = ""
    custom: bool = False
    remote: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    protect: bool = False
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provider: str = ""
    providers: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    delete_before_replace: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    replace_with: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[AliasSpec, ...] = ()
    import_id: str = ""
    custom_timeouts: Mapping[str, float] = field(default_factory=dict)
    retain_on_delete: bool = False
    deleted_with: str = ""
    replacement_trigger: Any = None

    @property
    def package(self) -> str:
        """Return the package the type belongs to."""
        return self.type.partition(":")[0]


def registration_of(request: resource_pb2.RegisterResourceRequest) -> Registration:
    """Return what a request says."""
    return Registration(
        type=request.type,
        name=request.name,
        parent=request.parent,
        custom=request.custom,
        remote=request.remote,
        inputs=from_struct(request.object),
        protect=request.protect,
        dependencies=tuple(sorted(set(request.dependencies))),
        property_dependencies={
            key: tuple(sorted(set(group.urns)))
            for key, group in request.propertyDependencies.items()
            if group.urns
        },
        provider=request.provider,
        providers=dict(request.providers),
        version=request.version,
        delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
        ignore_changes=tuple(request.ignoreChanges),
        replace_on_changes=tuple(request.replaceOnChanges),
        replace_with=tuple(request.replace_with),
        additional_secret_outputs=tuple(request.additionalSecretOutputs),
        aliases=(*(AliasSpec(urn=urn) for urn in request.aliasURNs), *map(_alias, request.aliases)),
        import_id=request.importId,
        custom_timeouts=_timeouts(request.customTimeouts),
        retain_on_delete=request.retainOnDelete,
        deleted_with=request.deletedWith,
        replacement_trigger=from_value(request.replacement_trigger)
        if request.HasField("replacement_trigger")
        else None,
    )


def _alias(alias: alias_pb2.Alias) -> AliasSpec:
    if alias.WhichOneof("alias") == "urn":
        return AliasSpec(urn=alias.urn)
    spec = alias.spec
    parent = "" if spec.noParent else spec.parentUrn or None
    return AliasSpec("", spec.name or None, spec.type or None, spec.stack or None, spec.project or None, parent)


def _timeouts(timeouts: resource_pb2.RegisterResourceRequest.CustomTimeouts) -> dict[str, float]:
    given = {name: getattr(timeouts, name) for name in ("create", "update", "delete")}
    return {name: seconds for name, text in given.items() if (seconds := duration_seconds(text))}


def duration_seconds(text: str) -> float:
    """Return how long a duration in Go's form (`1m30s`) is; 0 for an empty one. Raises ValueError."""
    if text and not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(f"'{text}' is no duration; write one as 30s, 5m or 1h30m")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION.findall(text))


@dataclass(frozen=True, slots=True)
class Names:
    """How the resources of one stack are named: `urn:pulumi:stack::project::parent type$type::name`."""

    project: str
    stack: str

    def urn(self, kind: str, name: str, parent: str = "") -> str:
        """Return a resource's URN."""
        return _urn(self.stack, self.project, kind, name, parent)

    def aliases(self, registration: Registration, parents: Sequence[str]) -> list[str]:
        """Return the URNs it may have had: its own aliases, and those that follow from its parent's."""
        now = registration.parent
        found: list[str] = []
        for spec in (AliasSpec(), *registration.aliases):
            if spec.urn:
                found.append(spec.urn)
                continue
            name = registration.name if spec.name is None else spec.name
            known = [spec.parent] if spec.parent is not None else [now, *parents]
            for parent in known:
                found.append(
                    _urn(
                        spec.stack or self.stack,
                        spec.project or self.project,
                        spec.type or registration.type,
                        _followed(name, now, parent),
                        parent,
                    )
                )
        current = self.urn(registration.type, registration.name, now)
        return [urn for urn in dict.fromkeys(found) if urn != current]


def _followed(name: str, parent: str, earlier: str) -> str:
    """Return a child's name under the parent's earlier name, where it begins with the parent's name."""
    was, now = earlier.rpartition("::")[2], parent.rpartition("::")[2]
    return was + name[len(now) :] if earlier and now and was != now and name.startswith(now) else name


def _urn(stack: str, project: str, kind: str, name: str, parent: str) -> str:
    qualified = parent.split("::")[2] if parent.count("::") > 2 else ""
    if qualified and qualified != STACK_TYPE:
        kind = f"{qualified}${kind}"
    return f"urn:pulumi:{stack}::{project}::{kind}::{name}"


def split_reference(reference: str) -> tuple[str, str]:
    """Return the URN and the id that a provider reference is made of."""
    urn, _, provider_id = reference.rpartition("::")
    return urn, provider_id


def default_provider_name(version: str) -> str:
    """Return what the provider is called that resources without one get."""
    return "default" if not version else f"default_{re.sub(r'[^0-9A-Za-z]', '_', version.removeprefix('v'))}"


def is_default_provider(urn: str) -> bool:
    """Whether a provider is one that resources without one got."""
    kind, _, name = urn.rpartition("::")
    return PROVIDER_TYPE in kind and (name == "default" or name.startswith("default_"))
