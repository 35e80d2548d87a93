"""The knowledge service on this machine: one index a workspace, in the data directory."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from anyio.abc import TaskGroup

from quantum_suite.services.knowledge import repository_map, search, symbols
from quantum_suite.services.knowledge.embed_chunks import Meaning
from quantum_suite.services.knowledge.index.parsers import Parsers
from quantum_suite.services.knowledge.interface import (
    IndexStatus,
    Reference,
    RepositoryMap,
    SearchAnswer,
    SearchRequest,
    Symbol,
)
from quantum_suite.services.knowledge.workspace import Workspace


class LocalKnowledge:
    """Implements `Knowledge`. Made by `open_knowledge`."""

    def __init__(self, directory: Path, parsers: Parsers, meaning: Meaning, tasks: TaskGroup) -> None:
        self._directory = directory
        self._parsers = parsers
        self._meaning = meaning
        self._tasks = tasks
        self._workspaces: dict[Path, Workspace] = {}

    async def index(
        self, root: Path, progress: Callable[[int, int, str], Awaitable[None]] | None = None, *, wait: bool = False
    ) -> IndexStatus:
        workspace = self._workspace(root)
        await workspace.update(progress)
        workspace.embed()
        if wait:
            await workspace.embedded()
        return await workspace.status()

    async def status(self, root: Path) -> IndexStatus:
        return await self._workspace(root).status()

    async def search(self, request: SearchRequest) -> SearchAnswer:
        return await search.search(self._workspace(request.root), request)

    async def find_symbol(self, root: Path, name: str, limit: int = 20) -> list[Symbol]:
        return await symbols.find_symbol(self._workspace(root), name, limit)

    async def find_references(self, root: Path, name: str, limit: int = 100) -> list[Reference]:
        return await symbols.find_references(self._workspace(root), name, limit)

    async def repository_map(self, root: Path, token_budget: int, focus: Sequence[str] = ()) -> RepositoryMap:
        return await repository_map.repository_map(self._workspace(root), token_budget, focus)

    def close(self) -> None:
        """Close the files of the indexes."""
        for workspace in self._workspaces.values():
            workspace.close()

    def _workspace(self, root: Path) -> Workspace:
        workspace = self._workspaces.get(root)
        if workspace is None:
            workspace = Workspace(root, self._directory, self._parsers, self._meaning, self._tasks)
            self._workspaces[root] = workspace
        return workspace
