"""Reads every resource of the state from the world, and brings the state up to it."""

from dataclasses import dataclass, field

import anyio

from quantum_suite.services.infrastructure.embedded.changer import Changer
from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.providers import Providers
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.embedded.registration import PROVIDER_TYPE
from quantum_suite.services.infrastructure.interface import ResourceState


@dataclass(slots=True)
class Refreshing:
    """Reads, and keeps what was found so that it can be applied again without reading twice."""

    live: LiveState
    providers: Providers
    changer: Changer
    recorder: Recorder
    found: list[tuple[ResourceState, ResourceState | None]] = field(default_factory=list)

    async def read_all(self, targets: frozenset[str] = frozenset()) -> None:
        """Read every managed resource (or the targets). Raises ProviderFailed where one cannot be read."""
        wanted = [
            resource
            for resource in self.live.all()
            if resource.custom
            and not resource.delete
            and not resource.pending_replacement
            and not resource.external
            and not resource.type.startswith(PROVIDER_TYPE)
            and (not targets or resource.urn in targets)
        ]
        failures: list[str] = []

        async def read(resource: ResourceState) -> None:
            try:
                there = await self.changer.read(await self.providers.of_state(resource), resource)
            except ProviderFailed as error:
                failures.append(f"{resource.name}: {error.message}")
                return
            self.found.append((resource, there))

        async with anyio.create_task_group() as tasks:
            for resource in wanted:
                tasks.start_soon(read, resource)
        if failures:
            raise ProviderFailed(f"Not everything could be read. {'; '.join(sorted(failures)[:5])}")
        self.found.sort(key=lambda pair: pair[0].urn)

    async def apply(self, *, steps: bool) -> None:
        """Change the state by what was found; with `steps` each change is a step of the plan."""
        for old, there in self.found:
            drifted = self.recorder.drifted(old, None if there is None else there.outputs)
            if steps and drifted:
                self.recorder.step("refresh" if there is not None else "delete", there or old, old)
            if there is None:
                await self.live.change(drop=[old])
            elif there != old:
                await self.live.change(put=[there])
