"""What is measured: how each contender is started in front of the echo server, and how it wants to be called."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from load import Wire
from peers import install
from processes import NotReady, greet, request

BENCH = Path(__file__).resolve().parent
ECHO = [sys.executable, str(BENCH / "echo_server.py")]
STDIO_ECHO = [*ECHO, "--stdio"]
MANY_CALLS = "100000000"
"""The ceiling of calls a minute, for gateways that have one: every call is still counted against it."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a contender is started: an empty folder, a free port, and the echo server's URL."""

    home: Path
    port: int
    upstream: str

    @property
    def url(self) -> str:
        """The contender's endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"


@dataclass(frozen=True, slots=True)
class Start:
    """A contender's command, and the headers its callers send."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """One way from a client to the echo tool."""

    name: str
    """Begins the names of its figures."""
    label: str
    wire: Wire
    tool: str
    prepare: Callable[[Ground], Start]
    settle: Callable[[Ground, Start], None] | None = None
    """Runs between ready and the first call; raises NotReady when the contender is not what it should be."""
    verify: Callable[[Ground, int], None] | None = None
    """Runs once it has ended, with the number of calls it answered; raises NotReady as `settle` does."""
    group: Literal["floor", "own", "peer"] = "own"
    distribution: str | None = None
    """What the bench installs for it."""
    note: str = ""


def _floor(ground: Ground) -> Start:
    return Start([sys.executable, str(BENCH / "echo_asgi.py"), str(ground.port)])


def _direct(ground: Ground) -> Start:
    return Start([*ECHO, "--http", str(ground.port)])


def _direct_json(ground: Ground) -> Start:
    return Start([*ECHO, "--http", str(ground.port), "--plain-json"])


def _hub(ground: Ground, mount: Mapping[str, object] | None, environment: Mapping[str, str]) -> Start:
    """Start the hub as shipped, on its defaults but for two: nobody is trusted without a key, and no call a minute
    is one too many."""
    # Only a run that measures the hub needs it to be importable.
    from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore

    data = ground.home / "data"
    data.mkdir()
    _, token = SqliteKeyStore(data / "keys.db").create("bench", ["operator"])
    config = ground.home / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"echo": mount} if mount else {}}))
    quantum = str(Path(sys.executable).with_name("quantum"))
    command = [
        quantum,
        "up",
        "--port",
        str(ground.port),
        "--config",
        str(config),
        "--data-dir",
        str(data),
        "--json",
    ]
    settings = {"QUANTUM_TRUST_LOCAL": "false", "QUANTUM_LIMITS_CALLS_PER_MINUTE": MANY_CALLS}
    # The suite as it is installed without extras: this environment has them for the tests.
    settings["QUANTUM_ANALYTICS"] = "false"
    return Start(command, {**settings, **environment}, {"Authorization": f"Bearer {token}"})


def _hub_inprocess(ground: Ground) -> Start:
    """Offer the echo server the way an installed package does: by an entry point on the path."""
    package = ground.home / "installed" / "bench_echo-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-echo\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[quantum_suite.servers]\necho = echo_server:build\n")
    return _hub(ground, None, {"PYTHONPATH": f"{package.parent}:{BENCH}"})


def _hub_stdio(ground: Ground) -> Start:
    return _hub(ground, {"command": STDIO_ECHO[0], "args": STDIO_ECHO[1:]}, {})


def _hub_http(ground: Ground) -> Start:
    return _hub(ground, {"type": "http", "url": ground.upstream}, {})


def _must_ask_for_a_key(ground: Ground, _start: Start) -> None:
    """Make sure that what is measured does authenticate."""
    status, body = greet(ground.url, "modern", {})
    if status != 401:
        raise NotReady(f"a call without a key was answered {status}, not 401: {body[:200]!r}")


def _must_have_audited(ground: Ground, calls: int) -> None:
    """Make sure that what was measured did keep its record of every call."""
    kept = 0
    for file in (ground.home / "data" / "audit").rglob("*.jsonl"):
        with file.open("rb") as lines:
            kept += sum(b"tools/call" in line for line in lines)
    if kept < calls:
        raise NotReady(f"{calls} calls were answered, and {kept} are in the audit record")


def _fastmcp(ground: Ground) -> Start:
    python = str(install("fastmcp").bin / "python")
    program = (
        "from fastmcp.server import create_proxy\n"
        f"create_proxy({ground.upstream!r}).run(transport='http', host='127.0.0.1', port={ground.port}, "
        "show_banner=False, log_level='error')\n"
    )
    return Start([python, "-c", program])


def _mcp_proxy(ground: Ground) -> Start:
    program = str(install("mcp-proxy").bin / "mcp-proxy")
    return Start([program, "--port", str(ground.port), "--log-level", "ERROR", "--", *STDIO_ECHO])


def _contextforge(ground: Ground) -> Start:
    bin_ = install("mcp-contextforge-gateway").bin
    password = f"{secrets.token_urlsafe(16)}-Aa1!"
    environment = {
        "JWT_SECRET_KEY": secrets.token_hex(32),
        "AUTH_ENCRYPTION_SECRET": secrets.token_hex(32),
        "PLATFORM_ADMIN_EMAIL": "admin@example.com",
        "PLATFORM_ADMIN_PASSWORD": password,
        "BASIC_AUTH_PASSWORD": password,
        "MCPGATEWAY_ADMIN_API_ENABLED": "true",
        "SSRF_ALLOW_LOCALHOST": "true",
        "RATE_LIMIT_MEDIUM_RPM": MANY_CALLS,
        "DATABASE_URL": f"sqlite:///{ground.home}/mcp.db",
    }
    make = [str(bin_ / "python"), "-m", "mcpgateway.utils.create_jwt_token", "--username", "admin@example.com"]
    made = subprocess.run([*make, "--exp", "600"], env=environment, capture_output=True, text=True, check=True)
    token = made.stdout.strip().splitlines()[-1]
    command = [str(bin_ / "mcpgateway"), "--host", "127.0.0.1", "--port", str(ground.port)]
    return Start(command, environment, {"Authorization": f"Bearer {token}"})


def _register_echo(ground: Ground, start: Start) -> None:
    """Tell ContextForge of the upstream, as its README does; its tools appear as `<gateway>-<tool>`."""
    entry = {"name": "echo", "url": ground.upstream, "transport": "STREAMABLEHTTP"}
    status, body = request("POST", f"http://127.0.0.1:{ground.port}/gateways", entry, start.headers)
    if status != 200:
        raise NotReady(f"registering the upstream was answered {status}: {body[:300]!r}")


CONTENDERS = (
    Contender("floor", "raw ASGI echo (floor)", "modern", "echo", _floor, group="floor"),
    Contender("direct", "SDK server", "modern", "echo", _direct, note="as it ships: event streams"),
    Contender("direct_json", "SDK server, plain JSON", "modern", "echo", _direct_json, note="json_response=True"),
    Contender(
        "inprocess",
        "hub, in process",
        "modern",
        "echo_echo",
        _hub_inprocess,
        settle=_must_ask_for_a_key,
        verify=_must_have_audited,
        note="server included",
    ),
    Contender(
        "stdio",
        "hub, stdio child",
        "modern",
        "echo_echo",
        _hub_stdio,
        settle=_must_ask_for_a_key,
        verify=_must_have_audited,
        note="child included",
    ),
    Contender(
        "http",
        "hub, HTTP upstream",
        "modern",
        "echo_echo",
        _hub_http,
        settle=_must_ask_for_a_key,
        verify=_must_have_audited,
    ),
    Contender(
        "fastmcp",
        "FastMCP proxy, HTTP",
        "modern",
        "echo",
        _fastmcp,
        group="peer",
        distribution="fastmcp",
        note="no authentication",
    ),
    Contender(
        "mcp_proxy",
        "mcp-proxy, stdio",
        "handshake",
        "echo",
        _mcp_proxy,
        group="peer",
        distribution="mcp-proxy",
        note="child included; no authentication; speaks the handshake wire only",
    ),
    Contender(
        "contextforge",
        "ContextForge, HTTP",
        "handshake",
        "echo-echo",
        _contextforge,
        settle=_register_echo,
        group="peer",
        distribution="mcp-contextforge-gateway",
        note="speaks the handshake wire only",
    ),
)
