"""Everything the upstreams offer, as one list under stable names.

A tool or prompt is called `<prefix>_<name>` (the prefix is the upstream's name unless its entry says otherwise,
and may be empty); a resource keeps its URI. A name belongs to the upstream that claimed it first (at the same
moment: the earlier one in the configuration) for as long as that upstream is configured and offers it: while it
is away the name is withdrawn, never handed to another. Every other claim to the name is refused and reported.

A catalogue is an immutable snapshot; any change makes a new one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson
from mcp.shared.uri_template import UriTemplate

from quantum_suite.hub.call import Json
from quantum_suite.hub.offer import Offer
from quantum_suite.hub.subscriptions import ListKind
from quantum_suite.hub.target import LongRunning, Target
from quantum_suite.hub.tasks.extension import ASKS_FIRST, IDEMPOTENCY_KEY, LONG_RUNNING


@dataclass(frozen=True, slots=True)
class Claim:
    """What one upstream puts into the catalogue."""

    upstream: str
    prefix: str
    offer: Offer
    present: bool = True
    """False while the upstream is away: its names stay its own, but are not listed."""
    own: bool = False
    """Whether it runs in this process: what its templates describe nobody else can claim, listed or not."""
    long_running: frozenset[str] = frozenset()
    """Its tools, by its own names, that the configuration calls long-running."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list: what a client is shown, and what a call to it means."""

    shown: Json
    target: Target
    present: bool


@dataclass(frozen=True, slots=True)
class TemplateEntry:
    """One resource template, ready to be matched against a URI."""

    shown: Json
    target: Target
    present: bool
    template: UriTemplate | None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All entries by public name, in name order."""

    tools: Mapping[str, Entry] = field(default_factory=dict)
    prompts: Mapping[str, Entry] = field(default_factory=dict)
    resources: Mapping[str, Entry] = field(default_factory=dict)
    templates: Mapping[str, TemplateEntry] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Upstream name to the public names it claimed in vain."""
    matching: tuple[tuple[bool, TemplateEntry], ...] = ()
    """The templates in the order they are tried, with whether their owner runs in this process: those first."""

    def resource(self, uri: str) -> Target | None:
        """Return what `uri` stands for: a listed resource, else the first template it matches.

        Templates are tried in the order of the configuration, so that no upstream redirects what an earlier one
        answers. What matches a template of a server in this process is that server's even where another lists it.
        """
        listed = self.resources.get(uri)
        for own, entry in self.matching:
            if listed is not None and (not own or entry.target.upstream == listed.target.upstream):
                break
            if entry.template is not None and entry.template.match(uri) is not None:
                return _resource_target(uri, entry.target.upstream)
        return listed.target if listed is not None else None


def changed_lists(before: Catalogue, after: Catalogue) -> list[ListKind]:
    """Return the lists that clients would see change between two snapshots; templates count as resources."""
    kinds: list[ListKind] = []
    if _shown(before.tools) != _shown(after.tools):
        kinds.append("tools")
    if _shown(before.prompts) != _shown(after.prompts):
        kinds.append("prompts")
    if (_shown(before.resources), _shown(before.templates)) != (_shown(after.resources), _shown(after.templates)):
        kinds.append("resources")
    return kinds


def _shown(entries: Mapping[str, Entry] | Mapping[str, TemplateEntry]) -> dict[str, Json]:
    return {name: entry.shown for name, entry in entries.items() if entry.present}


def public_name(prefix: str, name: str) -> str:
    """Return the name clients use for an upstream's tool or prompt."""
    return f"{prefix}_{name}" if prefix else name


def build_catalogue(claims: Sequence[Claim], previous: Catalogue | None = None) -> Catalogue:
    """Put the claims together into the snapshot that follows `previous`.

    Who owned a name in `previous` keeps it while it still claims it; a new name goes to the earliest claim.
    """
    before = previous or Catalogue()
    refused: dict[str, list[str]] = {claim.upstream: [] for claim in claims}
    tools: dict[str, Entry] = {}
    prompts: dict[str, Entry] = {}
    resources: dict[str, Entry] = {}
    templates: dict[str, TemplateEntry] = {}
    for claim, name, shown in _granted(claims, "tools", before.tools, refused):
        target = _tool_target(name, claim, shown)
        tools[name] = Entry(_tool_shown(name, shown, target), target, claim.present)
    for claim, name, shown in _granted(claims, "prompts", before.prompts, refused):
        target = Target("prompt", name, claim.upstream, shown["name"], read_only=True)
        prompts[name] = Entry({**shown, "name": name}, target, claim.present)
    for claim, uri, shown in _granted(claims, "resources", before.resources, refused):
        resources[uri] = Entry(shown, _resource_target(uri, claim.upstream), claim.present)
    for claim, uri, shown in _granted(claims, "templates", before.templates, refused):
        target = _resource_target(uri, claim.upstream)
        templates[uri] = TemplateEntry(shown, target, claim.present, _parsed(uri))
    rank = {claim.upstream: (not claim.own, number) for number, claim in enumerate(claims)}
    ordered = sorted(templates.values(), key=lambda entry: (rank[entry.target.upstream], entry.target.name))
    return Catalogue(
        matching=tuple((not rank[entry.target.upstream][0], entry) for entry in ordered),
        tools=dict(sorted(tools.items())),
        prompts=dict(sorted(prompts.items())),
        resources=dict(sorted(resources.items())),
        templates=dict(sorted(templates.items())),
        refused={upstream: tuple(names) for upstream, names in refused.items() if names},
    )


_ListName = Literal["tools", "prompts", "resources", "templates"]


def _claimed(claim: Claim, kind: _ListName) -> Iterator[tuple[str, Json]]:
    match kind:
        case "tools" | "prompts":
            offered = claim.offer.tools if kind == "tools" else claim.offer.prompts
            yield from ((public_name(claim.prefix, shown["name"]), shown) for shown in offered)
        case "resources":
            yield from ((shown["uri"], shown) for shown in claim.offer.resources)
        case "templates":
            yield from ((shown["uriTemplate"], shown) for shown in claim.offer.templates)


def _granted(
    claims: Sequence[Claim],
    kind: _ListName,
    before: Mapping[str, Entry] | Mapping[str, TemplateEntry],
    refused: dict[str, list[str]],
) -> Iterator[tuple[Claim, str, Json]]:
    """Yield each name once, with the claim it belongs to; the other claims to it are noted in `refused`."""
    owners: dict[str, str] = {}
    for claim in claims:
        for name, _ in _claimed(claim, kind):
            held = before.get(name)
            if name not in owners or (held is not None and held.target.upstream == claim.upstream):
                owners[name] = claim.upstream
    for claim in claims:
        for name, shown in _claimed(claim, kind):
            if owners[name] == claim.upstream:
                yield claim, name, shown
            else:
                refused[claim.upstream].append(name)


def _resource_target(uri: str, upstream: str) -> Target:
    return Target("resource", uri, upstream, uri, read_only=True)


def _parsed(template: str) -> UriTemplate | None:
    try:
        return UriTemplate.parse(template)
    except ValueError:
        return None  # listed as the upstream gave it, but no URI can be recognised by it


def _tool_target(name: str, claim: Claim, shown: Json) -> Target:
    """Resolve the annotations' defaults (MCP schema, ToolAnnotations): not read-only, and then destructive."""
    hints = _object(shown.get("annotations"))
    meta = _object(shown.get("_meta"))
    read_only = hints.get("readOnlyHint") is True
    support = _object(shown.get("execution")).get("taskSupport")
    return Target(
        "tool",
        name,
        claim.upstream,
        shown["name"],
        read_only=read_only,
        destructive=not read_only and hints.get("destructiveHint") is not False,
        idempotent=read_only or hints.get("idempotentHint") is True,
        input_schema=shown["inputSchema"],
        mirrors_params=b'"x-mcp-header"' in orjson.dumps(shown["inputSchema"]),
        long_running=_long_running(meta, support, configured=shown["name"] in claim.long_running),
        asks_first=meta.get(ASKS_FIRST) is True,
        takes_idempotency_key=meta.get(IDEMPOTENCY_KEY) is True,
        task_support=support if support in ("optional", "required") else None,
    )


def _long_running(meta: Json, support: object, *, configured: bool) -> LongRunning:
    """Say how a tool is marked. A server's `required` binds the hub, which can wait for clients; a tool's own
    does not want to be waited for."""
    marked = meta.get(LONG_RUNNING)
    if marked == "required":
        return "required"
    return "optional" if marked is True or configured or support in ("optional", "required") else "no"


def _tool_shown(name: str, shown: Json, target: Target) -> Json:
    """Return the tool as lists show it: `execution` says what the hub does, whatever its server does."""
    kept = {key: value for key, value in shown.items() if key != "execution"}
    if target.long_running == "no":
        return {**kept, "name": name}
    return {**kept, "name": name, "execution": {"taskSupport": target.long_running}}


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
