"""The two services a Pulumi program speaks to, ResourceMonitor and Engine, on top of a run."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    callback_pb2,
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    resource_pb2,
    resource_pb2_grpc,
)

from quantum_suite.core.errors import SuiteError
from quantum_suite.services.infrastructure.embedded.deploying import Deploying, Registered
from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.embedded.registration import Registration, registration_of
from quantum_suite.services.infrastructure.embedded.wire import from_struct, to_struct
from quantum_suite.services.infrastructure.state.format import ENGINE_VERSION
from quantum_suite.services.infrastructure.values import has_unknown

Context = Any
_Answer = TypeVar("_Answer")

_FEATURES: Final = {
    "secrets": resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    "resourceReferences": resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
    "aliasSpecs": resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    "deletedWith": resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    "replaceWith": resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
}
"""What programs may count on. An SDK refuses by itself to use what is not listed, saying which option it was."""

_WARNING = engine_pb2.WARNING


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """Answers a program's registrations."""

    def __init__(self, run: Deploying, config: dict[str, str], secret_keys: list[str], parallel: int) -> None:
        self._run = run
        self._config = config
        self._secret_keys = secret_keys
        self._parallel = parallel
        self.failure: SuiteError | None = None
        """What ended a call that is no fault of the program's or a provider's."""

    async def _told(self, context: Context, urn: str, work: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Turn failures into gRPC's, with secrets masked; the program fails with them."""
        recorder = self._run.recorder
        try:
            return await work()
        except ProviderFailed as error:
            if not any(failed == urn for failed, _ in recorder.failures):
                recorder.failed(urn, error.message)
            message = recorder.masks.masked(error.message)
        except SuiteError as error:
            self.failure = self.failure or error
            message = recorder.masks.masked(str(error))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{urn}: {message}")
        raise AssertionError("abort raises")

    async def GetDeploymentInfo(  # noqa: N802 - the protocol's name
        self, request: empty_pb2.Empty, context: Context
    ) -> resource_pb2.DeploymentInfo:
        """Say what is deployed, and what programs may count on."""
        return resource_pb2.DeploymentInfo(
            project=self._run.names.project,
            stack=self._run.names.stack,
            organization="organization",
            configSecretKeys=self._secret_keys,
            dryRun=self._run.dry_run,
            parallel=self._parallel,
            supportedFeatures=list(_FEATURES.values()),
            config=self._config,
        )

    async def SupportsFeature(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.SupportsFeatureRequest, context: Context
    ) -> resource_pb2.SupportsFeatureResponse:
        """Say whether programs may count on something."""
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _FEATURES)

    async def RegisterResource(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.RegisterResourceRequest, context: Context
    ) -> resource_pb2.RegisterResourceResponse:
        """Bring a resource to what the program says."""
        name = f"{request.type} {request.name}"

        async def register() -> Registered:
            if request.remote:
                raise ProviderFailed("Components that run in a provider plugin are not supported by this engine.")
            try:
                registration = registration_of(request)
            except ValueError as error:
                raise ProviderFailed(str(error)) from error
            return await self._run.register(registration)

        registered = await self._told(context, name, register)
        return resource_pb2.RegisterResourceResponse(
            urn=registered.urn, id=registered.id, object=to_struct(_told_outputs(registered))
        )

    async def RegisterResourceOutputs(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.RegisterResourceOutputsRequest, context: Context
    ) -> empty_pb2.Empty:
        """Take a component's outputs."""
        await self._run.take_outputs(request.urn, from_struct(request.outputs))
        return empty_pb2.Empty()

    async def ReadResource(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.ReadResourceRequest, context: Context
    ) -> resource_pb2.ReadResourceResponse:
        """Look a resource up that something else manages."""

        async def read() -> Registered:
            if request.type == "pulumi:pulumi:StackReference":
                raise ProviderFailed("References to other stacks are not supported by this engine.")
            registration = Registration(
                type=request.type,
                name=request.name,
                parent=request.parent,
                custom=True,
                inputs=from_struct(request.properties),
                dependencies=tuple(request.dependencies),
                provider=request.provider,
                version=request.version,
                additional_secret_outputs=tuple(request.additionalSecretOutputs),
            )
            return await self._run.read(registration, request.id)

        found = await self._told(context, f"{request.type} {request.name}", read)
        return resource_pb2.ReadResourceResponse(urn=found.urn, id=found.id, properties=to_struct(found.outputs))

    async def Invoke(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.ResourceInvokeRequest, context: Context
    ) -> resource_pb2.ResourceInvokeResponse:
        """Call a provider's function."""

        async def invoke() -> provider_pb2.InvokeResponse:
            package = request.tok.partition(":")[0]
            if package == "pulumi":
                raise ProviderFailed(f"{request.tok} is not supported by this engine.")
            arguments = from_struct(request.args)
            registration = Registration(
                type=request.tok, name="", provider=request.provider, version=request.version, custom=True
            )
            _, host = await self._run.providers.of(registration)
            if not host.configured or has_unknown(arguments):
                return provider_pb2.InvokeResponse()
            return await host.invoke(request.tok, arguments, preview=self._run.dry_run)

        answer = await self._told(context, request.tok, invoke)
        response = resource_pb2.ResourceInvokeResponse(failures=answer.failures)
        getattr(response, "return").CopyFrom(getattr(answer, "return"))
        return response

    async def Call(self, request: resource_pb2.ResourceCallRequest, context: Context) -> Any:  # noqa: N802 - as above
        """Refuse: methods live in component plugins."""
        await _unsupported(context, f"the method {request.tok} of a component in a provider plugin")

    async def RegisterPackage(  # noqa: N802 - the protocol's name
        self, request: resource_pb2.RegisterPackageRequest, context: Context
    ) -> Any:
        """Refuse parameterised packages; others need no registration."""
        await _unsupported(context, f"the parameterised package {request.name}")

    async def RegisterStackTransform(  # noqa: N802 - the protocol's name
        self, request: callback_pb2.Callback, context: Context
    ) -> Any:
        """Refuse: transforms would be run by the program while it waits."""
        await _unsupported(context, "transforms (use `transformations`, which need no engine)")

    async def RegisterStackInvokeTransform(  # noqa: N802 - the protocol's name
        self, request: callback_pb2.Callback, context: Context
    ) -> Any:
        """Refuse, as `RegisterStackTransform` does."""
        await _unsupported(context, "invoke transforms")

    async def SignalAndWaitForShutdown(  # noqa: N802 - the protocol's name
        self, request: empty_pb2.Empty, context: Context
    ) -> empty_pb2.Empty:
        """Let the program go: nothing that comes after needs it (there are no hooks)."""
        return empty_pb2.Empty()


class EngineService(engine_pb2_grpc.EngineServicer):
    """Takes what programs and providers log."""

    def __init__(self, run: Deploying) -> None:
        self._run = run
        self._root = ""

    async def Log(self, request: engine_pb2.LogRequest, context: Context) -> empty_pb2.Empty:  # noqa: N802 - as above
        """Keep warnings and errors, masked; the program's information is its own."""
        if request.severity >= _WARNING or (request.severity == engine_pb2.INFO and request.message.strip()):
            self._run.recorder.message(request.message.strip())
        return empty_pb2.Empty()

    async def GetRootResource(  # noqa: N802 - the protocol's name
        self, request: engine_pb2.GetRootResourceRequest, context: Context
    ) -> engine_pb2.GetRootResourceResponse:
        """Return the root's URN."""
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    async def SetRootResource(  # noqa: N802 - the protocol's name
        self, request: engine_pb2.SetRootResourceRequest, context: Context
    ) -> engine_pb2.SetRootResourceResponse:
        """Take the root's URN."""
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    async def RequirePulumiVersion(  # noqa: N802 - the protocol's name
        self, request: engine_pb2.RequirePulumiVersionRequest, context: Context
    ) -> engine_pb2.RequirePulumiVersionResponse:
        """Say yes: the protocol spoken is that of the SDK installed."""
        self._run.recorder.message(
            f"The program asks for Pulumi {request.pulumi_version_range}; this engine speaks as {ENGINE_VERSION}."
        )
        return engine_pb2.RequirePulumiVersionResponse()


def _told_outputs(registered: Registered) -> dict[str, Any]:
    return dict(registered.outputs)


async def _unsupported(context: Context, what: str) -> NoReturn:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"This engine does not support {what}.")
    raise AssertionError("abort raises")
