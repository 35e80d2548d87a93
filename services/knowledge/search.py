"""Search in one index: by words, by meaning, and by the names of symbols, merged into one order."""

import re
from dataclasses import dataclass

import anyio

from quantum_suite.core.errors import CallerError, SuiteError
from quantum_suite.services.knowledge.embed_chunks import collection_name
from quantum_suite.services.knowledge.index.reading import Scope, by_symbol, by_words, chunks_of, keys_in_scope
from quantum_suite.services.knowledge.index.run import first_of
from quantum_suite.services.knowledge.interface import Hit, SearchAnswer, SearchRequest
from quantum_suite.services.knowledge.parsing.languages import LANGUAGES
from quantum_suite.services.knowledge.ranking import fuse
from quantum_suite.services.knowledge.workspace import Workspace

MAX_LIMIT = 100
MAX_QUERY_CHARS = 2_000
_DEPTH = 100
"""Chunks each way of searching puts forward."""
_NARROW_DEPTH = 1_000
"""By meaning, where only some chunks are asked for: neighbours are picked before they are filtered."""
_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*(?:(?:\.|::|#|->)[A-Za-z_$~][\w$]*)*")
_SEPARATOR = re.compile(r"::|#|->")
_LOOKS_LIKE_CODE = re.compile(r"_|[a-z0-9][A-Z]|\.|::|\d")

Scored = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Found:
    """What each way of searching puts forward, best first; `problems` says which one could not."""

    words: Scored
    meaning: Scored
    symbols: list[str]
    problems: list[str]


async def search(workspace: Workspace, request: SearchRequest) -> SearchAnswer:
    """Return the best chunks. Raises CallerError for a wrong request, NotFound without an index."""
    scope = _checked(request)
    found, caveats = await _look_and_catch_up(workspace, request, scope)
    caveats += found.problems
    status = await workspace.status(look=False)
    ranked = fuse(found.words, found.meaning, found.symbols, request.limit, chunks=status.chunks)
    chunks = await workspace.database.read(lambda db: chunks_of(db, [key for key, _, _ in ranked]))
    hits = tuple(Hit(chunks[key], score, found_by) for key, score, found_by in ranked if key in chunks)
    if request.mode != "words" and workspace.meaning.parts is None:
        caveats.append(f"Not searched by meaning: {workspace.meaning.reason}")
    elif request.mode != "words" and status.vectors < status.chunks:
        missing = 1 - status.vectors / status.chunks
        caveats.append(
            f"Vectors are missing for {_percent(missing)} of the chunks; those are found by words alone."
        )
    return SearchAnswer(hits, status, tuple(caveats))


async def _look_and_catch_up(
    workspace: Workspace, request: SearchRequest, scope: Scope
) -> tuple[Found, list[str]]:
    """Search while it is checked whether files changed, and again if they did: mostly they have not."""
    found, caveats = Found([], [], [], []), list[str]()
    before = await workspace.generation()

    async def look_now() -> None:
        nonlocal found
        found = await look(workspace, request, scope)

    async def catch_up() -> None:
        caveats.extend(await workspace.catch_up())

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(catch_up)
            tasks.start_soon(look_now)
    except* SuiteError as errors:
        raise first_of(errors) from None
    if await workspace.generation() != before:
        found = await look(workspace, request, scope)
    return found, caveats


async def look(workspace: Workspace, request: SearchRequest, scope: Scope) -> Found:
    """Search in every way the request allows, at once."""
    found = Found([], [], [], [])

    async def look_by_words() -> None:
        depth = max(_DEPTH, request.limit)
        if request.mode != "meaning":
            found.words.extend(await workspace.database.read(lambda db: by_words(db, request.query, scope, depth)))
        names = names_in(request.query)
        if names and not scope.documents:
            found.symbols.extend(
                await workspace.database.read(lambda db: by_symbol(db, names, scope, request.limit))
            )

    async def look_by_meaning() -> None:
        if request.mode == "words":
            return
        try:
            found.meaning.extend(await _by_meaning(workspace, request.query, scope, request.limit))
        except SuiteError as error:
            found.problems.append(f"Not searched by meaning: {error}")

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look_by_words)
            tasks.start_soon(look_by_meaning)
    except* SuiteError as errors:
        raise first_of(errors) from None
    return found


async def _by_meaning(workspace: Workspace, query: str, scope: Scope, limit: int) -> Scored:
    parts = workspace.meaning.parts
    if parts is None:
        return []
    embedder, store = parts
    (vector,) = await embedder.embed([query], query=True)
    collection = collection_name(workspace.folder, embedder.model, documents=scope.documents)
    depth = _NARROW_DEPTH if scope.is_narrow else max(_DEPTH, limit)
    near = await store.nearest(collection, vector, depth)
    there = await workspace.database.read(lambda db: keys_in_scope(db, [key for key, _ in near], scope))
    return [(key, similarity) for key, similarity in near if key in there][: max(_DEPTH, limit)]


def names_in(query: str) -> list[str]:
    """Return the names of symbols a query spells out: what looks like code, or is all there is."""
    found = _IDENTIFIER.findall(query)
    if len(found) == 1 and found[0] == query.strip():
        return [_SEPARATOR.sub(".", found[0])]
    return [_SEPARATOR.sub(".", name) for name in dict.fromkeys(found) if _LOOKS_LIKE_CODE.search(name)]


def _checked(request: SearchRequest) -> Scope:
    if not request.query.strip():
        raise CallerError("The query is empty.", "Say what to look for, in words or by name.", argument="query")
    if len(request.query) > MAX_QUERY_CHARS:
        raise CallerError(
            f"The query has {len(request.query):,} characters.",
            f"Ask in at most {MAX_QUERY_CHARS:,}.",
            argument="query",
        )
    if not 1 <= request.limit <= MAX_LIMIT:
        raise CallerError(f"limit is {request.limit}.", f"Ask for 1 to {MAX_LIMIT} chunks.", argument="limit")
    if request.language is not None and request.language not in LANGUAGES:
        raise CallerError(
            f"'{request.language[:50]}' is not indexed.",
            f"Name one of {', '.join(LANGUAGES)}.",
            argument="language",
        )
    return Scope(request.kinds == "documents", request.path_prefix.removeprefix("./"), request.language)


def _percent(share: float) -> str:
    return f"{max(share, 0.01):.0%}"
