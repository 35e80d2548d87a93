"""What a task's run is begun with: the call, as plain JSON, without anything that proves who made it."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from quantum_suite.core.masking import is_secret_name
from quantum_suite.core.principals import Principal, Role
from quantum_suite.hub.call import (
    LATEST_MODERN,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_VERSION,
    Call,
    Credentials,
    Era,
    Json,
    Peer,
)
from quantum_suite.hub.tasks.extension import IDEMPOTENCY_KEY, RELATED_TASK, declaring_tasks
from quantum_suite.services.workflows.interface import Owner

PROGRESS_TOKEN = "task"  # noqa: S105 - the protocol's name for what ties progress to its request

_OF_ONE_REQUEST = frozenset({"progressToken", META_LOG_LEVEL, RELATED_TASK})


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One tool call, on its way to becoming a task's work."""

    call_id: str
    params: Json
    """As the pipeline left them, in the modern form; `_meta` without what belongs to one request, and without
    anything named like a secret."""
    capabilities: Json
    """What the client can be asked."""
    client_info: Json | None
    era: Era
    protocol_version: str
    """The client's own."""
    transport: Literal["stdio", "http", "inprocess"]
    headers: dict[str, str]
    ttl_ms: int
    question_seconds: float
    """How long the client may take to answer a question."""
    repeatable: bool
    """Whether the call may be made again when nobody knows if it took effect."""
    server_task: Json | None = None
    """The task that the server has made of the call already, where it has."""

    @classmethod
    def of(cls, call: Call, *, ttl_seconds: float, question_seconds: float, server_task: Json | None) -> Self:
        """Record a call that is about to become a task."""
        capabilities = {name: value for name, value in call.client_capabilities.items() if name != "tasks"}
        target = call.target
        return cls(
            call_id=call.id,
            params={**call.params, "_meta": _kept_meta(call, capabilities)},
            capabilities=capabilities,
            client_info=call.client_info,
            era=call.era,
            protocol_version=call.protocol_version,
            transport=call.credentials.transport,
            headers=dict(call.headers),
            ttl_ms=round(ttl_seconds * 1000),
            question_seconds=question_seconds,
            repeatable=target is not None and (target.repeatable or target.takes_idempotency_key),
            server_task=server_task,
        )

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Read what `as_json` wrote."""
        return cls(**stored)

    def as_json(self) -> Json:
        """Return the record as a run's arguments."""
        return asdict(self)

    def call(self, owner: Owner, peer: Peer, params: Json, server_task: Json | None, key: str) -> Call:
        """Return the call as a worker makes it: the client's own in every record, the owner's in every right."""
        meta = {**params["_meta"], "progressToken": PROGRESS_TOKEN, IDEMPOTENCY_KEY: key}
        return Call(
            id=self.call_id,
            method="tools/call",
            params={**params, "_meta": meta},
            era=self.era,
            protocol_version=self.protocol_version,
            credentials=Credentials(self.transport, loopback=True),
            peer=peer,
            client_capabilities=self.capabilities,
            client_info=self.client_info,
            principal=principal_of(owner),
            headers=dict(self.headers),
            takes_task=True,
            server_task=server_task,
            question_seconds=self.question_seconds,
        )


def in_modern_form(call: Call) -> Call:
    """Return the call as the router takes it: a task's work is modern whatever era its client speaks."""
    return replace(call, era="modern", protocol_version=LATEST_MODERN)


def owner_of(principal: Principal) -> Owner:
    """Return for whom a run works."""
    return Owner(principal.id, tuple(sorted(role.value for role in principal.roles)), principal.workspaces)


def principal_of(owner: Owner) -> Principal:
    """Return the owner as it was known when the run began."""
    workspaces = None if owner.workspaces is None else tuple(owner.workspaces)
    return Principal(owner.principal, frozenset(Role(role) for role in owner.roles), workspaces)


def _kept_meta(call: Call, capabilities: Json) -> Json:
    meta = call.params.get("_meta")
    kept = {
        name: value
        for name, value in (meta if isinstance(meta, dict) else {}).items()
        if name not in _OF_ONE_REQUEST and not is_secret_name(name)
    }
    kept[META_VERSION] = LATEST_MODERN
    kept[META_CLIENT_CAPABILITIES] = declaring_tasks(capabilities)
    if call.client_info is not None:
        kept[META_CLIENT_INFO] = call.client_info
    return kept
