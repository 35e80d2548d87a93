"""Makes a store of vectors of a setting."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.knowledge.interface import VectorStore
from quantum_suite.services.knowledge.vectors.chroma import ChromaVectorStore
from quantum_suite.services.knowledge.vectors.memory import MemoryVectorStore
from quantum_suite.services.knowledge.vectors.sqlite import SqliteVectorStore

DEFAULT = "auto"
_INSTALL = 'Run `pip install "quantum-suite[knowledge]"`.'
_USE = "Use auto, chroma:, sqlite:, chroma+http://host:8000, postgresql://host/database or memory:."


@dataclass(frozen=True, slots=True)
class Vectors:
    """Where vectors are kept; where that is nowhere, `reason` says why and names the command that changes it."""

    store: VectorStore | None
    reason: str = ""


@asynccontextmanager
async def open_vectors(setting: str, directory: Path) -> AsyncIterator[Vectors]:
    """Open what `setting` names; embedded stores lie in `directory` unless they name another one.

    `auto`, the default, is Chroma where it is installed, else SQLite where numpy is. `chroma:` and `sqlite:` may
    be followed by a place (`chroma:///directory`, `sqlite:///file`). `chroma+http(s)://host:port` is a Chroma
    server, `postgresql://...` a database with pgvector, `memory:` ends with the process.

    Missing packages are no error: search by words works without them. Raises ConfigurationError for a setting that
    cannot be used, and Unavailable when PostgreSQL is away; the others are reached at the first call.
    """
    kind = _chosen(setting)
    if (missing := _missing(kind)) is not None:
        yield Vectors(None, f"{missing} is not installed, so there is no search by meaning. {_INSTALL}")
        return
    async with AsyncExitStack() as stack:
        yield Vectors(await _open(kind, setting, directory, stack))


def _chosen(setting: str) -> str:
    if setting != DEFAULT:
        return setting.partition(":")[0]
    without_chroma = importlib.util.find_spec("chromadb") is None
    return "sqlite" if without_chroma and importlib.util.find_spec("numpy") is not None else "chroma"


def _missing(kind: str) -> str | None:
    package = {"chroma": "chromadb", "chroma+http": "chromadb", "chroma+https": "chromadb", "sqlite": "numpy"}.get(
        kind
    )
    return package if package is not None and importlib.util.find_spec(package) is None else None


async def _open(kind: str, setting: str, directory: Path, stack: AsyncExitStack) -> VectorStore:
    parts = urlsplit("" if setting == DEFAULT else setting)
    if kind == "memory":
        return MemoryVectorStore()
    if kind == "chroma":
        return await stack.enter_async_context(ChromaVectorStore.embedded(_place(parts, directory / "chroma")))
    if kind == "sqlite":
        return await stack.enter_async_context(SqliteVectorStore(_place(parts, directory / "vectors.db")))
    if kind in ("chroma+http", "chroma+https") and parts.hostname:
        server = ChromaVectorStore.server(setting.removeprefix("chroma+"))
        return await stack.enter_async_context(server)
    if kind in ("postgresql", "postgres"):
        # PostgreSQL's client takes a quarter of a second to import, and few need it.
        from quantum_suite.services.databases.postgres import open_postgres
        from quantum_suite.services.knowledge.vectors.pgvector import PgVectorStore

        return PgVectorStore(await stack.enter_async_context(open_postgres(setting)))
    raise ConfigurationError(f"'{parts.scheme}://{parts.hostname or ''}' is no place for vectors.", _USE)


def _place(parts: SplitResult, default: Path) -> Path:
    """Return the file or folder a URL names."""
    if parts.netloc or not parts.path:
        if parts.netloc:
            raise ConfigurationError(
                f"'{parts.scheme}://{parts.hostname}' names a host for files.", f"Use {parts.scheme}:///directory."
            )
        return default
    if not parts.path.startswith("/"):
        raise ConfigurationError(f"'{parts.path}' is no full path.", f"Use {parts.scheme}:///directory.")
    return Path(unquote(parts.path))
