"""Interprets Pulumi YAML programs: configuration, variables, resources and outputs with references among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from quantum_suite.core.errors import CallerError, EngineError
from quantum_suite.services.infrastructure.embedded.deploying import Deploying, Registered
from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.embedded.registration import (
    PROVIDER_TYPE,
    STACK_TYPE,
    AliasSpec,
    Registration,
    duration_seconds,
)
from quantum_suite.services.infrastructure.embedded.wire import from_struct
from quantum_suite.services.infrastructure.embedded.yaml_functions import as_text, call_function
from quantum_suite.services.infrastructure.embedded.yaml_references import Reference, names_in, pieces_of
from quantum_suite.services.infrastructure.project import Configuration, Project
from quantum_suite.services.infrastructure.values import UNKNOWN_VALUE, has_unknown, is_secret, plain, secret

_OPTIONS: Final = frozenset(
    {
        *("additionalSecretOutputs", "aliases", "customTimeouts", "deleteBeforeReplace", "deletedWith"),
        *("dependsOn", "ignoreChanges", "import", "parent", "protect", "provider", "replaceOnChanges"),
        *("retainOnDelete", "version"),
    }
)
_SECTIONS: Final = frozenset(
    {
        *("name", "runtime", "description", "main", "config", "configuration", "variables", "resources"),
        *("outputs", "template", "author", "website", "license", "backend", "options", "plugins"),
    }
)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value, and the resources it comes from."""

    value: Any
    urns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Resource:
    registered: Registered
    is_provider: bool


@dataclass(slots=True)
class YamlProgram:
    """One run of a YAML program. Independent resources are registered at once."""

    project: Project
    configuration: Configuration
    run_: Deploying
    _known: dict[str, _Value | _Resource] = field(default_factory=dict)
    _ready: dict[str, anyio.Event] = field(default_factory=dict)

    async def run(self) -> None:
        """Interpret it. Raises CallerError for a program that is wrong, EngineError when a resource fails."""
        document = self.project.document
        unknown = sorted(set(document) - _SECTIONS)
        if unknown:
            raise _wrong(f"it has a section '{unknown[0]}', which there is not")
        variables, resources = document.get("variables") or {}, document.get("resources") or {}
        self._take_configuration()
        nodes = {**variables, **resources}
        if len(nodes) < len(variables) + len(resources):
            raise _wrong("a variable and a resource share a name")
        self._check_references(nodes)
        name = f"{self.project.name}-{self.run_.names.stack}"
        root = await self.run_.register(Registration(STACK_TYPE, name))
        self._ready = {node: anyio.Event() for node in nodes}
        failures: list[str] = []

        async def settle(node: str) -> None:
            try:
                for other in set(names_in(nodes[node])):
                    if other in self._ready:
                        await self._ready[other].wait()
                        if other not in self._known:
                            return  # What it needs failed, and said so.
                self._known[node] = await self._node(node, resources, nodes[node], root.urn)
            except ProviderFailed as error:
                failures.append(f"{node}: {error.message}")
                if not any(failed.endswith(f"::{node}") for failed, _ in self.run_.recorder.failures):
                    self.run_.recorder.failed(node, error.message)
            finally:
                self._ready[node].set()

        async with anyio.create_task_group() as tasks:
            for node in nodes:
                tasks.start_soon(settle, node)
        if failures:
            said = self.run_.recorder.masks.masked("; ".join(sorted(failures)[:3]))
            raise EngineError(said, "Mend the program, or see what the provider says.", engine="pulumi")
        try:
            outputs = {
                str(key): (await self._evaluated(value)).value
                for key, value in (document.get("outputs") or {}).items()
            }
        except ProviderFailed as error:
            raise _wrong(f"outputs: {error.message}") from error
        await self.run_.take_outputs(root.urn, outputs)

    async def _node(self, name: str, resources: Mapping[str, Any], body: Any, root: str) -> _Value | _Resource:
        if name in resources:
            return await self._resource(name, body, root)
        return await self._evaluated(body)

    def _take_configuration(self) -> None:
        prefix = f"{self.project.name}:"
        for key, text in self.configuration.values.items():
            value: Any = secret(text) if key in self.configuration.secret_keys else text
            self._known[key] = self._known[key.removeprefix(prefix)] = _Value(value)
        names = self.run_.names
        self._known["pulumi"] = _Value(
            {
                "cwd": str(self.project.folder),
                "project": names.project,
                "stack": names.stack,
                "organization": "organization",
            }
        )

    def _check_references(self, nodes: Mapping[str, Any]) -> None:
        """Refuse what refers to nothing, and what refers to itself in a circle."""
        needs: dict[str, set[str]] = {}
        for name, body in nodes.items():
            try:
                needs[name] = set(names_in(body))
            except ProviderFailed as error:
                raise _wrong(f"{name}: {error.message}") from error
            for other in sorted(needs[name]):
                if other not in nodes and other not in self._known:
                    raise _wrong(
                        f"{name} refers to '{other}', which is neither resource, variable nor configuration"
                    )
        done: set[str] = set()
        while len(done) < len(nodes):
            free = {name for name in nodes if name not in done and needs[name].intersection(nodes) <= done}
            if not free:
                raise _wrong(f"{', '.join(sorted(set(nodes) - done))} refer to one another in a circle")
            done |= free

    async def _resource(self, name: str, body: Any, root: str) -> _Resource:
        if not isinstance(body, Mapping) or not isinstance(body.get("type"), str):
            raise ProviderFailed("A resource is a mapping with a type.")
        kind = _full_type(body["type"])
        options = body.get("options") or {}
        strange = sorted(set(options) - _OPTIONS)
        if strange:
            raise ProviderFailed(
                f"The option '{strange[0]}' is not supported. There are {', '.join(sorted(_OPTIONS))}."
            )
        values, depends, groups = {}, set[str](), {}
        for key, given in (body.get("properties") or {}).items():
            evaluated = await self._evaluated(given)
            values[key] = evaluated.value
            if evaluated.urns:
                groups[key] = tuple(sorted(evaluated.urns))
                depends |= evaluated.urns
        depends |= {registered.urn for registered in self._named(options.get("dependsOn"))}
        registration = Registration(
            type=kind,
            name=str(body.get("name") or name),
            parent=self._one_urn(options.get("parent")) or root,
            custom=True,
            inputs=values,
            protect=bool(options.get("protect")),
            dependencies=tuple(sorted(depends)),
            property_dependencies=groups,
            provider=self._provider(options.get("provider")),
            version=str(options.get("version") or ""),
            delete_before_replace=options.get("deleteBeforeReplace"),
            ignore_changes=tuple(options.get("ignoreChanges") or ()),
            replace_on_changes=tuple(options.get("replaceOnChanges") or ()),
            additional_secret_outputs=tuple(options.get("additionalSecretOutputs") or ()),
            aliases=tuple(map(_alias, options.get("aliases") or ())),
            import_id=str(options.get("import") or ""),
            custom_timeouts=_timeouts(options.get("customTimeouts") or {}),
            retain_on_delete=bool(options.get("retainOnDelete")),
            deleted_with=self._one_urn(options.get("deletedWith")),
        )
        if "get" in body:
            return _Resource(await self._read(registration, body["get"]), False)
        return _Resource(await self.run_.register(registration), kind.startswith(PROVIDER_TYPE))

    async def _read(self, registration: Registration, asked: Any) -> Registered:
        wanted = await self._evaluated(asked.get("id"))
        return await self.run_.read(registration, str(plain(wanted.value)))

    async def _evaluated(self, value: Any) -> _Value:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            parts = [await self._evaluated(item) for item in value]
            return _Value([part.value for part in parts], frozenset().union(*(part.urns for part in parts)))
        if isinstance(value, Mapping):
            if len(value) == 1 and str(next(iter(value))).startswith("fn::"):
                return await self._function(str(next(iter(value))), next(iter(value.values())))
            named = {str(key): await self._evaluated(item) for key, item in value.items()}
            urns = frozenset().union(*(part.urns for part in named.values()))
            return _Value({key: part.value for key, part in named.items()}, urns)
        return _Value(value)

    async def _function(self, name: str, argument: Any) -> _Value:
        if name == "fn::invoke":
            return await self._invoke(argument)
        evaluated = await self._evaluated(argument)
        return _Value(call_function(name, evaluated.value, self.project.folder), evaluated.urns)

    async def _invoke(self, body: Any) -> _Value:
        token = str(body.get("function", ""))
        arguments = await self._evaluated(body.get("arguments") or {})
        if has_unknown(arguments.value):
            return _Value(UNKNOWN_VALUE, arguments.urns)
        provider = self._provider((body.get("options") or {}).get("provider"))
        _, host = await self.run_.providers.of(Registration(_full_type(token), "", custom=True, provider=provider))
        answer = await host.invoke(_full_type(token), plain(arguments.value), preview=self.run_.dry_run)
        if answer.failures:
            raise ProviderFailed(f"{token}: {answer.failures[0].reason}")
        value: Any = from_struct(getattr(answer, "return"))
        return _Value(value.get(body["return"]) if "return" in body else value, arguments.urns)

    def _text(self, text: str) -> _Value:
        pieces = pieces_of(text)
        if len(pieces) == 1 and isinstance(pieces[0], Reference):
            return self._referred(pieces[0])
        parts = [self._referred(piece) if isinstance(piece, Reference) else _Value(piece) for piece in pieces]
        urns = frozenset().union(*(part.urns for part in parts)) if parts else frozenset()
        if any(has_unknown(part.value) for part in parts):
            joined: Any = UNKNOWN_VALUE
        else:
            joined = "".join(as_text(plain(part.value)) for part in parts)
        return _Value(secret(joined) if any(is_secret(part.value) for part in parts) else joined, urns)

    def _referred(self, reference: Reference) -> _Value:
        found = self._known[reference.name]
        if isinstance(found, _Value):
            return _Value(_walked(found.value, reference.steps, reference.text), found.urns)
        registered, steps = found.registered, reference.steps
        urns = frozenset({registered.urn})
        if not steps:
            raise ProviderFailed(f"${{{reference.text}}} is a whole resource; name one of its properties, or .id.")
        if steps[0] == "urn":
            return _Value(registered.urn, urns)
        if steps[0] == "id":
            return _Value(registered.id or UNKNOWN_VALUE, urns)
        if steps[0] not in registered.outputs and self.run_.dry_run:
            return _Value(UNKNOWN_VALUE, urns)
        return _Value(_walked(registered.outputs, steps, reference.text), urns)

    def _named(self, value: Any) -> list[Registered]:
        """Return the resources that an option names, `${one}` or a list of them."""
        found = []
        for text in value if isinstance(value, list) else [value] if value else []:
            pieces = pieces_of(str(text))
            known = (
                self._known.get(pieces[0].name) if len(pieces) == 1 and isinstance(pieces[0], Reference) else None
            )
            if not isinstance(known, _Resource):
                raise ProviderFailed(f"'{text}' names no resource; write ${{name}}.")
            found.append(known.registered)
        return found

    def _one_urn(self, value: Any) -> str:
        return self._named(value)[0].urn if value else ""

    def _provider(self, value: Any) -> str:
        if not value:
            return ""
        registered = self._named(value)[0]
        return f"{registered.urn}::{registered.id or UNKNOWN_VALUE}"


def _walked(value: Any, steps: tuple[str | int, ...], text: str) -> Any:
    for place, step in enumerate(steps):
        if is_secret(value):
            return secret(_walked(plain(value), steps[place:], text))
        if value == UNKNOWN_VALUE:
            return UNKNOWN_VALUE
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            raise ProviderFailed(f"${{{text}}}: there is no {step!r}.") from None
    return value


def _full_type(token: str) -> str:
    """Return a type token whole: `aws:s3:Bucket` is short for `aws:s3/bucket:Bucket`."""
    parts = token.split(":")
    if len(parts) == 2:
        return f"{parts[0]}:index:{parts[1]}" if parts[0] != "pulumi" else token
    if (
        len(parts) == 3
        and parts[0] not in ("pulumi", "pulumi-python")
        and "/" not in parts[1]
        and parts[1] != "index"
    ):
        return f"{parts[0]}:{parts[1]}/{parts[2][:1].lower()}{parts[2][1:]}:{parts[2]}"
    return token


def _alias(given: Any) -> AliasSpec:
    if isinstance(given, str):
        return AliasSpec(urn=given) if given.startswith("urn:") else AliasSpec(name=given)
    parent = "" if given.get("noParent") else given.get("parentUrn")
    return AliasSpec("", given.get("name"), given.get("type"), given.get("stack"), given.get("project"), parent)


def _timeouts(given: Mapping[str, Any]) -> dict[str, float]:
    try:
        return {name: duration_seconds(str(text)) for name, text in given.items()}
    except ValueError as error:
        raise ProviderFailed(str(error)) from error


def _wrong(what: str) -> CallerError:
    return CallerError(f"Pulumi.yaml cannot be run: {what}.", "Mend the program.", argument="folder")
