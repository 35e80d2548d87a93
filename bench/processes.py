"""A contender's processes: started, waited for, measured as a whole tree, and ended."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import psutil
from load import CLIENT, HANDSHAKE, MODERN, Wire

READY_SECONDS = 90
STOP_SECONDS = 10


class NotReady(Exception):
    """A process ended, or did not answer in time; the text holds what it printed."""


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Tree:
    """A running process and everything below it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._root = psutil.Process(process.pid)
        self._log = log

    def cpu_seconds(self) -> float:
        """User and system time of the tree so far, descendants that ended and were waited for included."""
        total = 0.0
        for one in self._live():
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_mb(self) -> float:
        """Resident memory of the tree in MiB; pages that processes share count once for each."""
        total = 0
        for one in self._live():
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def check(self) -> None:
        """Raise NotReady when the root has ended."""
        if (code := self._process.poll()) is not None:
            raise NotReady(f"it ended with {code}: {self.printed()}")

    def printed(self) -> str:
        """The end of what the tree wrote to stdout and stderr."""
        return self._log.read_text(errors="replace")[-1500:].strip()

    def stop(self) -> None:
        """Ask the tree to end, then make it."""
        members = self._live()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        psutil.wait_procs(members, timeout=STOP_SECONDS)
        for one in members:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait()

    def _live(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def running(command: Sequence[str], home: Path, environment: Mapping[str, str] | None = None) -> Iterator[Tree]:
    """Run `command` in `home`, its output kept in a file there, and end it on the way out."""
    log = home / "output.log"
    output: IO[bytes]
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command),
            cwd=home,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    tree = Tree(process, log)
    try:
        yield tree
    finally:
        tree.stop()


def wait_ready(tree: Tree, url: str, wire: Wire, headers: Mapping[str, str]) -> None:
    """Return once the server answers `server/discover` (modern) or `initialize` (handshake) with a result.

    Raises NotReady when it ends first, refuses for good, or takes longer than `READY_SECONDS`.
    """
    deadline = time.monotonic() + READY_SECONDS
    answered = "nothing answered"
    while time.monotonic() < deadline:
        tree.check()
        try:
            status, body = greet(url, wire, headers)
        except (OSError, http.client.HTTPException):
            time.sleep(0.005)
            continue
        if status == 200 and b'"result"' in body:
            return
        answered = f"{status}: {body[:300]!r}"
        time.sleep(0.02)
    raise NotReady(f"not ready within {READY_SECONDS} s ({answered}): {tree.printed()}")


def wait_listening(tree: Tree, port: int) -> None:
    """Return once something accepts connections on `port`; raises NotReady as `wait_ready` does."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        tree.check()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.005)
        else:
            return
    raise NotReady(f"nothing listened on port {port} within {READY_SECONDS} s: {tree.printed()}")


def request(method: str, url: str, body: object, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Send one request with a JSON body on a connection of its own and return status and body."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port or 80, timeout=30)
    try:
        standard = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        connection.request(method, address.path, json.dumps(body), {**standard, **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def greet(url: str, wire: Wire, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Send the first request of a client: `server/discover` (modern) or `initialize` (handshake)."""
    if wire == "handshake":
        hello = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": CLIENT}
        return request("POST", url, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}, headers)
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": CLIENT,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    question = {"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {"_meta": meta}}
    return request(
        "POST", url, question, {**headers, "MCP-Protocol-Version": MODERN, "Mcp-Method": "server/discover"}
    )
