"""Providers as the engine talks to them: one process each, reached by gRPC."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from pulumi.runtime.proto import provider_pb2 as wire
from pulumi.runtime.proto import provider_pb2_grpc, status_pb2

from quantum_suite.services.infrastructure.embedded.wire import from_struct, to_struct
from quantum_suite.services.infrastructure.values import marked_like, plain

MESSAGE_BYTES: Final = 400 * 1024 * 1024
CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # A proxy of the environment is none for this machine.
    ("grpc.enable_http_proxy", 0),
)
_LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_CALL_SECONDS = 3600.0


class ProviderFailed(Exception):
    """A provider's call failed. `lost` says that nobody knows whether it took effect."""

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.lost = lost


class InitFailed(ProviderFailed):
    """A resource was made, and is not as it should be yet."""

    def __init__(self, message: str, resource_id: str, outputs: dict[str, Any], reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.outputs = outputs
        self.reasons = tuple(reasons) or (message,)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a provider says of a change."""

    changed: bool | None
    """None: it does not know, the inputs decide."""
    replaces: tuple[str, ...] = ()
    delete_before_replace: bool = False
    stables: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a provider read."""

    id: str
    outputs: dict[str, Any]
    inputs: dict[str, Any] | None


@dataclass(slots=True)
class ProviderHost:
    """A provider's process, configured. Secrets go to it marked only if it takes them so."""

    stub: "provider_pb2_grpc.ResourceProviderAsyncStub"
    package: str
    takes_secrets: bool = False
    previews: bool = False
    configured: bool = False
    """False where its configuration is not known yet (in a preview): then it can only be asked later."""
    seen: list[str] = field(default_factory=list)

    def _sent(self, value: Mapping[str, Any]) -> Any:
        return to_struct(value if self.takes_secrets else plain(value))

    async def configure(self, values: Mapping[str, Any], urn: str = "", provider_id: str = "") -> None:
        """Hand the configuration over; raises ProviderFailed."""
        request = wire.ConfigureRequest(
            variables={key: str(plain(value)) for key, value in values.items()},
            args=to_struct(plain(values)),
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
        )
        if urn:
            request.urn, request.id, request.name = urn, provider_id, urn.rpartition("::")[2]
        with _told():
            answer = await self.stub.Configure(request, timeout=_CALL_SECONDS)
        self.takes_secrets, self.previews = answer.acceptSecrets, answer.supportsPreview
        self.configured = True

    async def check_config(self, urn: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
        """Return a provider resource's inputs, checked; a provider that checks nothing takes them as they are."""
        request = wire.CheckRequest(urn=urn, olds=to_struct(plain(olds)), news=to_struct(plain(news)))
        return await self._checked(self.stub.CheckConfig, request, news)

    async def check(self, urn: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs with defaults, checked; raises ProviderFailed naming the property."""
        request = wire.CheckRequest(
            urn=urn, olds=self._sent(olds), news=self._sent(news), name=_name(urn), type=_type(urn)
        )
        return await self._checked(self.stub.Check, request, news)

    async def _checked(self, call: Any, request: wire.CheckRequest, news: Mapping[str, Any]) -> dict[str, Any]:
        try:
            with _told():
                answer = await call(request, timeout=_CALL_SECONDS)
        except _NotThere:
            return dict(news)
        if answer.failures:
            told = "; ".join(f"{one.property}: {one.reason}" for one in answer.failures)
            raise ProviderFailed(told)
        checked: dict[str, Any] = marked_like(from_struct(answer.inputs), news)
        return checked

    async def diff(
        self,
        urn: str,
        resource_id: str,
        old: tuple[Mapping[str, Any], Mapping[str, Any]],
        news: Mapping[str, Any],
        ignored: Sequence[str] = (),
    ) -> Difference:
        """Return what differs between `old` (its inputs and outputs) and new inputs; raises ProviderFailed."""
        request = wire.DiffRequest(
            id=resource_id,
            urn=urn,
            olds=self._sent(old[1]),
            old_inputs=self._sent(old[0]),
            news=self._sent(news),
            ignoreChanges=ignored,
            name=_name(urn),
            type=_type(urn),
        )
        return await self._differs(self.stub.Diff, request)

    async def diff_config(
        self, urn: str, resource_id: str, olds: Mapping[str, Any], news: Mapping[str, Any]
    ) -> Difference:
        """`diff` for a provider resource; one that does not compare says that it does not know."""
        request = wire.DiffRequest(
            id=resource_id,
            urn=urn,
            olds=to_struct(plain(olds)),
            old_inputs=to_struct(plain(olds)),
            news=to_struct(plain(news)),
        )
        try:
            return await self._differs(self.stub.DiffConfig, request)
        except _NotThere:
            return Difference(None)

    async def _differs(self, call: Any, request: wire.DiffRequest) -> Difference:
        with _told():
            answer = await call(request, timeout=_CALL_SECONDS)
        detailed = answer.detailedDiff
        replacing = {
            wire.PropertyDiff.ADD_REPLACE,
            wire.PropertyDiff.DELETE_REPLACE,
            wire.PropertyDiff.UPDATE_REPLACE,
        }
        replaces = [*answer.replaces, *(path for path, one in detailed.items() if one.kind in replacing)]
        unknown = answer.changes == wire.DiffResponse.DIFF_UNKNOWN
        return Difference(
            changed=None if unknown and not replaces else answer.changes != wire.DiffResponse.DIFF_NONE,
            replaces=tuple(dict.fromkeys(replaces)),
            delete_before_replace=answer.deleteBeforeReplace,
            stables=tuple(answer.stables),
            paths=(*answer.diffs, *detailed),
        )

    async def create(
        self, urn: str, inputs: Mapping[str, Any], *, preview: bool = False, seconds: float = 0.0
    ) -> tuple[str, dict[str, Any]]:
        """Create; returns id and outputs. Raises InitFailed and ProviderFailed."""
        request = wire.CreateRequest(
            urn=urn,
            properties=self._sent(inputs),
            timeout=seconds,
            preview=preview,
            name=_name(urn),
            type=_type(urn),
        )
        with _told():
            answer = await self.stub.Create(request, timeout=seconds or _CALL_SECONDS)
        return answer.id, marked_like(from_struct(answer.properties), inputs)

    async def update(
        self,
        urn: str,
        resource_id: str,
        old: tuple[Mapping[str, Any], Mapping[str, Any]],
        news: Mapping[str, Any],
        *,
        ignored: Sequence[str] = (),
        preview: bool = False,
        seconds: float = 0.0,
    ) -> dict[str, Any]:
        """Update; returns the outputs. Raises InitFailed and ProviderFailed."""
        request = wire.UpdateRequest(
            id=resource_id,
            urn=urn,
            olds=self._sent(old[1]),
            old_inputs=self._sent(old[0]),
            news=self._sent(news),
            ignoreChanges=ignored,
            preview=preview,
            timeout=seconds,
            name=_name(urn),
            type=_type(urn),
        )
        with _told():
            answer = await self.stub.Update(request, timeout=seconds or _CALL_SECONDS)
        outputs: dict[str, Any] = marked_like(from_struct(answer.properties), news)
        return outputs

    async def delete(
        self,
        urn: str,
        resource_id: str,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        seconds: float = 0.0,
    ) -> None:
        """Delete; raises ProviderFailed."""
        request = wire.DeleteRequest(
            id=resource_id,
            urn=urn,
            properties=self._sent(outputs),
            old_inputs=self._sent(inputs),
            timeout=seconds,
            name=_name(urn),
            type=_type(urn),
        )
        with _told():
            await self.stub.Delete(request, timeout=seconds or _CALL_SECONDS)

    async def read(
        self,
        urn: str,
        resource_id: str,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
    ) -> Found | None:
        """Return what is there under an id; None when nothing is. Raises ProviderFailed."""
        request = wire.ReadRequest(
            id=resource_id,
            urn=urn,
            inputs=self._sent(inputs),
            properties=self._sent(outputs or {}),
            name=_name(urn),
            type=_type(urn),
        )
        with _told():
            answer = await self.stub.Read(request, timeout=seconds or _CALL_SECONDS)
        if not answer.id:
            return None
        model = {**inputs, **(outputs or {})}
        found_inputs = marked_like(from_struct(answer.inputs), inputs) if answer.inputs.fields else None
        return Found(answer.id, marked_like(from_struct(answer.properties), model), found_inputs)

    async def invoke(self, token: str, arguments: Mapping[str, Any], *, preview: bool) -> wire.InvokeResponse:
        """Call a function of the provider's; raises ProviderFailed."""
        request = wire.InvokeRequest(tok=token, args=self._sent(arguments), preview=preview)
        try:
            with _told():
                answer: wire.InvokeResponse = await self.stub.Invoke(request, timeout=_CALL_SECONDS)
        except _NotThere as error:
            raise ProviderFailed(f"The provider of {self.package} has no function {token}.") from error
        return answer


class _NotThere(ProviderFailed):
    """The provider does not implement the call."""


@contextlib.contextmanager
def _told() -> Any:
    """Turn gRPC's errors into ours."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        code, details = error.code(), error.details() or ""
        if code == grpc.StatusCode.UNIMPLEMENTED or "is not implemented by the dynamic provider" in details:
            raise _NotThere(details or "not implemented") from None
        initialised = _init_failure(error)
        if initialised is not None:
            raise InitFailed(
                details or "it did not come up as it should",
                initialised.id,
                from_struct(initialised.properties),
                list(initialised.reasons),
            ) from None
        lost = code in _LOST
        raise ProviderFailed(_last_words(details) if not lost else f"{code.name}: {details}", lost=lost) from None


def _init_failure(error: grpc.aio.AioRpcError) -> wire.ErrorResourceInitFailed | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = status_pb2.Status()
            with contextlib.suppress(Exception):  # foreign bytes: what does not parse tells nothing
                status.ParseFromString(value)
                for detail in status.details:
                    found = wire.ErrorResourceInitFailed()
                    if detail.Unpack(found):
                        return found
    return None


def _last_words(details: str) -> str:
    """Return what a traceback comes down to, with the traceback below it."""
    lines = [line for line in details.strip().splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Traceback"):
        return lines[-1]
    return details.strip() or "the provider gave no reason"


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2] if urn.count("::") > 2 else ""
