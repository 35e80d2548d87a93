"""`quantum doctor`: what works here, what is missing, and how to get it."""

import os
import platform
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from importlib.metadata import entry_points
from typing import Literal

import anyio
import httpx2
from mcp import MCPError
from mcp.client.client import Client
from pydantic import BaseModel, ConfigDict, Field
from rich.text import Text

from quantum_suite import __version__
from quantum_suite.core.errors import ConfigurationError, SuiteError
from quantum_suite.hub.cli.console import out, printable, write_json
from quantum_suite.hub.cli.endpoint import Endpoint
from quantum_suite.hub.cli.exits import ExitCode
from quantum_suite.hub.cli.listing import read_engines, read_statuses
from quantum_suite.hub.cli.reach import open_client
from quantum_suite.hub.config import read_config
from quantum_suite.hub.settings import HubSettings
from quantum_suite.hub.status import UpstreamStatus

_SETTLE_SECONDS = 15.0
_POLL_SECONDS = 0.2
_PRINTED_LINES = 5
_SYMBOLS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "red")}


class Check(BaseModel):
    """One thing looked at."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="What was looked at.")
    state: Literal["ok", "warn", "fail"] = Field(description="ok, warn (something is missing) or fail.")
    detail: str = Field(description="What was found.")
    remedy: str | None = Field(default=None, description="What to do about it.")


async def examine(settings: HubSettings, as_json: bool) -> ExitCode:
    """Run every check and say each result as it comes; exit code 1 when one of them fails."""
    checks: list[Check] = []
    async for check in _checks(settings):
        checks.append(check)
        if not as_json:
            _print(check)
    if as_json:
        write_json({"checks": [check.model_dump() for check in checks]})
    failed = sum(check.state == "fail" for check in checks)
    if failed and not as_json:
        out().print(f"\n[red]{failed} of {len(checks)} checks failed.[/]")
    return ExitCode.FAILED if failed else ExitCode.OK


async def _checks(settings: HubSettings) -> AsyncIterator[Check]:
    yield _python()
    yield _platform()
    yield _installation()
    configuration = list(_configuration(settings))
    data = _data_directory(settings)
    for check in [*configuration, data, *_workspaces(settings)]:
        yield check
    running = await _running_hub(settings)
    yield _port(settings, running)
    if any(check.state == "fail" for check in (*configuration, data)) and not running:
        yield Check(
            name="servers",
            state="fail",
            detail="not looked at: no hub can start",
            remedy="Mend the failures above.",
        )
        return
    async for check in _servers(settings, running):
        yield check


def _print(check: Check) -> None:
    label, style = _SYMBOLS[check.state]
    line = Text(label, style=style)
    line.append(f"  {check.name}: ", style="bold").append(printable(check.detail))
    if check.remedy:
        line.append(f"\n      {printable(check.remedy)}", style="cyan")
    out().print(line, soft_wrap=True)


def _python() -> Check:
    return Check(name="python", state="ok", detail=f"{platform.python_version()} at {sys.executable}")


def _platform() -> Check:
    detail = f"{platform.system()} {platform.machine()}"
    if sys.platform == "win32":
        return Check(name="platform", state="warn", detail=f"{detail} is not tested", remedy="Use WSL.")
    return Check(name="platform", state="ok", detail=detail)


def _installation() -> Check:
    modules = sorted(entry.name for entry in entry_points(group="quantum_suite.servers"))
    if not modules:
        return Check(
            name="installation",
            state="fail",
            detail=f"quantum-suite {__version__} runs from a source tree that is not installed",
            remedy="Run `make up`, or pip install quantum-suite.",
        )
    return Check(
        name="installation", state="ok", detail=f"quantum-suite {__version__}, modules {', '.join(modules)}"
    )


def _configuration(settings: HubSettings) -> Iterator[Check]:
    if settings.config is None:
        yield Check(name="configuration", state="ok", detail="no mcp.json: the suite's own modules alone")
        return
    try:
        config = read_config(settings.config)
    except ConfigurationError as error:
        yield Check(name="configuration", state="fail", detail=error.message, remedy=error.hint)
        return
    count = len(config.upstreams)
    yield Check(name="configuration", state="ok", detail=f"{settings.config} names {count} servers")
    for warning in config.warnings:
        yield Check(name="configuration", state="warn", detail=warning)


def _data_directory(settings: HubSettings) -> Check:
    folder = settings.data_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Check(name="data", state="ok", detail=f"{folder} can be written")
    except OSError as error:
        reason = error.strerror
    return Check(
        name="data",
        state="fail",
        detail=f"{folder} cannot be written: {reason}",
        remedy="Name another with --data-dir or QUANTUM_DATA_DIR.",
    )


def _workspaces(settings: HubSettings) -> Iterator[Check]:
    if not settings.workspaces:
        yield Check(
            name="workspace",
            state="warn",
            detail="none: tools may look at nothing",
            remedy="Grant one with --workspace DIR.",
        )
    for path in settings.workspaces:
        if path.expanduser().is_dir():
            yield Check(name="workspace", state="ok", detail=str(path))
        else:
            yield Check(
                name="workspace", state="fail", detail=f"{path} is no directory", remedy="Correct --workspace."
            )


async def _running_hub(settings: HubSettings) -> bool:
    try:
        async with httpx2.AsyncClient(timeout=3.0) as client:
            answer = await client.get(f"http://{_host(settings)}:{settings.port}/healthz")
    except httpx2.HTTPError:
        return False
    return answer.status_code == 200 and answer.text == '{"status":"ok"}'


def _host(settings: HubSettings) -> str:
    return f"[{settings.host}]" if ":" in settings.host else settings.host


def _port(settings: HubSettings, running: bool) -> Check:
    where = f"{settings.host}:{settings.port}"
    if running:
        return Check(name="port", state="ok", detail=f"a hub is running at {where}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with closing(socket.socket(family)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        return Check(
            name="port",
            state="fail",
            detail=f"{where} cannot be used: {error.strerror}",
            remedy="Name another with --port or QUANTUM_PORT.",
        )
    return Check(name="port", state="ok", detail=f"{where} is free")


async def _servers(settings: HubSettings, running: bool) -> AsyncIterator[Check]:
    try:
        async with open_client(_endpoint(settings, running)) as client:
            statuses = await _settled(client)
            engines = await read_engines(client)
            printed = {status.name: await _printed(client, status) for status in statuses}
    except SuiteError as error:
        yield Check(name="servers", state="fail", detail=error.message, remedy=error.hint)
        return
    for status in statuses:
        yield _server(status, printed[status.name])
    for module, found in engines.items():
        for engine in found:
            if engine.available:
                what = engine.version or engine.location or ""
                detail = f"{engine.name} {what}".rstrip() + f" ({engine.provides})"
                yield Check(name=f"engine of {module}", state="ok", detail=detail)
            else:
                yield Check(
                    name=f"engine of {module}",
                    state="warn",
                    detail=f"{engine.name} is missing ({engine.provides}). {engine.problem or ''}".rstrip(),
                    remedy=engine.install_command,
                )


def _endpoint(settings: HubSettings, running: bool) -> Endpoint:
    if running:
        url = f"http://{_host(settings)}:{settings.port}/mcp"
        return Endpoint(url, os.environ.get("QUANTUM_KEY"))
    options = ["--data-dir", str(settings.data_dir)]
    if settings.config:
        options += ["--config", str(settings.config)]
    for workspace in settings.workspaces:
        options += ["--workspace", str(workspace)]
    return Endpoint(None, None, tuple(options), own=True)


async def _settled(client: Client) -> list[UpstreamStatus]:
    """Return the servers' states once none is starting any more, or as they are when that takes too long."""
    statuses: list[UpstreamStatus] = []
    with anyio.move_on_after(_SETTLE_SECONDS):
        while True:
            statuses = await read_statuses(client)
            if all(status.state != "starting" for status in statuses):
                break
            await anyio.sleep(_POLL_SECONDS)
    return statuses


async def _printed(client: Client, status: UpstreamStatus) -> Sequence[str]:
    """Return what a program in trouble wrote last; the hub that keeps it may end with this command."""
    if status.transport != "stdio" or status.state in ("healthy", "disabled"):
        return ()
    try:
        contents = (await client.read_resource(f"quantum://hub/servers/{status.name}/stderr")).contents
    except MCPError:
        return ()
    return [line for part in contents for line in getattr(part, "text", "").splitlines()][-_PRINTED_LINES:]


def _server(status: UpstreamStatus, printed: Sequence[str]) -> Check:
    name = f"server {status.name}"
    if status.state == "healthy":
        detail = f"{status.server or 'answers'}: {status.tools} tools, {status.resources} resources"
        if status.refused_names:
            return Check(
                name=name,
                state="warn",
                detail=f"{detail}; left out, the names are taken: {', '.join(status.refused_names)}",
                remedy='Give it another "prefix" in mcp.json.',
            )
        return Check(name=name, state="ok", detail=detail)
    if status.state == "disabled":
        return Check(name=name, state="ok", detail="disabled")
    return Check(
        name=name,
        state="fail",
        detail=status.problem or f"still {status.state} after {_SETTLE_SECONDS:g} seconds",
        remedy="\n      ".join(["It printed:", *(f"| {line}" for line in printed)]) if printed else None,
    )
