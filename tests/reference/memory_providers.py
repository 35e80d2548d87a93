"""Providers that live in memory, and runs against them: the engine's decisions without processes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from quantum_suite.services.infrastructure.embedded.analysis import Analysis
from quantum_suite.services.infrastructure.embedded.changer import Changer
from quantum_suite.services.infrastructure.embedded.deletions import Deletions
from quantum_suite.services.infrastructure.embedded.deploying import Deploying
from quantum_suite.services.infrastructure.embedded.hosts import Difference, Found, ProviderFailed
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.masks import Masks
from quantum_suite.services.infrastructure.embedded.recorder import Recorder
from quantum_suite.services.infrastructure.embedded.refreshing import Refreshing
from quantum_suite.services.infrastructure.embedded.registration import STACK_TYPE, Names, Registration
from quantum_suite.services.infrastructure.interface import Deployment, ResourceState, unheard
from quantum_suite.services.infrastructure.values import UNKNOWN_VALUE, has_unknown, plain

PROVIDER_REFERENCE = "urn:pulumi:dev::shop::pulumi:providers:mem::default::1"


@dataclass
class MemoryHost:
    """A provider of things with a name: `key` forces a replacement, everything else can be updated."""

    world: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    fail: set[str] = field(default_factory=set)
    """Calls that fail, as `create a`."""
    lose: set[str] = field(default_factory=set)
    """Calls whose answer is lost, after they took effect."""
    identity: bool = False
    first: bool = False
    """Whether its replacements delete first."""
    configured: bool = True
    previews: bool = False
    numbers: int = 0

    def _heard(self, call: str, urn: str) -> None:
        told = f"{call} {urn.rpartition('::')[2]}"
        self.calls.append(told)
        if told in self.fail:
            raise ProviderFailed(f"{told} failed")

    def _lost(self, call: str, urn: str) -> None:
        if f"{call} {urn.rpartition('::')[2]}" in self.lose:
            raise ProviderFailed("UNAVAILABLE", lost=True)

    async def check(self, urn: str, olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
        if news.get("bad"):
            raise ProviderFailed("bad: it must not be")
        return {**news, "__identity": urn.rpartition("::")[2]} if self.identity else dict(news)

    async def diff(
        self, urn: str, resource_id: str, old: Any, news: Mapping[str, Any], ignored: Any = ()
    ) -> Difference:
        before = plain(old[0])
        now = plain(news)
        keys = [key for key in {*before, *now} if before.get(key) != now.get(key) and not key.startswith("__")]
        return Difference(bool(keys), ("key",) if "key" in keys else (), self.first)

    async def create(self, urn: str, inputs: Mapping[str, Any], **_: Any) -> tuple[str, dict[str, Any]]:
        self._heard("create", urn)
        self.numbers += 1
        made = urn.rpartition("::")[2] if self.identity else f"id-{self.numbers}"
        self.world[made] = plain(inputs)
        self._lost("create", urn)
        return made, {**inputs, "arn": f"arn:{made}"}

    async def update(
        self, urn: str, resource_id: str, old: Any, news: Mapping[str, Any], **_: Any
    ) -> dict[str, Any]:
        self._heard("update", urn)
        self.world[resource_id] = plain(news)
        self._lost("update", urn)
        return {**news, "arn": f"arn:{resource_id}"}

    async def delete(self, urn: str, resource_id: str, *_: Any) -> None:
        self._heard("delete", urn)
        del self.world[resource_id]
        self._lost("delete", urn)

    async def read(
        self, urn: str, resource_id: str, inputs: Mapping[str, Any], outputs: Any = None, seconds: float = 0.0
    ) -> Found | None:
        self._heard("read", urn)
        there = self.world.get(resource_id)
        if there is None:
            return None
        return Found(resource_id, {**there, "arn": f"arn:{resource_id}"}, dict(there))


@dataclass
class MemoryProviders:
    """Has one host for everything."""

    host: MemoryHost
    used: set[str] = field(default_factory=set)

    async def of(self, registration: Registration) -> tuple[str, Any]:
        return registration.provider or PROVIDER_REFERENCE, self.host

    async def of_state(self, resource: ResourceState) -> Any:
        return self.host


@dataclass
class Run:
    """One run over a state, and what came of it."""

    deploying: Deploying
    live: LiveState
    recorder: Recorder
    host: MemoryHost

    async def thing(self, name: str, *, parent: str = "", needs: tuple[str, ...] = (), **more: Any) -> Any:
        """Register a thing; further keywords that a registration has are its options, others its inputs."""
        options = {key: more.pop(key) for key in list(more) if key in Registration.__dataclass_fields__}
        return await self.deploying.register(
            Registration(
                type="mem:index:Thing",
                name=name,
                custom=True,
                parent=parent,
                inputs=more,
                dependencies=needs,
                **options,
            )
        )

    def done(self) -> dict[str, str]:
        """Return what was done, by name."""
        return {
            step.name: step.operation
            for step in self.recorder.steps.values()
            if step.operation != "same" and step.custom
        }


Program = Callable[[Run], Awaitable[Any]]


async def deploy(
    program: Program,
    base: Deployment | None = None,
    host: MemoryHost | None = None,
    *,
    dry_run: bool = False,
    **options: Any,
) -> tuple[Run, Deployment]:
    """Run a program to its end; returns the run and the state after it."""
    host = host or MemoryHost()
    run = _run(base or Deployment("shop", "dev"), host, dry_run, options)
    await run.deploying.register(Registration(STACK_TYPE, "shop-dev"))
    await program(run)
    await run.deploying.finish()
    return run, run.live.deployment("shop", "dev", 1)


def _run(base: Deployment, host: MemoryHost, dry_run: bool, options: dict[str, Any]) -> Run:
    recorder = Recorder(Masks(), b"key")
    live = LiveState(base)
    providers: Any = MemoryProviders(host)
    changer = Changer(live, recorder, dry_run, anyio.CapacityLimiter(8), anyio.Event())
    deletions = Deletions(live, providers, changer, recorder, unheard, dry_run)
    deploying = Deploying(
        Names("shop", "dev"),
        live,
        providers,
        changer,
        deletions,
        recorder,
        Analysis(recorder),
        unheard,
        dry_run,
        **options,
    )
    return Run(deploying, live, recorder, host)


async def refreshed(base: Deployment, host: MemoryHost) -> tuple[Run, Deployment]:
    """Refresh a state from the world."""
    run = _run(base, host, False, {})
    refreshing = Refreshing(run.live, run.deploying.providers, run.deploying.changer, run.recorder)
    await refreshing.read_all()
    await refreshing.apply(steps=True)
    return run, run.live.deployment("shop", "dev", 1)


async def destroyed(
    base: Deployment, host: MemoryHost, targets: frozenset[str] = frozenset()
) -> tuple[Run, Deployment]:
    """Destroy a stack, or some of it."""
    run = _run(base, host, False, {})
    await run.deploying.deletions.everything(targets)
    return run, run.live.deployment("shop", "dev", 1)


def unknown(value: Any) -> bool:
    """Whether something in a value is not known."""
    return has_unknown(value) or value == UNKNOWN_VALUE
