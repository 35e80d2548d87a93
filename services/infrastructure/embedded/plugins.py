"""Starts providers: the dynamic ones of the program's interpreter, and plugins found on the machine."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import anyio
import grpc
from anyio.abc import TaskGroup
from pulumi.runtime.proto import provider_pb2_grpc

from quantum_suite.core.errors import EngineError, EngineMissing
from quantum_suite.services.infrastructure.embedded.hosts import CHANNEL_OPTIONS, ProviderHost
from quantum_suite.services.infrastructure.embedded.masks import Masks
from quantum_suite.services.sandbox.interface import MEBIBYTE, Limits, Sandbox, SandboxCommand, SandboxRun

DYNAMIC_PACKAGE = "pulumi-python"
"""The package of what a program defines with `pulumi.dynamic`."""

_START_SECONDS = 60.0
_VERSIONED = re.compile(r"resource-(?P<name>.+)-v(?P<version>\d+\.\d+\.\d+.*)")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the processes of a run are given."""

    sandbox: Sandbox
    folder: Path
    python: Path
    environment: Mapping[str, str]
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    """What providers may change on this machine; nothing in a preview."""
    program_network: bool = False
    seconds: float = 1800.0

    def limits(self) -> Limits:
        """Return what each process may use."""
        return Limits(
            seconds=self.seconds,
            memory_bytes=2048 * MEBIBYTE,
            processes=512,
            file_bytes=4096 * MEBIBYTE,
            output_bytes=256 * 1024,
        )


@dataclass(slots=True)
class _Running:
    stopped: anyio.Event = field(default_factory=anyio.Event)
    announced: anyio.Event = field(default_factory=anyio.Event)
    port: str = ""
    ended: SandboxRun | None = None


class Plugins:
    """Starts providers and ends them with its context. Each is a process of its own, kept apart by the sandbox."""

    def __init__(self, surroundings: Surroundings, masks: Masks, engine_address: str = "") -> None:
        self._surroundings = surroundings
        self._masks = masks
        self.engine_address = engine_address
        self._tasks: TaskGroup
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        await self._stack.aclose()

    async def start(self, package: str, version: str = "") -> ProviderHost:
        """Start the provider of a package, not configured yet; raises EngineMissing and EngineError."""
        command, readable = self._command(package, version)
        address = await self.serve(command, readable, f"the provider of {package}")
        stub = provider_pb2_grpc.ResourceProviderStub(self.channel(address))
        # Over an asyncio channel the same class is what the types call by another name.
        return ProviderHost(cast("provider_pb2_grpc.ResourceProviderAsyncStub", stub), package)

    def channel(self, address: str) -> grpc.aio.Channel:
        """Return a channel that is closed with this."""
        channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._stack.push_async_callback(channel.close)
        return channel

    async def serve(
        self, command: Sequence[str], readable: Sequence[Path], what: str, env: Mapping[str, str] | None = None
    ) -> str:
        """Start a process that prints its port, and return its address; raises EngineError."""
        running = _Running()
        self._tasks.start_soon(self._keep, command, readable, env or {}, running)
        with anyio.move_on_after(_START_SECONDS):
            await running.announced.wait()
        if not running.port:
            said = running.ended.stderr.decode("utf-8", "replace") if running.ended else ""
            said = self._masks.masked(said)[-2_000:].strip()
            last = said.splitlines()[-1] if said else "it said nothing"
            raise EngineError(
                f"{what[0].upper()}{what[1:]} did not start: {last}",
                "Look at what it printed.",
                engine="pulumi",
                printed=said,
            )
        return f"127.0.0.1:{running.port}"

    async def _keep(
        self, command: Sequence[str], readable: Sequence[Path], env: Mapping[str, str], running: _Running
    ) -> None:
        async def heard(line: bytes) -> None:
            if not running.port and line.strip().isdigit():
                running.port = line.strip().decode()
                running.announced.set()

        given = self._surroundings
        try:
            running.ended = await given.sandbox.run(
                SandboxCommand(
                    command=command,
                    cwd=given.folder,
                    writable=given.writable,
                    readable=[*given.readable, *readable],
                    env={**given.environment, **env, "PYTHONPATH": str(given.folder), "PYTHONUNBUFFERED": "1"},
                    network=True,
                    limits=given.limits(),
                ),
                heard,
            )
        finally:
            running.announced.set()
            running.stopped.set()

    def _command(self, package: str, version: str) -> tuple[list[str], list[Path]]:
        if package == DYNAMIC_PACKAGE:
            return [str(self._surroundings.python), "-m", "pulumi.dynamic", "127.0.0.1:0"], []
        found = find_plugin(package, version, {**os.environ, **self._surroundings.environment})
        if found is None:
            wanted = f"{package} v{version}" if version else package
            install = f"pulumi plugin install resource {wanted}"
            raise EngineMissing(
                f"The program needs the provider plugin of {wanted}, which is not on this machine.",
                f"Install it with `{install}`, or put pulumi-resource-{package} on the PATH.",
                engine="pulumi",
            )
        return [str(found), self.engine_address or "127.0.0.1:0"], [found.parent]


def find_plugin(package: str, version: str, environ: Mapping[str, str]) -> Path | None:
    """Return a plugin's program: of that version, else the newest in Pulumi's folder, else on the PATH."""
    home = Path(environ.get("PULUMI_HOME") or Path(environ.get("HOME", "/nonexistent")) / ".pulumi")
    candidates: list[tuple[tuple[int, ...], Path]] = []
    for folder in (home / "plugins").glob(f"resource-{package}-v*"):
        match = _VERSIONED.fullmatch(folder.name)
        program = folder / f"pulumi-resource-{package}"
        if match is not None and match["name"] == package and os.access(program, os.X_OK):
            if version and match["version"] == version.removeprefix("v"):
                return program
            candidates.append((tuple(int(part) for part in re.findall(r"\d+", match["version"])[:3]), program))
    if candidates and not version:
        return max(candidates)[1]
    on_path = shutil.which(f"pulumi-resource-{package}", path=environ.get("PATH"))
    return Path(on_path) if on_path else None
