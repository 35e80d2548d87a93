"""Has Pulumi policy packs judge resources and the stack (the Analyzer service of pulumi/pulumi's protocol)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import grpc
from pulumi.runtime.proto import analyzer_pb2 as wire
from pulumi.runtime.proto import analyzer_pb2_grpc

from quantum_suite.core.errors import CallerError, EngineError
from quantum_suite.services.infrastructure.embedded.plugins import Plugins
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.embedded.registration import PROVIDER_TYPE, STACK_TYPE, Registration
from quantum_suite.services.infrastructure.embedded.wire import to_struct
from quantum_suite.services.infrastructure.interface import ResourceState
from quantum_suite.services.infrastructure.plan import EnforcementLevel, PolicyVerdict
from quantum_suite.services.infrastructure.values import plain

if TYPE_CHECKING:
    AnalyzerClient: TypeAlias = analyzer_pb2_grpc.AnalyzerAsyncStub

_LEVELS: Final[Mapping[int, EnforcementLevel]] = {
    wire.ADVISORY: "advisory",
    wire.MANDATORY: "mandatory",
    wire.REMEDIATE: "mandatory",  # Nothing is changed behind the program's back, so what is wrong stays wrong.
    wire.DISABLED: "disabled",
}
Severity = Literal["", "low", "medium", "high", "critical"]
_SEVERITIES: Final[Mapping[int, Severity]] = {
    wire.POLICY_SEVERITY_LOW: "low",
    wire.POLICY_SEVERITY_MEDIUM: "medium",
    wire.POLICY_SEVERITY_HIGH: "high",
    wire.POLICY_SEVERITY_CRITICAL: "critical",
}
_SECONDS = 120.0


@dataclass(slots=True)
class Analysis:
    """The packs of a run; without packs it says nothing. It looks, in a preview: a run is held to its plan."""

    recorder: Recorder
    packs: "Sequence[tuple[str, AnalyzerClient]]" = ()

    async def resource(self, resource: ResourceState, registration: Registration) -> None:
        """Have a resource judged as it is about to be. Raises EngineError when a pack fails."""
        for name, analyzer in self.packs:
            request = wire.AnalyzeRequest(
                type=resource.type,
                properties=to_struct(_visible(resource.inputs)),
                urn=resource.urn,
                name=resource.name,
                options=_options(resource, registration),
            )
            await self._asked(name, analyzer.Analyze, request)

    async def stack(self, resources: Sequence[ResourceState]) -> None:
        """Have the whole stack judged, as it will be."""
        judged = [one for one in resources if not one.delete and not one.type.startswith(PROVIDER_TYPE)]
        request = wire.AnalyzeStackRequest(
            resources=[
                wire.AnalyzerResource(
                    type=one.type,
                    properties=to_struct(_visible({**one.inputs, **one.outputs})),
                    urn=one.urn,
                    name=one.name,
                    parent=one.parent,
                    dependencies=list(one.dependencies),
                    propertyDependencies={
                        key: wire.AnalyzerPropertyDependencies(urns=urns)
                        for key, urns in one.property_dependencies.items()
                    },
                )
                for one in judged
                if one.type != STACK_TYPE
            ]
        )
        for name, analyzer in self.packs:
            await self._asked(name, analyzer.AnalyzeStack, request)

    async def _asked(self, name: str, call: Any, request: Any) -> None:
        try:
            answer = await call(request, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            said = self.recorder.masks.masked(error.details() or error.code().name)
            raise EngineError(
                f"The policy pack {name} failed, so nothing is known of what it would say: {said}",
                "Mend the pack, or leave it out.",
                engine="pulumi-policy",
            ) from error
        self.recorder.verdicts += [self._verdict(one) for one in answer.diagnostics]

    def _verdict(self, told: wire.AnalyzeDiagnostic) -> PolicyVerdict:
        return PolicyVerdict(
            pack=told.policyPackName,
            rule=told.policyName,
            level=_LEVELS.get(told.enforcementLevel, "mandatory"),
            message=self.recorder.masks.masked(told.message.strip()),
            urn=told.urn,
            severity=_SEVERITIES.get(told.severity, ""),
        )


async def open_packs(
    plugins: Plugins, python: Path, folders: Sequence[Path], env: Mapping[str, str]
) -> "list[tuple[str, AnalyzerClient]]":
    """Start policy packs written in Python; raises CallerError for a folder that holds none, and EngineError."""
    packs: list[tuple[str, AnalyzerClient]] = []
    for folder in folders:
        if not (folder / "PulumiPolicy.yaml").is_file() or not (folder / "__main__.py").is_file():
            raise CallerError(
                f"{folder} holds no policy pack.",
                "A pack is a folder with PulumiPolicy.yaml (runtime: python) and __main__.py.",
                argument="policy_packs",
            )
        command = [str(python), "-m", "pulumi.policy", plugins.engine_address or "127.0.0.1:0", str(folder)]
        address = await plugins.serve(command, [folder], f"the policy pack {folder.name}", env)
        channel = plugins.channel(address)
        packs.append((folder.name, cast("AnalyzerClient", analyzer_pb2_grpc.AnalyzerStub(channel))))
    return packs


def _visible(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in plain(values).items() if not key.startswith("__")}


def _options(resource: ResourceState, registration: Registration) -> wire.AnalyzerResourceOptions:
    return wire.AnalyzerResourceOptions(
        protect=resource.protect,
        ignoreChanges=list(registration.ignore_changes),
        deleteBeforeReplace=bool(registration.delete_before_replace),
        deleteBeforeReplaceDefined=registration.delete_before_replace is not None,
        additionalSecretOutputs=list(resource.additional_secret_outputs),
        parent=resource.parent,
    )
