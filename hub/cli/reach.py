"""Reaching a hub as an MCP client: over HTTP where one runs, else by a child that lives as long as the command."""

import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.session import ElicitationFnT
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation

from quantum_suite import __version__
from quantum_suite.core.errors import CallerError, NotFound, RateLimited, Refused, SuiteError, Unavailable
from quantum_suite.core.masking import mask_text
from quantum_suite.hub import call as rpc
from quantum_suite.hub.cli.console import printable, say
from quantum_suite.hub.cli.endpoint import DEFAULT_URL, Endpoint
from quantum_suite.hub.cli.exits import leaves

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 60.0
_MOST_PAGES = 1000


@asynccontextmanager
async def open_client(endpoint: Endpoint, *, elicitation: ElicitationFnT | None = None) -> AsyncIterator[Client]:
    """Connect; raises Unavailable or Refused in words when that fails.

    Errors the hub answers with inside the block arrive as errors of the suite too.
    """
    # The SDK logs what is reported here anyway; without a handler those lines would reach the terminal raw.
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    url = endpoint.url or DEFAULT_URL
    answers = not endpoint.own and await _answers(url)
    if not answers and endpoint.url is not None:
        raise Unavailable(f"Nothing answers at {url}.", "Start the hub with `quantum up`, or correct --url.")
    with in_words(), tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        try:
            async with AsyncExitStack() as stack:
                if answers:
                    transport = await _over_http(stack, url, endpoint.key)
                else:
                    if not endpoint.own:
                        say(f"Nothing answers at {url}; starting a hub for this command alone.")
                    transport = _own_hub(printed, endpoint.options)
                client = await stack.enter_async_context(
                    Client(
                        transport,
                        read_timeout_seconds=_ANSWER_SECONDS,
                        elicitation_callback=elicitation,
                        client_info=Implementation(name="quantum-cli", version=__version__),
                    )
                )
                yield client
        except Exception:
            if not answers:
                _show_printed(printed)
            raise


async def _over_http(stack: AsyncExitStack, url: str, key: str | None) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A tool may be silent for as long as its own deadline; each request has its own limit besides.
    timeout = httpx2.Timeout(30.0, read=None)
    http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=timeout))
    return streamable_http_client(url, http_client=http)


def _own_hub(printed: Any, options: tuple[str, ...]) -> Any:
    """Return the transport to a hub of the command's own, with its environment and working directory."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "quantum_suite.hub.cli", "stdio", *options], env=dict(os.environ)
    )
    return stdio_client(parameters, errlog=printed)


def _show_printed(printed: Any) -> None:
    printed.seek(0)
    for line in printed.read().splitlines()[-10:]:
        say(f"  hub: {mask_text(printable(line))}")


async def _answers(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallerError(f"'{url}' is no address.", f"It looks like {DEFAULT_URL}.", argument="url")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with anyio.fail_after(_CONNECT_SECONDS):
            stream = await anyio.connect_tcp(parts.hostname, port)
    except (OSError, TimeoutError, ValueError):
        return False
    await stream.aclose()
    return True


@contextmanager
def in_words() -> Iterator[None]:
    """Turn the protocol's and the network's errors into errors of the suite."""
    try:
        yield
    except Exception as error:
        for cause in leaves(error):
            if isinstance(cause, SuiteError):
                raise cause from error
        for cause in leaves(error):
            if (told := _told(cause)) is not None:
                raise told from error
        raise


def _told(error: BaseException) -> SuiteError | None:
    if isinstance(error, MCPError):
        return of_rpc(error.error.code, error.error.message, error.error.data)
    if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code in (401, 403):
        return Refused("The hub did not accept this caller.", _KEY_HINT)
    if isinstance(error, httpx2.HTTPError | OSError | TimeoutError):
        return Unavailable(f"The hub broke off: {type(error).__name__} {error}".rstrip() + ".", "Try again.")
    return None


_KEY_HINT = "Give a key with --key or QUANTUM_KEY; `quantum keys create NAME` makes one."


def of_rpc(code: int, message: str, data: Any = None) -> SuiteError:
    """Return a JSON-RPC error as the suite's own, as near as its code allows."""
    hint = data.get("hint") if isinstance(data, dict) and isinstance(data.get("hint"), str) else None
    text = printable(message)
    match code:
        case rpc.UNAUTHENTICATED:
            return Refused(text, hint or _KEY_HINT)
        case rpc.REFUSED | rpc.MISSING_CLIENT_CAPABILITY:
            return Refused(text, hint)
        case rpc.RATE_LIMITED:
            seconds = data.get("retry_after_seconds") if isinstance(data, dict) else None
            return RateLimited(text, hint, retry_after_seconds=float(seconds or 60))
        case rpc.UPSTREAM_UNAVAILABLE | rpc.CONNECTION_CLOSED | rpc.REQUEST_TIMEOUT:
            return Unavailable(text, hint)
        case rpc.LEGACY_RESOURCE_NOT_FOUND:
            return NotFound(text, hint)
        case rpc.INVALID_PARAMS | rpc.METHOD_NOT_FOUND:
            return CallerError(text, hint)
        case _:
            return SuiteError(text, hint)


class _Page(Protocol):
    @property
    def next_cursor(self) -> str | None: ...


PageT = TypeVar("PageT", bound=_Page)
ItemT = TypeVar("ItemT")


async def every_page(
    ask: Callable[[str | None], Awaitable[PageT]], items: Callable[[PageT], list[ItemT]]
) -> list[ItemT]:
    """Collect a list page by page."""
    collected: list[ItemT] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await ask(cursor)
        collected += items(page)
        cursor = page.next_cursor
        if cursor is None:
            return collected
    raise Unavailable("The list does not end.", "The server behind it keeps sending pages; see `quantum servers`.")
