"""What this hub mounts: the suite's modules, the hub's own server, and the entries of mcp.json.

Modules come from the Python entry-point group `quantum_suite.servers` and run in this process. An entry of
mcp.json with a module's name says how that module is mounted (its prefix, or that it is disabled); any other
entry is an upstream of its own.
"""

import importlib.metadata
import inspect
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import MCPServer

from quantum_suite.core.engines import EngineStatus
from quantum_suite.core.errors import ConfigurationError
from quantum_suite.hub.config import UpstreamConfig
from quantum_suite.hub.settings import Limits
from quantum_suite.hub.upstreams.credentials import connect_http
from quantum_suite.hub.upstreams.inprocess import InProcessConnector
from quantum_suite.hub.upstreams.interface import Connector
from quantum_suite.hub.upstreams.stdio import StdioConnector
from quantum_suite.servers.module import Hook, Module, Services

logger = logging.getLogger(__name__)

ENTRY_POINTS = "quantum_suite.servers"


@dataclass(frozen=True, slots=True)
class Extra:
    """A server of the embedding program's own, mounted in process."""

    name: str
    server: MCPServer[Any]
    prefix: str


def _unnamed(entry: UpstreamConfig) -> UpstreamConfig:
    """Return an entry whose name is the hub's own as one that cannot be used, and says so."""
    problem = f"{entry.source}: '{entry.name}' is a name of the hub's own. Rename the entry."
    return entry.model_copy(update={"name": f"{entry.name} (mcp.json)", "disabled": False, "problem": problem})


def _engines_of(name: str, module: Module) -> list[EngineStatus]:
    try:
        return list(module.engines())
    except Exception:
        # Foreign code: whatever it raises concerns this module alone.
        logger.exception("a module cannot say which engines it has", extra={"upstream": name})
        return []


class Mounts:
    """Knows which modules there are, and turns configuration entries into connectors."""

    def __init__(self, services: Services, limits: Limits, extra: Sequence[Extra]) -> None:
        self._services = services
        self._limits = limits
        self._extra = {one.name: one for one in extra}
        self._points = {p.name: p for p in importlib.metadata.entry_points(group=ENTRY_POINTS)}
        self._modules: dict[str, Module] = {}

    def add(self, extra: Extra) -> None:
        """Mount one more server in process, from the next `configs` on."""
        self._extra[extra.name] = extra

    def configs(self, entries: Iterable[UpstreamConfig], only: str | None) -> list[UpstreamConfig]:
        """Return everything to mount, modules first; with `only`, that one alone, under its own plain names.

        Raises ConfigurationError when `only` names nothing.
        """
        listed = list(entries)
        by_module = {entry.module: entry for entry in listed if entry.kind == "module"}
        by_name = {entry.name: entry for entry in listed}
        configs = [
            UpstreamConfig(name=one.name, kind="module", module=one.name, prefix=one.prefix, source="embedded")
            for one in self._extra.values()
        ]
        for name in sorted(self._points):
            entry = by_module.get(name) or by_name.get(name)
            configs.append(
                entry
                or UpstreamConfig(
                    name=name, kind="module", module=name, prefix=name, source=f"entry point {ENTRY_POINTS}:{name}"
                )
            )
        others = [entry for entry in listed if entry not in configs]
        configs.extend(_unnamed(entry) if entry.name in self._extra else entry for entry in others)
        if only is None:
            return configs
        chosen = [config for config in configs if config.name == only]
        if not chosen:
            known = ", ".join(sorted(config.name for config in configs))
            raise ConfigurationError(f"There is no server '{only}' here.", f"There are: {known}.")
        return [config.model_copy(update={"disabled": False, "prefix": ""}) for config in chosen]

    def connect(self, config: UpstreamConfig) -> Connector | None:
        """Return the connector for an entry; None where it is disabled or has a problem of its own.

        Raises ConfigurationError when it names a module that is not there or cannot be loaded.
        """
        if config.problem is not None or config.disabled:
            return None
        max_message_bytes = self._limits.upstream_message_bytes
        if config.kind == "module":
            return InProcessConnector(self._server(config.module or config.name))
        if config.kind == "http":
            return connect_http(config, max_message_bytes=max_message_bytes)
        return StdioConnector(
            config.command or "", config.args, env=config.env, cwd=config.cwd, max_message_bytes=max_message_bytes
        )

    def engines(self) -> dict[str, list[EngineStatus]]:
        """Return the engines of every mounted module. May start short version queries."""
        return {name: _engines_of(name, module) for name, module in sorted([*self._modules.items()])}

    def hook(self, module: str, name: str) -> Hook | None:
        """Return a hook of a mounted module; None where there is none."""
        mounted = self._modules.get(module)
        return next((one for one in mounted.hooks if one.name == name), None) if mounted else None

    def _server(self, name: str) -> MCPServer[Any]:
        if (extra := self._extra.get(name)) is not None:
            return extra.server
        if name not in self._modules:
            self._modules[name] = self._load(name)
        return self._modules[name].server

    def _load(self, name: str) -> Module:
        point = self._points.get(name)
        if point is None:
            known = ", ".join(sorted(self._points))
            raise ConfigurationError(f"No installed package offers the module '{name}'.", f"There are: {known}.")
        try:
            build = point.load()
            built = build(self._services) if inspect.signature(build).parameters else build()
        except Exception as error:
            # Foreign code: whatever it raises concerns this module alone.
            logger.exception("a module cannot be loaded", extra={"upstream": name})
            raise ConfigurationError(
                f"The module '{name}' cannot be loaded: {error}", f"It is {point.value}."
            ) from error
        return built if isinstance(built, Module) else Module(server=built)
