"""The providers of one run: default ones as resources need them, explicit ones as the program makes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio

from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed, ProviderHost
from quantum_suite.services.infrastructure.embedded.live_state import LiveState
from quantum_suite.services.infrastructure.embedded.plugins import DYNAMIC_PACKAGE, Plugins
from quantum_suite.services.infrastructure.embedded.registration import (
    PROVIDER_TYPE,
    Names,
    Registration,
    default_provider_name,
    split_reference,
)
from quantum_suite.services.infrastructure.interface import ResourceState
from quantum_suite.services.infrastructure.values import has_unknown, secret


class Providers:
    """Hosts by the URN of their provider resource, started and configured once each."""

    def __init__(
        self,
        plugins: Plugins,
        live: LiveState,
        names: Names,
        config: Mapping[str, str],
        secret_keys: frozenset[str],
        hosts: dict[str, ProviderHost],
    ) -> None:
        """`hosts` are the default providers that an earlier pass of the run started: they go on being used."""
        self._plugins = plugins
        self._live = live
        self._names = names
        self._config = config
        self._secret_keys = secret_keys
        self._hosts = hosts
        self._turns: dict[str, anyio.Lock] = {}
        self.used: set[str] = set()
        """URNs of the provider resources in use by what the program registered."""

    async def of(self, registration: Registration) -> tuple[str, ProviderHost]:
        """Return the reference (`urn::id`) and the host of the provider a resource goes to."""
        reference = registration.provider or registration.providers.get(registration.package, "")
        if reference:
            urn, _ = split_reference(reference)
            entry = self._live.get(urn)
            if entry is None:
                raise ProviderFailed(f"There is no provider {urn}.")
            self.used.add(urn)
            return reference, await self._host(entry)
        entry = await self._default(registration.package, registration.version)
        return f"{entry.urn}::{entry.id}", await self._host(entry)

    async def of_state(self, resource: ResourceState) -> ProviderHost:
        """Return the host of the provider that a resource of the state was made by."""
        urn, _ = split_reference(resource.provider)
        entry = self._live.get(urn)
        if entry is None:
            entry = await self._default(resource.type.partition(":")[0], "")
        return await self._host(entry)

    async def host_of(self, entry: ResourceState) -> ProviderHost:
        """Return the host of a provider resource."""
        return await self._host(entry)

    async def unconfigured(self, package: str, version: str = "") -> ProviderHost:
        """Start a host to ask about a configuration; it is configured by `adopt`."""
        return await self._plugins.start(package, version)

    def adopt(self, urn: str, host: ProviderHost) -> None:
        """Use a host for a provider resource from now on."""
        self._hosts[urn] = host

    async def _default(self, package: str, version: str) -> ResourceState:
        kind = PROVIDER_TYPE + package
        urn = self._names.urn(kind, default_provider_name("" if package == DYNAMIC_PACKAGE else version))
        self.used.add(urn)
        async with self._turn(f"make {urn}"):
            entry = self._live.get(urn)
            inputs = self._own_config(package, version)
            if entry is None:
                entry = ResourceState(
                    urn=urn, type=kind, custom=True, id=str(uuid4()), inputs=inputs, outputs=inputs
                )
                await self._live.change(put=[entry])
            elif entry.inputs != inputs:
                entry = replace(entry, inputs=inputs, outputs=inputs)
                await self._live.change(put=[entry])
        return entry

    def _own_config(self, package: str, version: str) -> dict[str, Any]:
        if package == DYNAMIC_PACKAGE:
            return {}  # It is given the whole configuration, and keeps none.
        prefix = f"{package}:"
        values: dict[str, Any] = {
            key.removeprefix(prefix): secret(value) if key in self._secret_keys else value
            for key, value in self._config.items()
            if key.startswith(prefix)
        }
        return {**values, "version": version.removeprefix("v")} if version else values

    async def _host(self, entry: ResourceState) -> ProviderHost:
        package = entry.type.removeprefix(PROVIDER_TYPE)
        async with self._turn(entry.urn):
            host = self._hosts.get(entry.urn)
            if host is None:
                host = await self._plugins.start(package, str(entry.inputs.get("version", "")))
                self._hosts[entry.urn] = host
            if not host.configured and not has_unknown(entry.inputs):
                values = dict(self._config) if package == DYNAMIC_PACKAGE else dict(entry.inputs)
                await host.configure(values)
        return host

    def _turn(self, what: str) -> anyio.Lock:
        return self._turns.setdefault(what, anyio.Lock())
