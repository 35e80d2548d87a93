"""Clients of the hub who have a key of their own, and people who are asked for an approval."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

from quantum_suite.core.principals import Role
from quantum_suite.hub.access.sqlite_keys import SqliteKeyStore

ANSWER_SECONDS = 120
"""The longest wait for one answer: no test lasts longer."""


@dataclass
class Person:
    """Whoever sits before a client: approves everything or nothing, and remembers what was asked."""

    approves: bool = True
    asked: list[str] = field(default_factory=list)

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        """Answer as the client's elicitation callback."""
        self.asked.append(params.message)
        if self.approves:
            return ElicitResult(action="accept", content={"approve": True})
        return ElicitResult(action="decline")


def make_key(home: Path, name: str, role: Role = Role.OPERATOR, *, workspaces: list[str] | None = None) -> str:
    """Make a key in the hub whose state is under `home`, and return its token; without `workspaces` it has all."""
    with SqliteKeyStore(home / "data" / "keys.db") as keys:
        return keys.create(name, [role], workspaces=workspaces)[1]


def revoke_key(home: Path, name: str) -> None:
    """Revoke a key of the hub whose state is under `home`."""
    with SqliteKeyStore(home / "data" / "keys.db") as keys:
        keys.revoke(name)


@asynccontextmanager
async def client_with(url: str, key: str | None, **more: Any) -> AsyncIterator[Client]:
    """Connect with a key, or without one as the person at this machine (an admin); `more` is for the client."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=ANSWER_SECONDS) as http,
        Client(streamable_http_client(url, http_client=http), **more) as client,
    ):
        yield client
