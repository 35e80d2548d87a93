"""Servers that are child processes and speak JSON-RPC in lines (2026-07-28 and 2025-11-25, stdio).

One child a link, so that what a handshake server remembers of one identity never meets another. The era is
settled by `server/discover`, which a legacy server refuses or leaves unanswered.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.principals import Caller
from quantum_suite.hub.call import Json, NoPeer, Peer, RpcError
from quantum_suite.hub.upstreams import handshake
from quantum_suite.hub.upstreams.conversation import Announcer
from quantum_suite.hub.upstreams.host import Host
from quantum_suite.hub.upstreams.interface import Announce, Diagnostics, Hello, LinkKey, LinkLost
from quantum_suite.hub.upstreams.jsonrpc import JsonRpcPeer
from quantum_suite.services.child_process import Child, open_child
from quantum_suite.services.process_group import ProcessNotStarted

logger = logging.getLogger(__name__)


class StdioLink:
    """One child and the conversation with it."""

    def __init__(
        self, hello: Hello, rpc: JsonRpcPeer, child: Child, on_closed: Callable[["StdioLink"], None]
    ) -> None:
        self._hello = hello
        self._rpc = rpc
        self.child = child
        self._on_closed = on_closed

    @property
    def hello(self) -> Hello:
        """What the server said of itself when the link was opened."""
        return self._hello

    @property
    def in_flight(self) -> int:
        """How many requests are waiting for an answer."""
        return self._rpc.in_flight

    @property
    def closed(self) -> bool:
        """Whether the child is gone, or no longer makes sense."""
        return self._rpc.closed_because is not None

    async def request(
        self,
        method: str,
        params: Json,
        peer: Peer,
        *,
        caller: Caller | None = None,
        headers: dict[str, str] | None = None,
        request_id: str | int | None = None,
    ) -> Json:
        """Send a request and return its result; see `Link.request`."""
        return await self._rpc.request(method, params, peer, request_id=request_id)

    async def notify(self, method: str, params: Json) -> None:
        """Send a notification; dropped when the link is closed."""
        await self._rpc.notify(method, params)

    async def aclose(self) -> None:
        """Close the child's stdin, then end its whole process group. Idempotent."""
        self._rpc.ended("The hub closed it.")
        await self.child.aclose()
        self._on_closed(self)


class StdioConnector:
    """Starts a server's command, once a link."""

    def __init__(
        self,
        command: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        probe_seconds: float = 10.0,
        connect_seconds: float = 60.0,
        max_message_bytes: int = 16 * 1024 * 1024,
        max_stderr_lines: int = 200,
        grace_seconds: float = 2.0,
    ) -> None:
        """`env` is added to a minimal environment. A server that leaves `server/discover` unanswered for
        `probe_seconds` counts as legacy; `connect_seconds` bounds the start as a whole, which may include a
        package runner's download."""
        self._command = (command, *args)
        self._env = dict(env or {})
        self._cwd = cwd
        self._probe_seconds = probe_seconds
        self._connect_seconds = connect_seconds
        self._max_message_bytes = max_message_bytes
        self._max_stderr_lines = max_stderr_lines
        self._grace_seconds = grace_seconds
        self._links: set[StdioLink] = set()
        self._old_stderr: deque[str] = deque(maxlen=max_stderr_lines)
        self._host: Host[None] = Host(_nothing)

    async def connect(self, key: LinkKey, announce: Announce) -> StdioLink:
        """Start a child and greet it; see `Connector.connect`."""
        await self._host.open()
        rpc = JsonRpcPeer(
            key.era, shared=key.identity == "shared", announce=Announcer(announce, self._host.start_soon)
        )
        try:
            child = await open_child(
                self._command,
                on_line=rpc.line,
                on_end=rpc.ended,
                env=self._env,
                cwd=self._cwd,
                max_line_bytes=self._max_message_bytes,
                max_stderr_lines=self._max_stderr_lines,
                grace_seconds=self._grace_seconds,
            )
        except ProcessNotStarted as error:
            raise Unavailable(f"The server could not be started: {error.message}", error.hint) from error
        rpc.attach(child)
        try:
            hello = await self._greet(key, rpc)
        except BaseException as error:
            await child.aclose()
            printed = child.stderr_tail
            self._old_stderr.extend(printed)
            if isinstance(error, LinkLost):
                raise _unavailable(f"The server went away. {rpc.closed_because or ''}".rstrip(), printed) from None
            if isinstance(error, TimeoutError):
                late = f"The server did not answer within {self._connect_seconds:g} seconds of its start."
                raise _unavailable(late, printed) from None
            raise
        link = StdioLink(hello, rpc, child, self._forget)
        self._links.add(link)
        # A child that ended, or makes no sense, is not kept until somebody asks for it.
        rpc.on_closed = lambda: self._host.start_soon(link.aclose)
        if rpc.closed_because is not None:
            rpc.on_closed()
        return link

    async def _greet(self, key: LinkKey, rpc: JsonRpcPeer) -> Hello:
        with anyio.fail_after(self._connect_seconds):
            return await (_initialize(key, rpc) if key.era == "handshake" else self._discover(key, rpc))

    async def _discover(self, key: LinkKey, rpc: JsonRpcPeer) -> Hello:
        try:
            with anyio.fail_after(self._probe_seconds):
                result = await rpc.request("server/discover", {"_meta": handshake.envelope(key)}, NoPeer())
        except TimeoutError:
            raise handshake.wrong_era(
                f"The server left server/discover unanswered for {self._probe_seconds:g} seconds."
            ) from None
        except LinkLost:
            raise
        except RpcError as error:
            raise handshake.refused_discover(error) from error
        return handshake.hello_from_discover(result)

    def _forget(self, link: StdioLink) -> None:
        if link in self._links:
            self._links.discard(link)
            self._old_stderr.extend(link.child.stderr_tail)

    def diagnostics(self) -> Diagnostics:
        """Return the last lines all its children wrote to stderr, secrets masked."""
        lines = [*self._old_stderr]
        for link in self._links:
            lines.extend(link.child.stderr_tail)
        return Diagnostics(stderr_tail=lines[-self._max_stderr_lines :])

    async def aclose(self) -> None:
        """End the children that are left. Idempotent."""
        async with anyio.create_task_group() as tasks:
            for link in list(self._links):
                tasks.start_soon(link.aclose)
        await self._host.aclose()


async def _nothing(stack: AsyncExitStack) -> None:
    """What links of this transport share is the task group alone."""


async def _initialize(key: LinkKey, rpc: JsonRpcPeer) -> Hello:
    try:
        result = await rpc.request("initialize", handshake.initialize_params(key), NoPeer(), cancellable=False)
    except LinkLost:
        raise
    except RpcError as error:
        raise handshake.refused_initialize(error) from error
    hello = handshake.hello_from_initialize(result)
    await rpc.notify("notifications/initialized", {})
    return hello


def _unavailable(message: str, printed: Sequence[str]) -> Unavailable:
    return Unavailable(message, "It printed: " + "\n".join(printed[-5:]) if printed else "It printed nothing.")
