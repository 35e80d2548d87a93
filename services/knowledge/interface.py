"""The ports of the knowledge service, and what passes through them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

ChunkKind = Literal["function", "method", "class", "module", "section", "text"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One definition, or one section of a document: the unit of search."""

    id: str
    """Hex digits over path, qualified name, kind and content: the same chunk keeps its id while it is
    unchanged."""
    path: str
    language: str
    """`python`, `typescript`, ..., `markdown`, `text`."""
    kind: ChunkKind
    name: str
    qualified_name: str
    """Dotted from the file's top: `Class.method`; for a section the headings, joined by ' > '."""
    signature: str
    docstring: str
    imports: tuple[str, ...]
    start_line: int
    end_line: int
    """From 1, inclusive."""
    text: str
    """The source, bounded; secrets masked."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A definition."""

    name: str
    qualified_name: str
    kind: str
    path: str
    line: int
    end_line: int
    signature: str
    rank: float = 0.0
    """Share of the code base's references that lead to it (PageRank over the symbol graph); sums to 1."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A place where a name is used."""

    path: str
    line: int
    column: int
    text: str
    """The line, bounded."""
    within: str
    """Qualified name of the definition around it; empty at a file's top."""
    certain: bool
    """Whether imports or scope tie it to the definition; false for a match by name alone."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a parser makes of one file."""

    path: str
    language: str
    chunks: tuple[Chunk, ...]
    symbols: tuple[Symbol, ...]
    references: tuple[tuple[str, int, int, str], ...]
    """(name, line, column, within)."""
    imports: tuple[str, ...]
    errors: int
    """Places the parser could not make sense of."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that answers a query."""

    chunk: Chunk
    score: float
    """0 to 1, calibrated: comparable between queries."""
    found_by: tuple[Literal["meaning", "words", "symbol"], ...]


@dataclass(frozen=True, slots=True)
class NotIndexed:
    """Something that is not searchable, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """What an index holds right now; never says done while something is left."""

    root: str
    state: Literal["absent", "indexing", "embedding", "ready", "interrupted", "failed"]
    """`embedding`: words and symbols are searchable, vectors are following. `interrupted`: goes on when asked."""
    files: int
    files_indexed: int
    chunks: int
    vectors: int
    symbols: int
    languages: dict[str, int]
    not_indexed: tuple[NotIndexed, ...]
    omitted: int
    """Entries left out of `not_indexed`."""
    embedding: str
    """Model and version the vectors are of, or why there are none with the command that changes it."""
    commit: str | None
    updated: str | None
    """RFC 3339."""
    stale_files: int = 0
    """Files that differ from what is indexed, as of this moment."""
    problem: str | None = None


class Embedder(Protocol):
    """Turns text into vectors of one length, normalised to 1."""

    @property
    def model(self) -> str:
        """Return name and version; vectors of different models are never mixed."""
        ...

    @property
    def dimensions(self) -> int:
        """Return the vectors' length."""
        ...

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return a vector a text, in order. Raises EngineError, or Unavailable when an endpoint is away."""
        ...

    async def rest(self) -> None:
        """Free what only the embedding of many documents needs, until there are documents again."""
        ...


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """A vector and what it belongs to."""

    id: str
    vector: Sequence[float]
    group: str
    """What it is deleted with: the file's path."""


class VectorStore(Protocol):
    """Nearest neighbours by cosine, in named collections."""

    async def put(self, collection: str, records: Sequence[VectorRecord]) -> None:
        """Insert or replace by id; durable on return."""
        ...

    async def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Forget these; unknown ids are ignored."""
        ...

    async def ids(self, collection: str) -> set[str]:
        """Return every id, empty for a collection that does not exist."""
        ...

    async def nearest(self, collection: str, vector: Sequence[float], limit: int) -> list[tuple[str, float]]:
        """Return (id, cosine similarity), best first."""
        ...

    async def drop(self, collection: str) -> None:
        """Forget a collection."""
        ...


SearchMode = Literal["hybrid", "words", "meaning"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A question to an index."""

    root: Path
    query: str
    limit: int = 10
    kinds: Literal["code", "documents"] = "code"
    path_prefix: str = ""
    language: str | None = None
    mode: SearchMode = "hybrid"


@dataclass(frozen=True, slots=True)
class RepositoryMap:
    """The most important symbols, within a budget."""

    text: str
    """File by file, signatures under their classes."""
    tokens: int
    """An estimate: a token for every four characters, rounded up."""
    files: int
    symbols: int
    omitted_symbols: int


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What a search found, and what it could not look at."""

    hits: tuple[Hit, ...]
    status: IndexStatus
    caveats: tuple[str, ...] = field(default=())
    """E.g. that vectors are still missing for 40 % of the chunks."""


class Knowledge(Protocol):
    """One index a workspace; every root was checked against the caller's grant before it comes here."""

    async def index(
        self, root: Path, progress: Callable[[int, int, str], Awaitable[None]] | None = None, *, wait: bool = False
    ) -> IndexStatus:
        """Bring the index up to date: only files whose content changed are read again. Returns when words and
        symbols
        are searchable; vectors follow in the background (`wait`: for them too). Cancelled or killed, what was
        done stays."""
        ...

    async def status(self, root: Path) -> IndexStatus:
        """Return what is indexed and what is not."""
        ...

    async def search(self, request: SearchRequest) -> SearchAnswer:
        """Return the best chunks. Files that changed since are read first when they are few. Raises NotFound when
        there is no index of the workspace."""
        ...

    async def find_symbol(self, root: Path, name: str, limit: int = 20) -> list[Symbol]:
        """Return definitions by exact name, then by qualified name's end, then by prefix and parts; best rank
        first."""
        ...

    async def find_references(self, root: Path, name: str, limit: int = 100) -> list[Reference]:
        """Return where a symbol (name or qualified name) is used, certain ones first."""
        ...

    async def repository_map(self, root: Path, token_budget: int, focus: Sequence[str] = ()) -> RepositoryMap:
        """Return the symbols that matter most, or most for the files and names in `focus`."""
        ...
